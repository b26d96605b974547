"""Scales and ticks of a plot over time: pure arithmetic.

A plot is 1000 units wide and 100 high, and is stretched to its place on the page; labels are placed in percent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import date

    from obfstats.formats.interval import Interval

WIDTH: Final = 1000
HEIGHT: Final = 100
DAY: Final = timedelta(days=1)

_Part = TypeVar("_Part")
_MONTHS: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


class Tick(NamedTuple):
    """A tick.

    Attributes:
        label: its text.
        percent: where it is, from the left or from the top.
        is_minor: whether the label is left out where there is little room.
    """

    label: str
    percent: float
    is_minor: bool = False


@dataclass(frozen=True, slots=True)
class TimeScale:
    """From times to units from the left.

    Attributes:
        start: the time at the left edge.
        end: the time at the right edge.
    """

    start: datetime
    end: datetime

    def __call__(self, time: datetime) -> float:
        """Place a time; one outside is at the edge."""
        share = (time - self.start) / (self.end - self.start)
        return round(WIDTH * min(1, max(0, share)), 1)

    def ticks(self) -> list[Tick]:
        """Give Mondays, or the first days of months if there are more than ten weeks."""
        midnights = _midnights(self.start, self.end)
        if self.end - self.start > timedelta(weeks=10):
            firsts = [day for day in midnights if day.day == 1]
            return [self._tick(day, _month_label(day), is_minor=day.month % 3 != 1) for day in firsts]
        return [self._tick(day, short_date(day), is_minor=False) for day in midnights if day.weekday() == 0]

    def _tick(self, day: datetime, label: str, *, is_minor: bool) -> Tick:
        return Tick(label, self(day) * 100 / WIDTH, is_minor)


@dataclass(frozen=True, slots=True)
class CountScale:
    """From counts to units from the top; the lower edge is 0.

    Attributes:
        top: the count at the upper edge.
        step: the count from one tick to the next.
    """

    top: int
    step: int

    @classmethod
    def up_to(cls, highest: float) -> CountScale:
        """Make a scale with two to five steps of 1, 2 or 5 times a power of ten."""
        step = 1
        while step * 5 < highest:
            power = 10 ** (len(str(step)) - 1)
            step = {1: 2, 2: 5, 5: 10}[step // power] * power
        return cls(max(step, math.ceil(highest / step) * step), step)

    def __call__(self, count: float) -> float:
        """Place a count."""
        return round(HEIGHT * (1 - count / self.top), 2)

    def ticks(self) -> list[Tick]:
        """Give all ticks, 0 among them."""
        counts = range(0, self.top + 1, self.step)
        return [Tick(f"{count:,}", self(count) * 100 / HEIGHT) for count in counts]


def step_line(steps: Sequence[tuple[float, float, float]]) -> str:
    """Draw a line of adjacent steps.

    Args:
        steps: left edge, right edge and height of each.

    Returns:
        The `d` of a path.
    """
    (left, _, height), *_ = steps
    return f"M{left:g},{height:g}" + "".join(f"V{height:g}H{right:g}" for _, right, height in steps)


def step_band(steps: Sequence[tuple[float, float, float, float]]) -> str:
    """Draw the area between two lines of adjacent steps.

    Args:
        steps: left edge, right edge, upper and lower height of each.

    Returns:
        The `d` of a path.
    """
    there = step_line([(left, right, upper) for left, right, upper, _ in steps])
    back = "".join(f"V{lower:g}H{left:g}" for left, _, _, lower in reversed(steps))
    return f"{there}{back}z"


def split_at_gaps(
    parts: Iterable[_Part], interval_of: Callable[[_Part], Interval], slack: timedelta
) -> Iterator[list[_Part]]:
    """Split intervals into runs without a gap.

    Args:
        parts: what has an interval, in order.
        interval_of: gives its interval.
        slack: a shorter gap is none: of a restart.
    """
    run: list[_Part] = []
    for part in parts:
        if run and interval_of(part).start - interval_of(run[-1]).end > slack:
            yield run
            run = []
        run.append(part)
    if run:
        yield run


def short_date(day: date) -> str:
    """Write a date without its year: 5 Nov."""
    return f"{day.day} {_MONTHS[day.month - 1]}"


def full_date(day: date) -> str:
    """Write a date: 5 Nov 2026."""
    return f"{short_date(day)} {day.year}"


def month_and_year(day: date) -> str:
    """Write a month: Nov 2026."""
    return f"{_MONTHS[day.month - 1]} {day.year}"


def _month_label(day: datetime) -> str:
    return str(day.year) if day.month == 1 else _MONTHS[day.month - 1]


def _midnights(start: datetime, end: datetime) -> Iterator[datetime]:
    day = datetime(start.year, start.month, start.day, tzinfo=UTC)
    while day <= end:
        if day >= start:
            yield day
        day += DAY
