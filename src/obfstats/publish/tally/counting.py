"""Counting logs, interval by interval; an interval's rows are forgotten when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from obfstats.publish.report import Report
from obfstats.publish.tally.general_lines import ScatteredError
from obfstats.publish.tally.interval_rows import IntervalRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from obfstats.formats.counts import Counts
    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.tally.general_lines import Part
    from obfstats.publish.tally.memory import Memory
    from obfstats.publish.tally.reader import Reader


_MANY, _FEW = 1000, 300
"""Intervals from which on, and lines in each on the average up to which, plain Python is faster."""


class ReappearedError(Exception):
    """A line belongs to an interval that has been counted already."""


class Reading(NamedTuple):
    """How the reading of a log, or of a part of it, went.

    Attributes:
        lines: how many there are.
        damaged: how many of them are left out.
        first: the first of those, counted from 0, and what is wrong with it; None where nothing is.
    """

    lines: int
    damaged: int
    first: tuple[int, str] | None

    def and_then(self, following: Reading) -> Reading:
        """Give what the reading of both is, one behind the other."""
        first = self.first
        if first is None and following.first is not None:
            number, reason = following.first
            first = self.lines + number, reason
        return Reading(self.lines + following.lines, self.damaged + following.damaged, first)

    def report(self, log: LogFile) -> Report:
        """Say it of a whole log."""
        first = f"line {self.first[0] + 1}: {self.first[1]}" if self.first else ""
        return Report(log.name, self.lines, self.damaged, first)


class Counting:
    """Counts logs, one after the other.

    Args:
        reader: reads them.
        advance: takes how many bytes of a file have been read.
        memory: where rows are kept.
        limit: rows of an interval that may be kept before repeated ones are thrown away.
        quiet: lines of other intervals after which an interval is taken to be over; if None, none is before the end.
        last: the log and the block in it that have each interval's last line, where that is known.

    Attributes:
        readings: what each log was like, by its place.
        advanced: bytes that have been read in all.
    """

    def __init__(
        self,
        reader: Reader,
        advance: Callable[[int], None],
        memory: Memory,
        limit: int,
        *,
        quiet: int | None = None,
        last: Mapping[bytes, tuple[int, int]] | None = None,
    ) -> None:
        self.readings: dict[int, Reading] = {}
        self.advanced = 0
        self._reader, self._advance, self._memory, self._limit = reader, advance, memory, limit
        self._quiet, self._last = quiet, last
        self._lines = 0
        self._open: dict[bytes, IntervalRows] = {}
        self._last_seen: dict[bytes, int] = {}
        self._over: dict[bytes, Counts] = {}

    def read(self, place: int, log: LogFile) -> None:
        """Read a log.

        Args:
            place: its place among the logs.
            log: what to read.

        Raises:
            LogFileError: if it cannot be read.
            ReappearedError: if an interval was not over.
            ScatteredError: if this is not the way to count it, and the reader may say so.
        """
        reading = Reading(0, 0, None)
        for number, (advance, part) in enumerate(self._reader.parts(log)):
            reading = reading.and_then(Reading(part.lines, part.damaged, part.first))
            self._lines += part.lines
            self._add(part)
            self._close(self._now_over(part, (place, number)))
            self.advanced += advance
            self._advance(advance)
            if not self._reader.take_scattered and self._is_scattered():
                raise ScatteredError
        self.readings[place] = reading

    def counts(self) -> list[Counts]:
        """Give the numbers of all intervals, sorted by start; for once, at the end."""
        self._close(list(self._open))
        return [self._over[start] for start in sorted(self._over)]

    def _add(self, part: Part) -> None:
        """Add the rows of one block."""
        for run in part.runs:
            if run.start in self._over:
                raise ReappearedError
            if run.start not in self._open:
                self._open[run.start] = IntervalRows(run.start, self._memory, self._limit, self._reader.workers)
            self._open[run.start].add(run)
            self._last_seen[run.start] = self._lines

    def _is_scattered(self) -> bool:
        intervals = len(self._open) + len(self._over)
        return intervals > _MANY and intervals * _FEW > self._lines

    def _now_over(self, part: Part, where: tuple[int, int]) -> list[bytes]:
        """Give the intervals that are over with a block, or taken to be."""
        if self._last is not None:
            return [start for start in {run.start for run in part.runs} if self._last.get(start) == where]
        if self._quiet is None or len(self._open) < 2:
            return []
        return [start for start, seen in self._last_seen.items() if self._lines - seen > self._quiet]

    def _close(self, starts: Iterable[bytes]) -> None:
        """Count the rows of intervals that are over."""
        for start in starts:
            rows = self._open.pop(start)
            self._over[start] = rows.counts(self._reader.ends.all())
            rows.leave()
            del self._last_seen[start]
