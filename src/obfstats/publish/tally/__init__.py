"""Logs to numbers with numpy: as ../plain.py counts, for logs of any length.

Logs of many intervals are cut in two (halves.py), and each half is counted in a process of its own (halved.py). All
others, and those where that turns out to be wrong, are counted whole (whole.py). Blocks of lines are packed into words
(fixed_lines.py, general_lines.py), which are sorted when an interval is over (repeats.py).

An interval is counted and its rows are forgotten as soon as no line of it has come for a while, since a recorder writes
one interval after the other: so memory holds the clients of one interval or two, and not the log. Logs that have a new
interval every few lines are left to plain.py: here each interval takes as long as thousands of lines.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from obfstats.publish import plain
from obfstats.publish.logfiles import READING_ERRORS, reading_error
from obfstats.publish.tally.fixed_lines import START_LENGTH, is_start
from obfstats.publish.tally.halved import count_halves
from obfstats.publish.tally.sizes import Sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    in_order = _by_first_start(logs)
    counted = count_halves(in_order, advance, sizes) if threads > 1 else None
    if counted is None:
        # It loads what threads need, which takes as long as counting half a million lines.
        from obfstats.publish.tally.whole import count_whole  # noqa: PLC0415

        counted = count_whole(in_order, advance, sizes, threads)
    if counted is None:
        return plain.count(logs, advance)
    counts, readings = counted
    return counts, [readings[place].report(log) for place, log in enumerate(logs)]


def _by_first_start(logs: Sequence[LogFile]) -> list[tuple[int, LogFile]]:
    """Give the logs in the order in which they were written, and the place of each among those that were named."""
    return sorted(enumerate(logs), key=lambda placed: _first_start(placed[1]) if len(logs) > 1 else b"")


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
