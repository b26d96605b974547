"""A plot of clients over time: for each interval a step of its true length, as high as its band. Gaps stay empty."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from obfstats.show.scales import CountScale, TimeScale, split_at_gaps, step_band, step_line
from obfstats.show.usage import RESTART

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime, timedelta

    from obfstats.show.scales import Tick
    from obfstats.show.usage import Day


class Gap(NamedTuple):
    """A time between two documents.

    Attributes:
        start: end of the earlier one's interval.
        end: start of the later one's interval.
        x: left edge in the plot.
        width: in the plot.
    """

    start: datetime
    end: datetime
    x: float
    width: float


class Column(NamedTuple):
    """Where an interval is in the plot, and what is said of it there."""

    x: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """What a template needs to draw a plot.

    Attributes:
        name: for the ids of its title and description.
        title: what it shows.
        description: the same in more words, for whoever cannot see it.
        bands: paths of areas.
        lines: paths of lines.
        gaps: times without documents.
        columns: the intervals.
        across: ticks of the time.
        up: ticks of the numbers.
    """

    name: str
    title: str
    description: str
    bands: Sequence[str]
    lines: Sequence[str]
    gaps: Sequence[Gap]
    columns: Sequence[Column]
    across: Sequence[Tick]
    up: Sequence[Tick]


def draw_plot(
    days: Sequence[Day],
    window: timedelta,
    describe: Callable[[Day], str],
    earlier: Sequence[Day],
    *,
    smooth: int = 1,
    name: str,
    title: str,
    description: str,
) -> Plot:
    """Draw days.

    Args:
        days: at least one, in order.
        window: how long a time the plot shows, until the end of the last day.
        describe: says in words what a day is.
        earlier: the day before these, if there is one.
        smooth: the line is the median of this many days, an odd number.
        name: for ids.
        title: what it shows.
        description: the same in more words.
    """
    end = days[-1].interval.end
    time = TimeScale(end - window, end)
    count = CountScale.up_to(max(day.all.upper() for day in days))
    bands, lines = [], []
    for run in split_at_gaps(days, lambda day: day.interval, RESTART):
        edges = [(time(day.interval.start), time(day.interval.end), day.all) for day in run]
        # The edges of neighbours are those of the later one, so that a restart leaves no crack.
        joined = [(left, following[0], band) for (left, _, band), following in pairwise(edges)]
        joined.append(edges[-1])
        bands.append(step_band([(left, right, count(b.upper()), count(b.lower())) for left, right, b in joined]))
        middles = _smooth([band.middle for _, _, band in joined], smooth)
        heights = zip(joined, middles, strict=True)
        lines.append(step_line([(left, right, count(middle)) for (left, right, _), middle in heights]))
    columns = [Column(*_edges(time, day.interval.start, day.interval.end), describe(day)) for day in days]
    return Plot(
        name,
        title,
        description,
        bands,
        lines,
        _find_gaps([*earlier, *days], time),
        columns,
        time.ticks(),
        count.ticks(),
    )


def _find_gaps(days: Iterable[Day], time: TimeScale) -> list[Gap]:
    """Find the times without documents, after the first one, that are in the plot."""
    pairs = [(earlier.interval.end, later.interval.start) for earlier, later in pairwise(days)]
    gaps = [Gap(start, end, *_edges(time, start, end)) for start, end in pairs if end - start > RESTART]
    return [gap for gap in gaps if gap.width]


def _smooth(values: Sequence[float], days: int) -> list[float]:
    half = days // 2
    return [median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]


def _edges(time: TimeScale, start: datetime, end: datetime) -> tuple[float, float]:
    """Give a time's left edge and its width."""
    return time(start), round(time(end) - time(start), 1)
