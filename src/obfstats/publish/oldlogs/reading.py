"""Old logs as one sequence of times and events, ordered by time, in whatever order the command line names the logs.

- Logs are ordered by their first times, so rotated logs follow each other.
- Logs that overlap are merged by time, and the operator is told: they may come from two programs that ran side by side,
  or be a log and its copy.
- A file that is named twice is read once.
- A run in client mode, from the line that names the mode to the next start, is no bridge: its lines only show that time
  passes. A log that begins within a run has the mode in which the log before it ended (rotated logs).
- A log is open only from its first line to its last. Its first time is found beforehand, by reading it up to there and
  closing it again. Standard input and pipes can be read only once, so they stay open from then on.
- A time before 2012 or more than a day after now is ignored with its line: these programs did not write it, and one
  line with a wrong clock must not affect the others.
- A start that was split into two lines has the time of the first.

All times are seconds on the logs' clock.
"""

from __future__ import annotations

import heapq
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from obfstats.formats.oldlog import (
    ClientConnected,
    EmptyMessage,
    OldLogEvent,
    ProgramStarted,
    RunMode,
    parse_oldlog_line,
)
from obfstats.publish.logreader import read_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.oldlogs.notes import Notes

TimedEvent: TypeAlias = tuple[int, OldLogEvent | None]
"""A line with a valid time: the time, and what happened."""

EARLIEST = int(datetime(2012, 1, 1, tzinfo=UTC).timestamp())
"""The programs write times since February 2012."""

BLOCK_SIZE = 1 << 18


@dataclass(slots=True)
class LineTotals:
    """What kinds of lines a log has.

    Attributes:
        lines: all lines.
        timed: those with a time, valid or not.
        impossible: those with a time before `EARLIEST` or in the future.
        without_time: lines of C obfsproxy about clients, starts and stops that have no time.
    """

    lines: int = 0
    timed: int = 0
    impossible: int = 0
    without_time: int = 0


def read_old_log(
    log: LogFile, latest: int, totals: LineTotals, advance: Callable[[int], None] = lambda _: None
) -> Generator[TimedEvent]:
    """Read one log from its beginning.

    Args:
        log: the log.
        latest: the latest valid time.
        totals: counts the lines.
        advance: takes the number of bytes of the file that have been read since the last call.

    Yields:
        The lines that have a valid time. A line that has no event and the time of the line before is left out.

    Raises:
        LogFileError: if the log cannot be read.
    """
    split_start: int | None = None
    latest_yielded: int | None = None
    for block in read_blocks(log, BLOCK_SIZE, advance):
        lines = bytes(block).removesuffix(b"\n").split(b"\n")
        totals.lines += len(lines)
        for line in lines:
            seconds, event = parse_oldlog_line(line)
            first_half, split_start = split_start, None
            if seconds is None:
                if first_half is not None and isinstance(event, ProgramStarted):
                    yield first_half, event
                elif event is not None and not isinstance(event, EmptyMessage):
                    totals.without_time += 1
                continue
            totals.timed += 1
            if not EARLIEST <= seconds <= latest:
                totals.impossible += 1
                continue
            if isinstance(event, EmptyMessage):
                split_start = seconds
            if event is not None or seconds != latest_yielded:
                yield seconds, event
                latest_yielded = seconds


class OldLog:
    """One of several logs that are read in the order of their lines' times.

    Attributes:
        log: the file.
        totals: the lines read so far.
        next_time: time of the next line; None at the end of the log.
        is_client_mode: whether the lines read last are of a run in client mode; None before the first line is read.
        client_mode: connections of such runs.
    """

    def __init__(self, log: LogFile, latest: int, advance: Callable[[int], None]) -> None:
        """Find the time of the first line; arguments as in read_old_log."""
        self.log = log
        self.totals = LineTotals()
        self.is_client_mode: bool | None = None
        self.client_mode = 0
        self._lines = read_old_log(log, latest, self.totals, advance)
        self._next: TimedEvent | None = None
        if log.is_read_once:
            self._next = next(self._lines, None)
            self.next_time = None if self._next is None else self._next[0]
        else:
            with closing(read_old_log(log, latest, LineTotals())) as lines:
                self.next_time, _ = next(lines, (None, None))

    def read_until(self, limit: int | None) -> Iterator[TimedEvent]:
        """Give the lines before the first one that is later than a time; None for all lines."""
        line = self._next or next(self._lines, None)
        while line is not None and (limit is None or line[0] <= limit):
            yield line[0], self._without_client_mode(line[1])
            line = next(self._lines, None)
        self._next, self.next_time = line, None if line is None else line[0]

    def _without_client_mode(self, event: OldLogEvent | None) -> OldLogEvent | None:
        """Give an event, unless the program was a client's proxy then."""
        if isinstance(event, ProgramStarted | RunMode):
            self.is_client_mode = isinstance(event, RunMode) and event.is_client
        elif self.is_client_mode:
            self.client_mode += isinstance(event, ClientConnected)
            return None
        return event


def merge_old_logs(logs: Sequence[OldLog], notes: Notes) -> Iterator[TimedEvent]:
    """Give the lines of several logs, ordered by time.

    Args:
        logs: the logs.
        notes: told which logs overlap.

    Raises:
        LogFileError: if a log cannot be read.
    """
    for log in logs:
        if log.next_time is None:
            yield from log.read_until(None)
    waiting = [(log.next_time, number) for number, log in enumerate(logs) if log.next_time is not None]
    heapq.heapify(waiting)
    overlapping = set()
    last_mode: bool | None = None
    while waiting:
        _, number = heapq.heappop(waiting)
        limit, next_number = waiting[0] if waiting else (None, number)
        log = logs[number]
        if log.is_client_mode is None:
            log.is_client_mode = last_mode
        yield from log.read_until(limit)
        next_time = log.next_time
        if next_time is None:
            last_mode = log.is_client_mode
        else:
            heapq.heappush(waiting, (next_time, number))
            overlapping |= {number, next_number}
    notes.add_overlap([logs[number].log.name for number in sorted(overlapping)])


def distinct_files(logs: Sequence[LogFile], notes: Notes) -> Iterator[LogFile]:
    """Give each file once; notes are told which were named again."""
    seen = set()
    for log in logs:
        if log.identity is not None and log.identity in seen:
            notes.add(f"{log.name} is the same file as one before it and is read once")
        else:
            yield log
        seen.add(log.identity)
