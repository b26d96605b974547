"""Which intervals may be published, and how long they were.

- An interval that is not over stays out: subtracting the first half of a day from the whole day would reveal when
  clients connected.
- An interval that a later one of the same log cuts short of 24 hours (the bridge was restarted) stays out of documents,
  as with Tor: two parts of a day must not be added up as if they were one. The ticket's tables state no length and
  contain it.
- The marks beside a log (formats/marks.py) tell which intervals are whole, and how many lines they have. Where a log
  has no marks, an interval is taken to be whole if no later one begins within 24 hours.
- Several logs (several programs, such as two wraps under one tor) have intervals of their own, which overlap and do not
  cut each other short. Where two begin in the same second, they are one interval.
- What is left out is reported, in one sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from obfstats.formats.counts import ROUNDING_STEP
from obfstats.formats.interval import INTERVAL_SECONDS, Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from obfstats.formats.counts import Counts
    from obfstats.formats.marks import Marks

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
    intervals: Sequence[Counts],
    known: Mapping[datetime, Extent],
    selection: Selection,
    damaged: int,
    warn: Callable[[str], None],
) -> list[Counts]:
    """Leave out the intervals that are not over or were cut short, and give the others their lengths.

    An interval that has no length yet, or would end after the year 9999, is left out as well.

    Args:
        intervals: every interval of the logs, sorted by start.
        known: what is known of them, by start.
        selection: which intervals are published.
        damaged: damaged lines of the logs, which may be of any interval.
        warn: gets sentences for the operator about what is left out.
    """
    measured = [
        replace(counts, interval=replace(counts.interval, seconds=known[counts.interval.start].seconds))
        for counts in intervals
    ]
    selected = select_for_tables(measured, selection, warn)
    if not selection.partial:
        short = [counts for counts in selected if counts.interval.seconds < INTERVAL_SECONDS]
        _warn_left_out(short, "cut short by a restart", "--keep-partial", warn)
        selected = [counts for counts in selected if counts.interval.seconds == INTERVAL_SECONDS]
    over = [counts for counts in selected if has_all_lines(counts.interval.start, selection.as_of)]
    faults = _group_by_fault(over, known, damaged)
    for fault, faulty in faults.items():
        name, are, _, _ = name_intervals(faulty)
        warn(f"{name} {are} left out: {fault}")
    left_out = {counts.interval.start for faulty in faults.values() for counts in faulty}
    selected = [counts for counts in selected if counts.interval.start not in left_out]
    until_now = [_end_by(counts, selection.as_of) for counts in selected]
    return [counts for counts in until_now if counts is not None]


def warn_of_wrong_tables(
    intervals: Sequence[Counts], known: Mapping[datetime, Extent], damaged: int, warn: Callable[[str], None]
) -> None:
    """Say which of the intervals in the tables lack lines or have too many.

    Args:
        intervals: those of the tables, sorted by start.
        known: what is known of those of logs with marks, by start.
        damaged: damaged lines of the logs.
        warn: gets the sentences.
    """
    whole = [counts for counts in intervals if counts.interval.start in known and known[counts.interval.start].is_whole]
    for fault, faulty in _group_by_fault(whole, known, damaged).items():
        name, are, _, _ = name_intervals(faulty)
        warn(f"{name} {are} wrong in the tables: {fault}")


def warn_of_guesses(intervals: Sequence[Counts], known: Mapping[datetime, Extent], warn: Callable[[str], None]) -> None:
    """Say which of the intervals that are published as whole have no mark.

    Args:
        intervals: those that are published, sorted by start.
        known: what is known of them, by start.
        warn: gets the sentence.
    """
    guessed = [
        counts
        for counts in intervals
        if counts.interval.seconds == INTERVAL_SECONDS and known[counts.interval.start].is_guessed
    ]
    if guessed:
        name, are, _, _ = name_intervals(guessed)
        warn(f"{name} {are} taken to be whole: no mark beside the log says so (docs/statistics-log.md)")


class Extent(NamedTuple):
    """What is known of the length and the lines of an interval.

    Attributes:
        seconds: its length, or the most that it can be.
        is_whole: whether all of its logs mark it as whole.
        is_guessed: whether a log without marks leaves it at 24 hours.
        most_lines: how many lines its marks allow.
        least_lines: how many they demand.
    """

    seconds: int
    is_whole: bool
    is_guessed: bool
    most_lines: int = 0
    least_lines: int = 0

    def joined_with(self, other: Extent) -> Extent:
        """Give the extent of an interval that two logs have."""
        return Extent(
            min(self.seconds, other.seconds),
            self.is_whole and other.is_whole,
            self.is_guessed or other.is_guessed,
            self.most_lines + other.most_lines,
            self.least_lines + other.least_lines,
        )


def find_extents(logs: Iterable[tuple[Iterable[datetime], Marks | None]]) -> dict[datetime, Extent]:
    """Find what is known of every interval of several logs.

    Args:
        logs: the starts of each log's intervals, and its marks, None if it has none.
    """
    extents: dict[datetime, Extent] = {}
    for starts, marks in logs:
        ordered = sorted(starts)
        for start, seconds in zip(ordered, interval_lengths(ordered), strict=True):
            if marks is not None and start in marks.whole:
                most = marks.whole[start]
                extent = Extent(INTERVAL_SECONDS, True, False, most, most - ROUNDING_STEP + 1)
            else:
                is_unmarked = marks is not None and marks.begin is not None and start >= marks.begin
                extent = Extent(seconds, False, seconds == INTERVAL_SECONDS and not is_unmarked)
            extents[start] = extents[start].joined_with(extent) if start in extents else extent
    return extents


def interval_lengths(starts: Sequence[datetime]) -> list[int]:
    """Give each interval's length in seconds: until the next one's start, or 24 hours.

    Args:
        starts: the intervals' starts, sorted.
    """
    apart = [int((later - earlier).total_seconds()) for earlier, later in pairwise(starts)]
    return [min(INTERVAL_SECONDS, seconds) for seconds in apart] + [INTERVAL_SECONDS] * bool(starts)


def _group_by_fault(
    intervals: Sequence[Counts], known: Mapping[datetime, Extent], damaged: int
) -> dict[str, list[Counts]]:
    """Group the intervals that have a fault by it."""
    faults: dict[str, list[Counts]] = {}
    for counts in intervals:
        if fault := _find_fault(counts, known[counts.interval.start], damaged):
            faults.setdefault(fault, []).append(counts)
    return dict(sorted(faults.items()))


def _find_fault(counts: Counts, extent: Extent, damaged: int) -> str:
    """Find why an interval that is over cannot be a document, whatever is asked for; empty if nothing is wrong."""
    lines = sum(counts.requests.values())
    if not extent.is_whole:
        if extent.seconds < INTERVAL_SECONDS or extent.is_guessed:
            return ""
        return "no mark, so the bridge was stopped, its clock was set, or it did not count all clients"
    if lines + damaged < extent.least_lines:
        return "lines are missing; name every file that the log was rotated into"
    if lines > extent.most_lines:
        return "there are more lines than the bridge counted; name no file twice, and no copy"
    return ""


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
