"""Events on simulated blockings: Tor's detector and ours side by side. Nothing is timed.

- Series: numbers of countries that are drawn as such (event_series.py), with everything that troubles a detector.
- Archives: bridges are simulated, their archive is written and read, and each detector works on its own estimate of it:
  Tor's on the published one, ours on ours.

Found is a blocking with a drop in its first seven days. Drops in those days and rises in the seven days after the end
are no false alarms, and neither is one that comes late, in the rest of the blocking or within two weeks of its end, if
there was none before. Every other event is one. Consecutive days outside of Tor's range are one event.

Our parameters were chosen on other seeds than these, of series alone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.event_archives import CODES, draw_settings, estimate_archive
from bench.event_series import draw_series
from bench.report import main, progress
from obfstats.analyse.detector import DEFAULT, Settings, detect_changes
from obfstats.analyse.events import RISE, find_our_events, find_tor_events
from obfstats.analyse.tor_detector import add_ranges, compute_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    import pyarrow as pa
    from numpy.typing import NDArray

    from bench.event_series import Blocking, Series

    Events = tuple[NDArray[np.bool_], NDArray[np.bool_]]

DAYS = 240
COUNTRIES = 100
FIRST_SEED = 101
WINDOW = 7
"""Days in which a change must be found, and in which it explains an event."""

THRESHOLDS = (8, 16, 32)
"""Of our CUSUM; the first is the default."""


class Plan(NamedTuple):
    """How much to simulate.

    Attributes:
        series: worlds that are drawn as series.
        archives: worlds of bridges.
        bridges: of each of these.
        days: of each of these.
    """

    series: int
    archives: int
    bridges: int
    days: int


@dataclass
class Score:
    """What a detector found in all worlds.

    Attributes:
        blockings: how many there were.
        found: how many were found.
        ends: how many ended early enough for the end to be found.
        ends_found: how many ends were found.
        delays: days from the start to the event, of those that were found.
        false_drops: events that are none.
        false_rises: the same for rises.
        country_days: days and countries that were looked at.
    """

    blockings: int = 0
    found: int = 0
    ends: int = 0
    ends_found: int = 0
    delays: list[int] = field(default_factory=list)
    false_drops: int = 0
    false_rises: int = 0
    country_days: int = 0

    @property
    def false_alarms(self) -> int:
        """Events that are none."""
        return self.false_drops + self.false_rises

    def add(self, events: Events, blockings: Iterable[Blocking]) -> None:
        """Count what was found in a world.

        Args:
            events: drops and rises, [day, country].
            blockings: what happened.
        """
        drops, rises = (begins.copy() for begins in events)
        for country, start, end, _ in blockings:
            first_days = slice(start, min(end, start + WINDOW))
            found = np.flatnonzero(drops[first_days, country])
            self.blockings += 1
            self.found += len(found) > 0
            self.delays += found[:1].tolist()
            if end + WINDOW <= len(rises):
                self.ends += 1
                self.ends_found += bool(rises[end : end + WINDOW, country].any())
            _forget(drops[:, country], first_days, slice(start, end))
            _forget(rises[:, country], slice(end, end + WINDOW), slice(end, end + 2 * WINDOW))
        self.false_drops += int(drops.sum())
        self.false_rises += int(rises.sum())
        self.country_days += drops.size

    def row(self, name: str, tor: Score) -> str:
        """Write it as a table's row."""
        yearly = self.false_alarms / self.country_days * 365
        ratio = f"**{self.false_alarms / tor.false_alarms:.2f}**" if tor.false_alarms else ""
        return (
            f"| {name} | {self.found / self.blockings:.1%} | {np.mean(self.delays):.1f} | "
            f"{self.ends_found / self.ends:.1%} | {self.false_drops} | {self.false_rises} | {yearly:.2f} | "
            f"{ratio} |"
        )


def _forget(events: NDArray[np.bool_], explained: slice, late: slice) -> None:
    """Take away the events of a country that a change explains: all at its time; without one, the first late one."""
    if not events[explained].any():
        later = np.flatnonzero(events[late])[:1]
        events[later + late.start] = False
    events[explained] = False


def find_with_tor(users: NDArray[np.float64]) -> Events:
    """Run Tor's detector; of a run of days the first is the event."""
    ranges = compute_ranges(users)
    events = users < ranges.lower, users > ranges.upper
    for outside in events:
        outside[1:] &= ~outside[:-1]
    return events


def find_with_ours(series: Series, threshold: float) -> Events:
    """Run our detector."""
    groups = [np.arange(series.users.shape[1])]
    found = detect_changes(series.users, series.lower, series.upper, groups, scale(threshold))
    return found.drops, found.rises


def scale(threshold: float) -> Settings:
    """Change the threshold of our detector, and what a single day can give with it."""
    return replace(DEFAULT, threshold=threshold, day_limit=threshold * DEFAULT.day_limit / DEFAULT.threshold)


def write_table(title: str, tor: Score, ours: Sequence[Score]) -> str:
    """Write the detectors side by side."""
    head = (
        f"{title}: {tor.blockings} blockings, {tor.country_days:,} days of countries.\n\n"
        "| detector | found | days late | ends found | false drops | false rises | false a country and year | "
        "false to Tor's |\n|---|---|---|---|---|---|---|---|"
    )
    rows = [tor.row("Tor's", tor)]
    for threshold, score in zip(THRESHOLDS, ours, strict=True):
        default = " (the default)" if threshold == DEFAULT.threshold else ""
        rows.append(score.row(f"ours, threshold {threshold}{default}", tor))
    return "\n".join([head, *rows])


def measure(plan: Plan) -> str:
    """Measure all worlds, and write the tables."""
    return f"{measure_series(plan.series)}\n\n{measure_archives(plan)}"


def measure_series(worlds: int) -> str:
    """Measure on series of countries."""
    tor, ours = Score(), [Score() for _ in THRESHOLDS]
    progress(f"{worlds} worlds of {COUNTRIES} countries and {DAYS} days")
    for seed in range(FIRST_SEED, FIRST_SEED + worlds):
        series = draw_series(np.random.default_rng(seed), days=DAYS, countries=COUNTRIES)
        tor.add(find_with_tor(series.users), series.blockings)
        for score, threshold in zip(ours, THRESHOLDS, strict=True):
            score.add(find_with_ours(series, threshold), series.blockings)
    return write_table("Series of countries with 10 to 100,000 users", tor, ours)


def measure_archives(plan: Plan) -> str:
    """Measure on archives of simulated bridges."""
    tor, ours = Score(), [Score() for _ in THRESHOLDS]
    for seed in range(FIRST_SEED, FIRST_SEED + plan.archives):
        progress(f"{plan.bridges} bridges for {plan.days} days, seed {seed}")
        settings, blockings = draw_settings(seed, plan.bridges, plan.days)
        published, users = estimate_archive(settings)
        tor.add(_arrange(find_tor_events(add_ranges(published)), settings.first_day, plan.days), blockings)
        for score, threshold in zip(ours, THRESHOLDS, strict=True):
            score.add(_arrange(find_our_events(users, scale(threshold)), settings.first_day, plan.days), blockings)
    title = f"Archives of {plan.bridges} bridges with {20 * plan.bridges:,} users in {len(CODES)} countries"
    return write_table(title, tor, ours)


def _arrange(events: pa.Table, first_day: date, days: int) -> Events:
    """Arrange the events of countries as [day, country]."""
    found = np.zeros((2, days, len(CODES)), dtype=bool)
    for event in events.to_pylist():
        if event["country"] in CODES and not event["transport"]:
            day = (event["date"] - first_day).days
            found[int(event["direction"] == RISE), day, CODES.index(event["country"])] = True
    return found[0], found[1]


if __name__ == "__main__":
    sys.exit(main("events", measure, Plan(20, 4, 300, 150), Plan(4, 1, 100, 100)))
