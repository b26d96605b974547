"""Which intervals may be published, and how long they were.

- One that is not over yet stays out: whoever had the first half of a day and then the whole could take one from the
  other. It is over half an hour after its 24 hours (simple.py, OVER_AFTER).
- One that a later one cuts short of 24 hours (the bridge was started again) stays out of documents, as Tor does it:
  two parts of a day must not be added up as if they were one. The ticket's tables have no length and take it in.
- What stays out is said, once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from obfstats.formats.interval import INTERVAL_SECONDS, Interval
from obfstats.publish.simple import OVER_AFTER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from obfstats.formats.counts import Counts


@dataclass(frozen=True, slots=True)
class Rule:
    """What is taken in beside whole intervals that are over.

    Attributes:
        now: the time, UTC.
        unfinished: intervals that are not over yet, with the length that they have now.
        partial: intervals that were cut short, with the length that they had.
    """

    now: datetime
    unfinished: bool = False
    partial: bool = False


def finished(counts: Sequence[Counts], rule: Rule, say: Callable[[str], None]) -> list[Counts]:
    """Leave out the intervals that are not over yet, those of the future as well.

    Args:
        counts: every interval of the logs.
        rule: what is taken in.
        say: takes a sentence for the operator about what is left out.
    """
    if rule.unfinished:
        return list(counts)
    over = [one for one in counts if rule.now - one.interval.start >= OVER_AFTER]
    kept = {one.interval for one in over}
    _report([one.interval for one in counts if one.interval not in kept], "not over yet", "--all", say)
    return over


def measured(counts: Sequence[Counts], rule: Rule, say: Callable[[str], None]) -> list[Counts]:
    """Select the intervals that may be published in documents, and set their true lengths.

    An interval that has no length yet, or would end after the year 9999, is left out.

    Args:
        counts: every interval of the logs, sorted by start.
        rule: what is taken in.
        say: takes sentences for the operator about what is left out.
    """
    lengths = dict(zip((one.interval for one in counts), _lengths(counts), strict=True))
    over = finished(counts, rule, say)
    whole = [one for one in over if rule.partial or lengths[one.interval] == INTERVAL_SECONDS]
    kept = {one.interval for one in whole}
    _report([one.interval for one in over if one.interval not in kept], "cut short by a restart", "--keep-partial", say)
    return [
        replace(one, interval=interval)
        for one in whole
        if (interval := _measured(one.interval, lengths[one.interval], rule.now)) is not None
    ]


def _lengths(counts: Sequence[Counts]) -> list[int]:
    """Give each interval's length in seconds: to the next one's start, or 24 hours."""
    starts = [one.interval.start for one in counts]
    apart = [int((later - earlier).total_seconds()) for earlier, later in pairwise(starts)]
    return [min(INTERVAL_SECONDS, seconds) for seconds in apart] + [INTERVAL_SECONDS] * bool(starts)


def _measured(interval: Interval, length: int, now: datetime) -> Interval | None:
    """Give an interval with its length up to now; None where it has none, or no end that can be written."""
    seconds = min(length, int((now - interval.start).total_seconds()))
    measured = replace(interval, seconds=seconds)
    try:
        _ = measured.end
    except OverflowError:
        return None
    return measured if seconds > 0 else None


def _report(intervals: Sequence[Interval], why: str, option: str, say: Callable[[str], None]) -> None:
    """Say which intervals are left out, and what takes them in."""
    if len(intervals) == 1:
        say(f"the interval from {intervals[0].label} is {why} and left out; {option} takes it in")
    elif intervals:
        several = f"{len(intervals)} intervals, from {intervals[0].label} to {intervals[-1].label},"
        say(f"{several} are {why} and left out; {option} takes them in")
