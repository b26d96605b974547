"""Logs to numbers with numpy, for logs of any length: the numbers of plain.py, about ten times as fast.

Blocks of lines are packed into rows (packing.py). Rows are kept by interval, and counted when it is over
(interval_rows.py). A recorder writes one interval after the other, so an interval is counted when the last 131,072
lines had none of it: memory holds the rows of an interval or two, and not those of the log.

If a line of a counted interval occurs (logs of several bridges in one file, or a log that is named twice), everything
is read again, and all intervals are kept to the end. A pipe cannot be read again, so its intervals are always kept.
"""

from __future__ import annotations

import io
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from obfstats.formats.interval import LABEL_LENGTH, Interval
from obfstats.formats.logline import MAX_LINE_LENGTH, find_damage
from obfstats.publish import plain
from obfstats.publish.logfiles import LogFileError
from obfstats.publish.logreader import read_blocks, read_lines
from obfstats.publish.plain import Report
from obfstats.publish.tally.interval_rows import IntervalRows
from obfstats.publish.tally.packing import Packer, TooManySuffixesError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from obfstats.formats.counts import Counts
    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.tally.packing import Run

BLOCK_SIZE = 1 << 22
"""Bytes of lines that are packed at once."""

QUIET_LINES = 1 << 17
"""Lines of other intervals after which an interval is counted."""

_KEPT_SIZE = 1 << 24


class _CountedTooEarlyError(Exception):
    """A line is of an interval that has been counted."""


def count_logs(
    logs: Sequence[LogFile],
    advance: Callable[[int], None] = lambda _: None,
    *,
    block_size: int = BLOCK_SIZE,
    quiet_lines: int = QUIET_LINES,
) -> tuple[list[Counts], list[Report]]:
    """Count several logs as if they were one.

    Args:
        logs: the logs.
        advance: takes the number of bytes of a file that have been read since the last call; a negative number where
            everything is read again.
        block_size: bytes of lines that are packed at once; more than any good line has.
        quiet_lines: lines of other intervals after which an interval is counted.

    Returns:
        Every interval, sorted by start, and a report on each log.

    Raises:
        LogFileError: if one cannot be read, or a pipe names more than MAX_SUFFIXES transports.
    """
    # glibc returns freed blocks of memory to the system if they are larger than any that was freed before, and the
    # system must clear new ones: for the arrays of each block of lines, that would be a fifth of the time.
    np.empty(_KEPT_SIZE, np.uint8)
    # Of rotated logs the newest is often named first; an interval may begin in one log and end in the next one.
    order = sorted(range(len(logs)), key=lambda index: _label_of_first_line(logs[index]) if len(logs) > 1 else b"")
    reading = _LogsReading(advance, block_size, None if any(log.is_read_once for log in logs) else quiet_lines)
    try:
        reports = {index: reading.read(logs[index]) for index in order}
    except TooManySuffixesError:
        if any(log.is_read_once for log in logs):
            raise LogFileError("the logs name too many transports to be read from a pipe; name files") from None
        advance(-reading.read_bytes)
        return plain.count_logs(logs, advance)
    except _CountedTooEarlyError:
        advance(-reading.read_bytes)
        reading = _LogsReading(advance, block_size, None)
        reports = {index: reading.read(logs[index]) for index in order}
    return reading.counts(), [reports[index] for index in range(len(logs))]


def _label_of_first_line(log: LogFile) -> bytes:
    """Give the label of a log's first line; nothing if the log can be read only once."""
    if log.is_read_once:
        return b""
    with closing(read_lines(log, MAX_LINE_LENGTH)) as lines:
        return next(lines, b"")[:LABEL_LENGTH]


class _LogsReading:
    """One reading of all logs.

    Args:
        advance: takes the number of bytes of a file that have been read since the last call.
        block_size: bytes of lines that are packed at once.
        quiet_lines: lines of other intervals after which an interval is counted; None to count all at the end.

    Attributes:
        read_bytes: the sum of what `advance` took.
    """

    def __init__(self, advance: Callable[[int], None], block_size: int, quiet_lines: int | None) -> None:
        self.read_bytes = 0
        self._advance, self._block_size, self._quiet_lines = advance, block_size, quiet_lines
        self._packer = Packer()
        self._lines = 0
        self._intervals: dict[bytes, IntervalRows] = {}
        self._last_lines: dict[bytes, int] = {}
        self._counts: dict[bytes, Counts] = {}

    def read(self, log: LogFile) -> Report:
        """Read a log from its beginning to its end.

        Raises:
            LogFileError: if it cannot be read.
            TooManySuffixesError: if the logs have more than MAX_SUFFIXES suffixes.
            _CountedTooEarlyError: if it has lines of an interval that was counted.
        """
        lines = damaged = 0
        first = ""
        labels = set[bytes]()
        for block in read_blocks(log, self._block_size, self._count_bytes):
            number, runs = self._packer.pack(block)
            bad = number - sum(len(run.rows) for run in runs)
            if bad and not first:
                first = _describe_first(block, lines)
            lines += number
            damaged += bad
            self._lines += number
            labels.update(run.label for run in runs)
            self._add(runs)
        return Report(log.name, lines, damaged, first, {label.decode() for label in labels})

    def counts(self) -> list[Counts]:
        """Give the numbers of all intervals, sorted by start."""
        for label in list(self._intervals):
            self._count(label)
        return [self._counts[label] for label in sorted(self._counts)]

    def _count_bytes(self, read: int) -> None:
        self.read_bytes += read
        self._advance(read)

    def _add(self, runs: Sequence[Run]) -> None:
        for label, rows in runs:
            if label in self._counts:
                raise _CountedTooEarlyError
            self._intervals.setdefault(label, IntervalRows()).add(rows)
            self._last_lines[label] = self._lines
        if self._quiet_lines is not None and len(self._intervals) > 1:
            for label, last in list(self._last_lines.items()):
                if self._lines - last > self._quiet_lines:
                    self._count(label)

    def _count(self, label: bytes) -> None:
        """Count an interval, and free its rows."""
        rows = self._intervals.pop(label)
        del self._last_lines[label]
        interval = Interval.parse(label.decode())
        self._counts[label] = rows.counts(interval, self._packer.countries, self._packer.suffixes)


def _describe_first(block: memoryview[int], before: int) -> str:
    """Give number and reason of the first damaged line in a block that has one.

    Args:
        block: the block.
        before: number of the log's lines before the block.
    """
    damages = (
        f"line {number}: {reason}"
        for number, line in enumerate(io.BytesIO(block), before + 1)
        if (reason := find_damage(line))
    )
    return next(damages)
