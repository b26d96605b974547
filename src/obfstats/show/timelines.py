"""A plot of one number a day: its interval, what was expected, events, annotations, breaks, missing days.

A plot is as many units wide as it has days; heights are whole units from the top. So a path needs a few bytes a day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from obfstats.show.results import ALL
from obfstats.show.scales import CountScale, TimeScale, full_date

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from obfstats.show.results import Annotation, Event, Key, Results, Series
    from obfstats.show.scales import Tick

HEIGHT: Final = 400
"""Of a plot, in units."""

SMALL_HEIGHT: Final = 60
"""Of a small multiple."""

YEAR: Final = 365
LEAST: Final = 28
"""Days that a plot shows at least."""

MAX_NOTES: Final = 20
"""Annotations of a plot: the last ones to begin."""

_LEFT, _RIGHT = 15, 85  # percent: a label of a mark farther out is written towards the middle


class Missing(NamedTuple):
    """Days without any number: left edge and width in percent, and their dates."""

    x: float
    width: float
    text: str


class Mark(NamedTuple):
    """An event: where it is, in percent, and what it is."""

    x: float
    y: float
    is_drop: bool
    text: str


class Note(NamedTuple):
    """An annotation: left edge and width in percent, the number of its row below the plot, and what it says."""

    x: float
    width: float
    number: int
    annotation: Annotation


class Break(NamedTuple):
    """A day from which a series counts otherwise: where it is, in percent."""

    x: float
    day: date


class Peak(NamedTuple):
    """The largest number: where it is, in percent, how its label is aligned, and the label."""

    x: float
    y: float
    anchor: str
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """What a template needs to draw a plot.

    Attributes:
        name: for the ids of its title and description.
        title: what it shows.
        description: the same in more words, for those who cannot see it.
        days: its width.
        height: its height.
        expected: paths of the area that was expected.
        bands: paths of the intervals.
        lines: paths of the numbers.
        missing: days without any number.
        marks: events.
        notes: annotations.
        breaks: days from which the series counts otherwise.
        peak: the largest number; None if there is none.
        columns: a day's left edge, and what is said of it.
        across: ticks of the time.
        up: ticks of the numbers.
    """

    name: str
    title: str
    description: str
    days: int
    height: int
    expected: Sequence[str]
    bands: Sequence[str]
    lines: Sequence[str]
    missing: Sequence[Missing]
    marks: Sequence[Mark]
    notes: Sequence[Note]
    breaks: Sequence[Break]
    peak: Peak | None
    columns: Sequence[tuple[int, str]]
    across: Sequence[Tick]
    up: Sequence[Tick]


def draw_timeline(
    results: Results,
    series: Series,
    key: Key | None,
    *,
    name: str,
    title: str,
    unit: str,
    end: date | None = None,
    length: int = YEAR,
    is_small: bool = False,
    has_days: bool = True,
    every: Series | None = None,
) -> Timeline:
    """Draw the last days of a series.

    Args:
        results: which the series is of.
        series: its numbers.
        key: its country and transport; None to draw no events and annotations.
        name: for ids.
        title: what it shows.
        unit: what the numbers are, for the description.
        end: the last day; that of the results if None.
        length: of the plot in days, at most.
        is_small: whether it is a small multiple: lower, without intervals, notes and columns.
        has_days: whether each day says its number where a pointer rests on it.
        every: the sum of which the series is a part: a day is missing if it has none. All users if None.
    """
    last = results.days if end is None else results.index(end) + 1
    days = min(length, max(LEAST, last))
    height = SMALL_HEIGHT if is_small else HEIGHT
    known = [index for index in range(max(last - days, 0), last) if not math.isnan(series.values[index])]
    highest = max((_known(series.upper[index], series.values[index]) for index in known), default=0)
    frame = _Frame(results, last - days, last, height, CountScale.up_to(highest))
    peak = max(known, key=lambda index: series.values[index], default=None)
    peak_text = "" if peak is None else f"{write_number(series.values[peak])} on {full_date(frame.day(peak))}"
    return Timeline(
        name,
        title,
        f"The most {unit}: {peak_text}. The table has all numbers." if peak_text else f"No {unit}.",
        days,
        height,
        [_draw_band(place, *ends) for place, ends in frame.runs(series.expected_lower, series.expected_upper)],
        [] if is_small else [_draw_band(place, *ends) for place, ends in frame.runs(series.lower, series.upper)],
        [_draw_line(place, heights) for place, (heights,) in frame.runs(series.values)],
        _find_missing(frame, results.users[ALL] if every is None else every),
        [] if key is None else list(_mark_events(frame, series, key)),
        [] if key is None or is_small else list(_note(frame, key)),
        [] if key is None or is_small else [Break(frame.x(results.index(day)), day) for day in frame.breaks()],
        None if peak is None else _label_peak(frame.x(peak + 0.5), frame.y(series.values[peak]), peak_text),
        []
        if is_small or key is None or not has_days
        else [(i - frame.start, _describe(frame, series, i)) for i in known],
        TimeScale(_midnight(frame.day(frame.start)), _midnight(frame.day(last))).ticks(),
        frame.count.ticks(),
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """Which days a plot shows, and where.

    Attributes:
        results: their days are counted.
        start: the first day; below 0 if it is before the first one with numbers.
        last: the day after the last one.
        height: of the plot, in units.
        count: its scale.
    """

    results: Results
    start: int
    last: int
    height: int
    count: CountScale

    def x(self, index: float) -> float:
        """Place a day, in percent."""
        return round(100 * (index - self.start) / (self.last - self.start), 2)

    def y(self, number: float) -> float:
        """Place a number, in percent from the top."""
        return round(100 * self._depth(number), 1)

    def day(self, index: int) -> date:
        """Give a day's date."""
        return self.results.first + timedelta(days=index)

    def breaks(self) -> list[date]:
        """Give the breaks within the plot."""
        return [day for day in self.results.breaks if self.start <= self.results.index(day) < self.last]

    def runs(self, *columns: Sequence[float]) -> Iterator[tuple[int, list[list[int]]]]:
        """Give the runs of days that have numbers in all columns: the first day's unit, and heights by column."""
        for run in _find_runs(max(self.start, 0), self.last, columns):
            heights = [[round(self.height * self._depth(column[index])) for index in run] for column in columns]
            yield run.start - self.start, heights

    def _depth(self, number: float) -> float:
        """Give a number's distance from the top; what does not fit is at the top."""
        return 1 - min(number, self.count.top) / self.count.top


def write_number(number: float) -> str:
    """Write a number of users: whole, or with one decimal below 10."""
    return f"{number:,.0f}" if number >= 9.95 or number == round(number) else f"{number:.1f}"


def write_range(lower: float, upper: float) -> str:
    """Write an interval."""
    return f"{write_number(lower)} to {write_number(upper)}"


def _known(number: float, other: float) -> float:
    return other if math.isnan(number) else number


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _describe(frame: _Frame, series: Series, index: int) -> str:
    text = f"{full_date(frame.day(index))}: {write_number(series.values[index])}"
    if math.isnan(series.lower[index]):
        return text
    return f"{text} ({write_range(series.lower[index], series.upper[index])})"


def _find_runs(start: int, last: int, columns: Sequence[Sequence[float]]) -> Iterator[range]:
    """Find the runs of days that have numbers in all columns."""
    begin = start
    for index in range(start, last + 1):
        if index == last or any(math.isnan(column[index]) for column in columns):
            if begin < index:
                yield range(begin, index)
            begin = index + 1


def _draw_line(place: int, heights: Sequence[int]) -> str:
    """Draw a line through the middles of days, from the first one's start to the last one's end."""
    return f"M{place} {heights[0]}h.5l{_steps(heights, 1)}h.5"


def _draw_band(place: int, lower: Sequence[int], upper: Sequence[int]) -> str:
    """Draw the area between two such lines."""
    back = _steps(lower[::-1], -1)
    return f"M{place} {upper[0]}h.5l{_steps(upper, 1)}h.5V{lower[-1]}h-.5l{back}h-.5z"


def _steps(heights: Sequence[int], across: int) -> str:
    """Write the steps from each height to the next one. Of a single day there is none, and a path needs one."""
    steps = [
        f"{across}{step}" if (step := after - before) < 0 else f"{across} {step}" for before, after in pairwise(heights)
    ]
    return " ".join(steps) or "0 0"


def _find_missing(frame: _Frame, every: Series) -> list[Missing]:
    """Find the days without a number, after the first one that has any."""
    known = (index for index, value in enumerate(every.values) if not math.isnan(value))
    begin = max(frame.start, next(known, frame.last))
    gaps = []
    for index in range(begin, frame.last + 1):
        if index == frame.last or not math.isnan(every.values[index]):
            if begin < index:
                first, end = full_date(frame.day(begin)), full_date(frame.day(index - 1))
                text = first if first == end else f"{first} to {end}"
                gaps.append(Missing(frame.x(begin), round(frame.x(index) - frame.x(begin), 2), text))
            begin = index + 1
    return gaps


def describe_event(event: Event) -> str:
    """Say what an event is."""
    return (
        f"{full_date(event.date)}, {'drop' if event.is_drop else 'rise'}: {write_number(event.value)} where "
        f"{write_range(event.expected_lower, event.expected_upper)} were expected"
    )


def _mark_events(frame: _Frame, series: Series, key: Key) -> Iterator[Mark]:
    for event in frame.results.our_events(key):
        index = frame.results.index(event.date)
        if frame.start <= index < frame.last and not math.isnan(series.values[index]):
            yield Mark(frame.x(index + 0.5), frame.y(series.values[index]), event.is_drop, describe_event(event))


def _note(frame: _Frame, key: Key) -> Iterator[Note]:
    notes = []
    for annotation in frame.results.annotations:
        start = frame.results.index(annotation.start)
        end = frame.last if annotation.end is None else frame.results.index(annotation.end) + 1
        if annotation.is_about(key) and start < frame.last and end > frame.start:
            left = frame.x(max(start, frame.start))
            notes.append((left, round(frame.x(min(end, frame.last)) - left, 2), annotation))
    for number, (left, width, annotation) in enumerate(notes[-MAX_NOTES:], 1):
        yield Note(left, width, number, annotation)


def _label_peak(x: float, y: float, text: str) -> Peak:
    return Peak(x, y, "start" if x < _LEFT else "end" if x > _RIGHT else "middle", text)
