"""A bridge's own log: one interval counted, wherever its lines are by now.

    clients.log              the log
    clients.log.1            what it was rotated into: by number,
    clients.log-20261123.gz  or by date; compressed or not

Its lines are counted by what counts them where there is no log (record/aggregate.py): hashes are in memory that is
wiped, and no client of the bridge waits for a table of a million that grows or goes. Nothing of other intervals is
kept. Whatever cannot be read is left out and told; it is for the caller to know whether that matters.
"""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from obfstats.ownfile import sync_folder
from obfstats.publish.logfiles import READING_ERRORS, LogFileError, find, reading_error
from obfstats.publish.simple import LONGEST_LINE, read_log, skip_rest
from obfstats.record.aggregate import Aggregate
from obfstats.record.interval import CLOCK_TOLERANCE

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.formats.counts import Counts
    from obfstats.publish.simple import Table

MOST_LINES = 10_000
"""Lines that are held before they are counted: a bridge may be a small machine."""

_COUNTRY = slice(20, 23)
_COMPRESSED = frozenset({".gz", ".xz", ".zst"})
_ROTATED = re.compile(r"(?:\.[0-9]{1,9}|-[0-9]{8,14})(?:\.(?:gz|xz|zst))?")


class Found(NamedTuple):
    """What is there of an interval.

    Attributes:
        counts: its numbers.
        files: how many files have lines of it.
        error: why a file was not read, or not to its end; None where all were.
    """

    counts: Counts
    files: int
    error: LogFileError | None


def count_interval(log: Path, start: str) -> Found:
    """Count one interval; damaged lines are left out.

    Args:
        log: the log; what it was rotated into stands beside it.
        start: `YYYY-MM-DD HH:MM:SS`.

    Raises:
        OSError: if the log's folder cannot be read.
    """
    aggregate = Aggregate(most=None)
    found, error = 0, None
    files = _files(log, start)
    try:
        for path in files:
            before = aggregate.requests(start)
            try:
                _read(path, start, aggregate)
            except LogFileError as unreadable:
                error = error or unreadable
            found += aggregate.requests(start) > before
        if error is None and _files(log, start) != files:
            error = LogFileError(f"{log} was rotated while it was counted; count it again")
        return Found(aggregate.counts(start), found, error)
    finally:
        aggregate.close()


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
    # The clock may go behind what the label says, as long as nobody takes it for set.
    since = datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp() - 2 * CLOCK_TOLERANCE
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
        if is_rotated and path.suffix in _COMPRESSED and path.with_suffix("").exists():
            continue
        # The log itself may have been rotated away; it comes again with the next tick.
        if stat.S_ISREG(status.st_mode) and (path == log or status.st_mtime >= since):
            files[path] = status.st_ino
    return files


def _read(path: Path, start: str, aggregate: Aggregate) -> None:
    """Read one file."""
    table: Table = {}
    # A log may be called what a command line means something else by.
    for log in find([str(path.absolute())]):
        with log.open() as file:
            only = cast("BinaryIO", _Only(file, start.encode()))
            try:
                while read_log(only, table)[0]:
                    _take_over(table, start, aggregate)
            except READING_ERRORS as error:
                raise reading_error(log.name, error) from None
            finally:
                _take_over(table, start, aggregate)


def _take_over(table: Table, start: str, aggregate: Aggregate) -> None:
    """Count what was read, and let it go."""
    for begin, clients in table.items():
        country = begin[_COUNTRY].decode()
        aggregate.append(start, [country + client[:-1].decode() for client in clients], 0.0)
    table.clear()


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
