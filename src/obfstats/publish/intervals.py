"""Which intervals may be published, and how long they were.

- One that is not over yet stays out: whoever had the first half of a day and then the whole could take one from the
  other. It is over half an hour after its 24 hours (simple.py, OVER_AFTER).
- One that a later one cuts short of 24 hours (the bridge was started again) stays out of documents, as Tor does it:
  two parts of a day must not be added up as if they were one. The ticket's tables have no length and take it in.
- What stays out is said, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from obfstats.formats.counts import INTERVAL_SECONDS
from obfstats.publish.simple import OVER_AFTER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from obfstats.formats.counts import Counts

TIME = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval that is to be published.

    Attributes:
        counts: its exact numbers.
        seconds: its length.
        end: when it ended, `YYYY-MM-DD HH:MM:SS`, UTC.
    """

    counts: Counts
    seconds: int
    end: str


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
    over = [one for one in counts if rule.now - _moment(one.start) >= OVER_AFTER]
    kept = {one.start for one in over}
    _say([one.start for one in counts if one.start not in kept], "not over yet", "--all", say)
    return over


def measured(counts: Sequence[Counts], rule: Rule, say: Callable[[str], None]) -> list[Interval]:
    """Select the intervals that may be published in documents, and measure them.

    An interval that has no length yet, or would end after the year 9999, is left out.

    Args:
        counts: every interval of the logs, sorted by start.
        rule: what is taken in.
        say: takes sentences for the operator about what is left out.
    """
    lengths = dict(zip((one.start for one in counts), _lengths(counts), strict=True))
    over = finished(counts, rule, say)
    whole = [one for one in over if rule.partial or lengths[one.start] == INTERVAL_SECONDS]
    kept = {one.start for one in whole}
    _say([one.start for one in over if one.start not in kept], "cut short by a restart", "--keep-partial", say)
    intervals = [_interval(one, lengths[one.start], rule.now) for one in whole]
    return [interval for interval in intervals if interval is not None]


def _lengths(counts: Sequence[Counts]) -> list[int]:
    """Give each interval's length in seconds: to the next one's start, or 24 hours."""
    starts = [_moment(one.start) for one in counts]
    apart = [int((later - earlier).total_seconds()) for earlier, later in pairwise(starts)]
    return [min(INTERVAL_SECONDS, seconds) for seconds in apart] + [INTERVAL_SECONDS] * bool(starts)


def _interval(counts: Counts, length: int, now: datetime) -> Interval | None:
    """Make an interval; None where it has no length, or no end that can be written."""
    start = _moment(counts.start)
    seconds = min(length, int((now - start).total_seconds()))
    try:
        end = start + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return Interval(counts, seconds, end.isoformat(" ")[:19]) if seconds > 0 else None


def _moment(start: str) -> datetime:
    return datetime.fromisoformat(start).replace(tzinfo=UTC)


def _say(starts: Sequence[str], why: str, option: str, say: Callable[[str], None]) -> None:
    """Say which intervals are left out, and what takes them in."""
    if len(starts) == 1:
        say(f"the interval from {starts[0]} is {why} and left out; {option} takes it in")
    elif starts:
        several = f"{len(starts)} intervals, from {starts[0]} to {starts[-1]},"
        say(f"{several} are {why} and left out; {option} takes them in")
