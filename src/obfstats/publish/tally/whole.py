"""Counting logs of any kind, in one process.

Blocks are packed on several processors at the same time. Where lines of an interval turn up again that was taken to be
over (logs of several bridges in one file, or named twice), everything begins again, first looking where each interval
has its last line. What can be read only once, a pipe, is kept whole.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from obfstats.formats.logline import LINE_LENGTH
from obfstats.publish.logfiles import LogFileError
from obfstats.publish.tally.counting import Counting, ReappearedError
from obfstats.publish.tally.general_lines import ScatteredError
from obfstats.publish.tally.memory import Memory
from obfstats.publish.tally.pooled import PooledReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from obfstats.formats.counts import Counts
    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.tally.counting import Reading
    from obfstats.publish.tally.reader import Reader
    from obfstats.publish.tally.sizes import Sizes

    Logs = Sequence[tuple[int, LogFile]]


def count_whole(
    logs: Logs, advance: Callable[[int], None], sizes: Sizes, threads: int
) -> tuple[list[Counts], dict[int, Reading]] | None:
    """Count logs, whatever their lines are.

    Args:
        logs: the place of each, and the log; in the order of time.
        advance: takes how many bytes of a file have been read since the last time.
        sizes: what time and memory depend on.
        threads: how many do it.

    Returns:
        Every interval, sorted by start, and what each log was like, by its place; None if there are very many intervals
        of a few lines each, and then nothing is advanced in all.

    Raises:
        LogFileError: if one cannot be read.
    """
    with ThreadPoolExecutor(threads) as pool:
        is_read_once = any(log.is_read_once for _, log in logs)
        reader = PooledReader(pool, threads, sizes.block, take_scattered=is_read_once)
        # What has been read of a pipe is gone, so nothing is taken to be over before its end.
        quiet = None if is_read_once else sizes.quiet
        memory = Memory(sum(log.size or 0 for _, log in logs) // LINE_LENGTH)
        counting = Counting(reader, advance, memory, sizes.limit, quiet=quiet)
        try:
            if not _is_counted(counting, logs):
                advance(-counting.advanced)
                last = _last_blocks(reader, logs)
                counting = Counting(reader, advance, memory, sizes.limit, last=last)
                if not _is_counted(counting, logs):
                    raise LogFileError("a log changed while it was read; try again")
        except ScatteredError:
            advance(-counting.advanced)
            return None
        return counting.counts(), counting.readings


def _is_counted(counting: Counting, logs: Logs) -> bool:
    """Count all logs; False if an interval came again that was taken to be over."""
    try:
        for place, log in logs:
            counting.read(place, log)
    except ReappearedError:
        return False
    return True


def _last_blocks(reader: Reader, logs: Logs) -> dict[bytes, tuple[int, int]]:
    """Find the log and the block that have each interval's last line."""
    return {
        run.start: (place, number)
        for place, log in logs
        for number, (_, part) in enumerate(reader.parts(log))
        for run in part.runs
    }
