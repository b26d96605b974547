"""Logs to numbers with numpy: as ../plain.py counts, for logs of any length.

Logs of many intervals are cut in two (halves.py), and each half is counted in a process of its own (halved.py). All
others, and those where that turns out to be wrong, are counted in one: blocks of lines are packed into words
(fixed_lines.py, general_lines.py) at the same time on every processor, and come back in order.

An interval is counted and its rows are forgotten as soon as no line of it has come for a while, since a recorder writes
one interval after the other: so memory holds the clients of one interval or two, and not the log. Where lines of such
an interval turn up again after all (logs of several bridges in one file, or named twice), everything begins again,
first looking where each interval has its last line. What can be read only once, a pipe, is kept whole. Logs that have a
new interval every few lines are left to plain.py: here each interval takes as long as thousands of lines.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from obfstats.formats.logline import LINE_LENGTH
from obfstats.publish import plain
from obfstats.publish.logfiles import READING_ERRORS, LogFileError, reading_error
from obfstats.publish.tally.counting import Counting, ReappearedError
from obfstats.publish.tally.fixed_lines import START_LENGTH, is_start
from obfstats.publish.tally.general_lines import ScatteredError
from obfstats.publish.tally.halved import count_halves
from obfstats.publish.tally.memory import Memory
from obfstats.publish.tally.reader import Reader
from obfstats.publish.tally.sizes import Sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from obfstats.formats.counts import Counts
    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.report import Report

_MOST_THREADS = 4


def tally(
    logs: Sequence[LogFile], advance: Callable[[int], None] = lambda _: None, *, sizes: Sizes | None = None
) -> tuple[list[Counts], list[Report]]:
    """Count several logs as if they were one.

    Args:
        logs: where the lines are.
        advance: takes how many bytes of a file have been read since the last time, before they are unpacked; a
            negative number where all of it begins again.
        sizes: what time and memory depend on, where it is not to be the usual.

    Returns:
        Every interval, sorted by start, and what each log was like.

    Raises:
        LogFileError: if one cannot be read.
    """
    sizes = sizes or Sizes()
    threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    order = _by_first_start(logs)
    if threads > 1 and (counted := count_halves([(place, logs[place]) for place in order], advance, sizes)) is not None:
        counts, readings = counted
        return counts, [readings[place].report(log) for place, log in enumerate(logs)]
    with ThreadPoolExecutor(threads) as pool:
        is_read_once = any(log.is_read_once for log in logs)
        reader = Reader(pool, threads, sizes.block, take_scattered=is_read_once)
        # What has been read of a pipe is gone, so nothing is taken to be over before its end.
        quiet = None if is_read_once else sizes.quiet
        memory = Memory(_size(logs) // LINE_LENGTH)
        counting = Counting(reader, advance, memory, sizes.limit, quiet=quiet)
        try:
            if not _is_counted(counting, logs, order):
                advance(-counting.advanced)
                last = _last_blocks(reader, logs, order)
                counting = Counting(reader, advance, memory, sizes.limit, last=last)
                if not _is_counted(counting, logs, order):
                    raise LogFileError("a log changed while it was read; try again")
        except ScatteredError:
            advance(-counting.advanced)
            return plain.count(logs, advance)
        return counting.counts(), [counting.readings[place].report(log) for place, log in enumerate(logs)]


def _size(logs: Iterable[LogFile]) -> int:
    return sum(log.size or 0 for log in logs)


def _is_counted(counting: Counting, logs: Sequence[LogFile], order: Iterable[int]) -> bool:
    """Count all logs; False if an interval came again that was taken to be over."""
    try:
        for place in order:
            counting.read(place, logs[place])
    except ReappearedError:
        return False
    return True


def _last_blocks(reader: Reader, logs: Sequence[LogFile], order: Iterable[int]) -> dict[bytes, tuple[int, int]]:
    """Find the log and the block that have each interval's last line."""
    return {
        run.start: (place, number)
        for place in order
        for number, (_, part) in enumerate(reader.parts(logs[place]))
        for run in part.runs
    }


def _by_first_start(logs: Sequence[LogFile]) -> list[int]:
    """Give the places of the logs in the order in which they were written."""
    return sorted(range(len(logs)), key=lambda place: _first_start(logs[place]) if len(logs) > 1 else b"")


def _first_start(log: LogFile) -> bytes:
    """Give the start of a log's first interval; nothing where it cannot be seen without reading on."""
    if log.is_read_once:
        return b""
    try:
        with log.open() as file:
            start = file.read(START_LENGTH)
    except READING_ERRORS as error:
        raise reading_error(log.name, error) from None
    return start if is_start(start) else b""
