"""A bridge's own log: one interval counted, wherever its lines are by now.

    clients.log              the log
    clients.log.1            what it was rotated into: by number,
    clients.log-20261123.gz  or by date; compressed or not

Plain Python and no library, for it runs on the bridge. Nothing of other intervals is kept. Whatever cannot be read is
left out and told; it is for the caller to know whether that matters.
"""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, cast

from obfstats.formats.counts import Counts, Pairs
from obfstats.ownfile import sync_folder
from obfstats.publish.logfiles import READING_ERRORS, LogFileError, find, reading_error
from obfstats.publish.plain import Row, counts_of, take_over
from obfstats.publish.simple import LONGEST_LINE, read_log, skip_rest

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.publish.simple import Table

MOST_LINES = 10_000
"""Lines that are held before their clients are told apart: clients come often, and a bridge may be a small machine."""

_COMPRESSED = frozenset({".gz", ".xz", ".zst"})
_ROTATED = re.compile(r"(?:\.[0-9]{1,9}|-[0-9]{8,14})(?:\.(?:gz|xz|zst))?")


def count_interval(log: Path, start: str) -> tuple[Counts, LogFileError | None]:
    """Count one interval; damaged lines are left out.

    Args:
        log: the log; what it was rotated into stands beside it.
        start: `YYYY-MM-DD HH:MM:SS`.

    Returns:
        Its numbers, and why a file was not read, or not to its end; None where all were.

    Raises:
        OSError: if the log's folder cannot be read.
    """
    rows: dict[bytes, Row] = {}
    error = None
    files = _files(log, start)
    for path in files:
        try:
            _read(path, start.encode(), rows)
        except LogFileError as unreadable:
            error = error or unreadable
    if error is None and _files(log, start) != files:
        error = LogFileError(f"{log} was rotated while it was counted; count it again")
    counts = counts_of(rows)
    return counts[0] if counts else Counts(start, {}, {}, {}, Pairs({})), error


def sync(log: Path, start: str) -> None:
    """See to it that what `count_interval` has found is still there after the power has failed.

    Args:
        log: the log.
        start: of the interval.

    Raises:
        OSError: if the disk does not take it.
    """
    for path in _files(log, start):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            # What cannot be opened had no part in the numbers.
            continue
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(log.parent)


def _files(log: Path, start: str) -> dict[Path, int]:
    """Give the files that may hold an interval's lines, with their inodes: the log, and what it was rotated into since.

    Who else may write into the folder could put a pipe or a link there; neither is ever opened.
    """
    files = {}
    since = datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp()
    for path in sorted(log.parent.iterdir()):
        rest = path.name.removeprefix(log.name)
        is_rotated = rest != path.name and _ROTATED.fullmatch(rest) is not None
        if path != log and not is_rotated:
            continue
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        # While it is being compressed there are two of it for a moment, and the first is whole.
        if path.suffix in _COMPRESSED and path.with_suffix("").exists():
            continue
        # The log itself may have been rotated away; it comes again with the next tick.
        if stat.S_ISREG(status.st_mode) and (path == log or status.st_mtime >= since):
            files[path] = status.st_ino
    return files


def _read(path: Path, start: bytes, rows: dict[bytes, Row]) -> None:
    """Read one file into rows."""
    table: Table = {}
    # A log may be called what a command line means something else by.
    for log in find([str(path.absolute())]):
        with log.open() as file:
            only = cast("BinaryIO", _Only(file, start))
            try:
                while read_log(only, table)[0]:
                    take_over(table, rows)
            except READING_ERRORS as error:
                raise reading_error(log.name, error) from None
            finally:
                take_over(table, rows)


class _Only:
    """A log of which only the lines that begin in one way are seen, and none that is longer than a line can be.

    It seems to end after so many lines as may be in memory at once, and goes on when it is read again.
    """

    def __init__(self, log: BinaryIO, begin: bytes) -> None:
        self._log = log
        self._begin = begin
        self._left = MOST_LINES

    def readline(self, _size: int = -1, /) -> bytes:
        """Give the next such line."""
        if self._left == 0:
            self._left = MOST_LINES
            return b""
        self._left -= 1
        for line in iter(partial(self._log.readline, LONGEST_LINE), b""):
            is_whole = len(line) < LONGEST_LINE or line.endswith(b"\n")
            if is_whole and line.startswith(self._begin):
                return line
            skip_rest(self._log, line)
        return b""
