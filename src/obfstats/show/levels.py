"""How many users a week has, and whether that is fewer or more than four weeks before.

An average's interval goes from the mean of the lower ends to the mean of the upper ends: the errors of days have much
in common, so it is not narrower than that of a day. Two averages differ surely if their intervals do not overlap.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from obfstats.show.results import NONE, Series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obfstats.show.results import Results

WEEK: Final = 7
APART: Final = 28
"""Days between the weeks that are compared: four weeks, so that weekdays are the same."""

_LEAST_DAYS: Final = 4

MAX_CLASS: Final = 7
NO_CHANGE: Final = 4
_FALLS: Final = (0.5, 0.75)
_RISES: Final = (4 / 3, 2)


class Level(NamedTuple):
    """An average of days, with its interval, and the number of days that have numbers."""

    value: float
    lower: float
    upper: float
    days: int


class Change(NamedTuple):
    """The average of a time and that of one before it."""

    before: Level
    after: Level

    @property
    def is_drop(self) -> bool:
        """Whether there are surely fewer."""
        return self.after.upper < self.before.lower

    @property
    def is_rise(self) -> bool:
        """Whether there are surely more."""
        return self.after.lower > self.before.upper

    @property
    def is_sure(self) -> bool:
        """Whether there are surely fewer, or surely more."""
        return self.is_drop or self.is_rise

    @property
    def ratio(self) -> float:
        """How many times as many there are; infinite after 0."""
        if self.before.value:
            return self.after.value / self.before.value
        return math.inf if self.after.value else 1


def average(series: Series, start: int, end: int) -> Level | None:
    """Average days; None if more than half of a week, or of the days, has no numbers.

    Args:
        series: the numbers.
        start: place of the first day; may be before the first number.
        end: place after the last day.
    """
    known = [index for index in range(max(start, 0), end) if not math.isnan(series.values[index])]
    if len(known) < min(_LEAST_DAYS, (end - start + 1) // 2):
        return None
    values, lower, upper = (
        math.fsum(_or(column[index], series.values[index]) for index in known) / len(known)
        for column in (series.values, series.lower, series.upper)
    )
    return Level(values, lower, upper, len(known))


def last_week(results: Results, series: Series) -> Level | None:
    """Average the last seven days."""
    return average(series, results.days - WEEK, results.days)


def last_change(results: Results, series: Series) -> Change | None:
    """Compare the last week with that four weeks before."""
    after = last_week(results, series)
    before = average(series, results.days - WEEK - APART, results.days - APART)
    return None if before is None or after is None else Change(before, after)


def find_peak(series: Series) -> int | None:
    """Give the place of the largest number."""
    known = [index for index, value in enumerate(series.values) if not math.isnan(value)]
    return max(known, key=lambda index: series.values[index], default=None)


def add(parts: Sequence[Series], days: int) -> Series:
    """Add series; the sum's interval holds all sums of numbers in the parts' intervals. Nothing is expected of it."""
    nothing = array("d", [NONE]) * days
    if not parts:
        return Series(nothing, nothing, nothing, nothing, nothing)
    values, lower, upper = (
        array("d", map(math.fsum, zip(*columns, strict=True)))
        for columns in zip(*(part.columns()[:3] for part in parts), strict=True)
    )
    return Series(values, lower, upper, nothing, nothing)


def change_class(change: Change | None) -> int:
    """Give a change's class on the map: 0 nothing to compare, 1 to 3 a drop, 4 no sure change, 5 to 7 a rise."""
    if change is None or not (change.before.value or change.after.value):
        return 0
    if change.is_drop:
        return 1 + sum(change.ratio > end for end in _FALLS)
    if change.is_rise:
        return NO_CHANGE + 1 + sum(change.ratio > end for end in _RISES)
    return NO_CHANGE


def list_change_classes() -> list[tuple[int, str]]:
    """Say what each class is."""
    texts = (
        "no users, or too few days",
        "fell by half or more",
        "fell by a quarter to a half",
        "fell by less",
        "no sure change",
        "rose by less than a third",
        "rose to at most double",
        "more than doubled",
    )
    return [*list(enumerate(texts))[1:], (0, texts[0])]


def _or(number: float, other: float) -> float:
    return other if math.isnan(number) else number
