"""Which intervals may be published, and how long they were.

- An interval that is not over stays out: subtracting the first half of a day from the whole day would reveal when
  clients connected.
- An interval that a later one of the same log cuts short of 24 hours (the bridge was restarted) stays out of documents,
  as with Tor: two parts of a day must not be added up as if they were one. The ticket's tables state no length and
  contain it.
- Several logs (several programs, such as two wraps under one tor) have intervals of their own, which overlap and do not
  cut each other short. Where two begin in the same second, they are one interval.
- What is left out is reported, in one sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from obfstats.formats.interval import INTERVAL_SECONDS, Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from obfstats.formats.counts import Counts

COMPLETE_AFTER = timedelta(hours=24, minutes=30)
"""How long after its start an interval has all its lines.

A bridge writes an interval's last lines up to ten minutes late, at a random moment, so that the file's time reveals no
client, and its clock may be corrected by up to ten minutes in the meantime.
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which intervals are published: whole ones that are over, and others on request.

    Attributes:
        as_of: the time at which they are published, UTC.
        unfinished: whether to include intervals that are not over, with the length that they have now.
        partial: whether to include intervals that were cut short, with the length that they had.
    """

    as_of: datetime
    unfinished: bool = False
    partial: bool = False


def has_all_lines(start: datetime, now: datetime) -> bool:
    """Tell whether the interval that began then has all its lines; one that begins in the future has not."""
    return now - start >= COMPLETE_AFTER


def select_for_tables(intervals: Sequence[Counts], selection: Selection, warn: Callable[[str], None]) -> list[Counts]:
    """Leave out the intervals that are not over.

    Args:
        intervals: every interval of the logs.
        selection: which intervals are published.
        warn: gets a sentence for the operator about what is left out.
    """
    if selection.unfinished:
        return list(intervals)
    unfinished = [counts for counts in intervals if not has_all_lines(counts.interval.start, selection.as_of)]
    _warn_left_out(unfinished, "not over yet", "--all", warn)
    return [counts for counts in intervals if has_all_lines(counts.interval.start, selection.as_of)]


def select_for_documents(
    intervals: Sequence[Counts], lengths: Mapping[datetime, int], selection: Selection, warn: Callable[[str], None]
) -> list[Counts]:
    """Leave out the intervals that are not over or were cut short, and give the others their true length.

    An interval that has no length yet, or would end after the year 9999, is left out as well.

    Args:
        intervals: every interval of the logs, sorted by start.
        lengths: seconds by the intervals' starts.
        selection: which intervals are published.
        warn: gets sentences for the operator about what is left out.
    """
    measured = [
        replace(counts, interval=replace(counts.interval, seconds=lengths[counts.interval.start]))
        for counts in intervals
    ]
    selected = select_for_tables(measured, selection, warn)
    if not selection.partial:
        short = [counts for counts in selected if counts.interval.seconds < INTERVAL_SECONDS]
        _warn_left_out(short, "cut short by a restart", "--keep-partial", warn)
        selected = [counts for counts in selected if counts.interval.seconds == INTERVAL_SECONDS]
    until_now = [_end_by(counts, selection.as_of) for counts in selected]
    return [counts for counts in until_now if counts is not None]


def lengths_by_start(logs: Iterable[Iterable[datetime]]) -> dict[datetime, int]:
    """Give the length in seconds of every interval of several logs; the shortest if several logs have it.

    Args:
        logs: the starts of each log's intervals.
    """
    lengths: dict[datetime, int] = {}
    for starts in map(sorted, logs):
        for start, seconds in zip(starts, interval_lengths(starts), strict=True):
            lengths[start] = min(seconds, lengths.get(start, seconds))
    return lengths


def interval_lengths(starts: Sequence[datetime]) -> list[int]:
    """Give each interval's length in seconds: until the next one's start, or 24 hours.

    Args:
        starts: the intervals' starts, sorted.
    """
    apart = [int((later - earlier).total_seconds()) for earlier, later in pairwise(starts)]
    return [min(INTERVAL_SECONDS, seconds) for seconds in apart] + [INTERVAL_SECONDS] * bool(starts)


def _end_by(counts: Counts, now: datetime) -> Counts | None:
    """End an interval now, if it has not ended; None where it has no length, or no end that can be written."""
    start = counts.interval.start
    seconds = min(counts.interval.seconds, int((now - start).total_seconds()))
    try:
        start + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return replace(counts, interval=Interval(start, seconds)) if seconds > 0 else None


class Naming(NamedTuple):
    """How a sentence speaks of some intervals.

    Attributes:
        name: `the interval from ...`, or `3 intervals, from ... to ...,`.
        are: `is` or `are`.
        they: `it was` or `they were`.
        them: `it` or `them`.
    """

    name: str
    are: str
    they: str
    them: str


def name_intervals(intervals: Sequence[Counts]) -> Naming:
    """Name intervals in a sentence for the operator; there is at least one."""
    first, last = intervals[0].interval.label, intervals[-1].interval.label
    if len(intervals) == 1:
        return Naming(f"the interval from {first}", "is", "it was", "it")
    return Naming(f"{len(intervals)} intervals, from {first} to {last},", "are", "they were", "them")


def _warn_left_out(left_out: Sequence[Counts], why: str, option: str, warn: Callable[[str], None]) -> None:
    if left_out:
        name, are, _, them = name_intervals(left_out)
        warn(f"{name} {are} {why} and left out; {option} includes {them}")
