"""Counting both halves of long logs at the same time, in a process each.

Each half is counted as any log is, alone. That is right for logs as recorders write them, where each interval is in one
half. Should one be in both, what was counted is thrown away, and the logs are to be counted whole.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from obfstats.formats.logline import LINE_LENGTH
from obfstats.publish.logfiles import LogFileError
from obfstats.publish.tally.counting import Counting
from obfstats.publish.tally.halves import halve
from obfstats.publish.tally.memory import Memory
from obfstats.publish.tally.processes import in_processes, may_fork
from obfstats.publish.tally.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from obfstats.formats.counts import Counts
    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.tally.counting import Reading
    from obfstats.publish.tally.halves import Half
    from obfstats.publish.tally.sizes import Sizes


def count_halves(
    logs: Sequence[tuple[int, LogFile]], advance: Callable[[int], None], sizes: Sizes
) -> tuple[list[Counts], dict[int, Reading]] | None:
    """Count both halves of some logs at the same time.

    Args:
        logs: the place of each, and the log; in the order of time.
        advance: takes how many bytes of a file have been read since the last time.
        sizes: what time and memory depend on.

    Returns:
        Every interval, sorted by start, and what each log was like, by its place; None if this is not the way to count
        them, and then nothing is advanced in all.
    """
    size = sum(log.size or 0 for _, log in logs)
    if size < sizes.halved or not all(log.is_plain for _, log in logs) or not may_fork():
        return None
    done = 0

    def advance_both(size: int) -> None:
        nonlocal done
        done += size
        advance(size)

    with ExitStack() as opened:
        try:
            halves = halve([(place, log, opened.enter_context(log.open())) for place, log in logs], sizes.longest)
        except (OSError, LogFileError):
            # Too many logs to be open at the same time, or what will be said when they are read.
            return None
        if halves is None:
            return None
        found = in_processes([partial(_count_half, half, sizes) for half in halves], advance_both)
    if found is not None and (counted := _put_together(found)) is not None:
        return counted
    advance(-done)
    return None


def _count_half(half: Half, sizes: Sizes, advance: Callable[[int], None]) -> tuple[list[Counts], dict[int, Reading]]:
    """Count some logs alone; whatever is odd about them is an error."""
    reader = Reader(sizes.block, take_scattered=False)
    memory = Memory(sum((log.size or 0) - log.begin for _, log in half) // LINE_LENGTH)
    counting = Counting(reader, advance, memory, sizes.limit, quiet=sizes.quiet)
    for place, log in half:
        counting.read(place, log)
    return counting.counts(), counting.readings


def _put_together(
    halves: Sequence[tuple[list[Counts], dict[int, Reading]]],
) -> tuple[list[Counts], dict[int, Reading]] | None:
    """Put the numbers of halves together; None if an interval is in both."""
    counts = sorted((one for found, _ in halves for one in found), key=lambda one: one.interval)
    if len({one.interval for one in counts}) < len(counts):
        return None
    first, second = (readings for _, readings in halves)
    in_both = {place: first[place].and_then(second[place]) for place in first.keys() & second.keys()}
    return counts, {**first, **second, **in_both}
