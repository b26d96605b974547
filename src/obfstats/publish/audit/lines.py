"""The lines of a file that may be anything: bounded, unpacked, and with word of how far the reading is.

Of a line that is longer than a whole document only the beginning is given; it is damaged whatever follows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from obfstats.formats.document import MAX_DOCUMENT_LENGTH
from obfstats.publish.logfiles import READING_ERRORS, reading_error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from obfstats.publish.logfiles import LogFile

LONGEST = MAX_DOCUMENT_LENGTH + 1
"""Bytes that are given of one line at most."""

_PIECE = 1 << 16
_REPORT_EVERY = 1 << 20


def read_lines(file: LogFile, advance: Callable[[int], None]) -> Generator[bytes]:
    """Give the lines of a file with their ends, in order.

    Args:
        file: where they are.
        advance: takes how many bytes of the file have been read since the last time, before they are unpacked.

    Raises:
        LogFileError: if it cannot be read.
    """
    with file.open() as stream:
        place = unreported = 0
        while line := _read(file, stream, LONGEST):
            yield line
            unreported += len(line)
            if len(line) >= LONGEST:
                unreported += _skip_rest(file, stream, line)
            if unreported >= _REPORT_EVERY:
                place, unreported = _report(stream, place, unreported, advance), 0
        _report(stream, place, unreported, advance)


def _read(file: LogFile, stream: BinaryIO, size: int) -> bytes:
    try:
        return stream.readline(size)
    except READING_ERRORS as error:
        raise reading_error(file.name, error) from None


def _skip_rest(file: LogFile, stream: BinaryIO, line: bytes) -> int:
    """Read on to the end of a line that is too long; give how much that was."""
    skipped = 0
    while line and not line.endswith(b"\n"):
        line = _read(file, stream, _PIECE)
        skipped += len(line)
    return skipped


def _report(stream: BinaryIO, place: int, unpacked: int, advance: Callable[[int], None]) -> int:
    """Say how far a file has been read; of what has no places, how much came out of it. Give the new place."""
    try:
        now = os.lseek(stream.fileno(), 0, os.SEEK_CUR)
    except (OSError, ValueError):
        advance(unpacked)
        return place
    advance(now - place)
    return now
