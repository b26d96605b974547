"""Simulated users of countries with known blockings, for measuring detectors of events.

Each country has a level from 10 to 100,000 users, a weekly rhythm of its own, a random walk, days that differ by
themselves (Student's t with four degrees of freedom), holidays that groups of countries share, and, for half of the
countries, one or two blockings of 30 to 90 % for 2 to 28 days. All countries share errors of the day, three days
without most of the archive, and one break of the series. A number is measured with an error that its interval tells,
and rounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from obfstats.analyse.fit import QUANTILE

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIRST_DAYS = 35
"""Days before the first blocking: any detector needs some."""

_APART = 60
"""Days between two blockings of a country."""


class Blocking(NamedTuple):
    """A country loses users for some days.

    Attributes:
        country: its number.
        start: the first day.
        end: the first day after it.
        lost: the share of users that is lost.
    """

    country: int
    start: int
    end: int
    lost: float


class Series(NamedTuple):
    """Numbers of countries; arrays are [day, country].

    Attributes:
        users: as measured, rounded.
        lower: lower ends of 90 % intervals.
        upper: upper ends.
        blockings: what happened.
    """

    users: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    blockings: list[Blocking]


def draw_series(random: np.random.Generator, *, days: int, countries: int) -> Series:
    """Draw a world."""
    numbers = random.uniform(np.log(10), np.log(100_000), countries)[:, None] + np.zeros((countries, days))
    weekend = np.repeat([0.0, 1.0], [5, 2])
    rhythm = 0.3 * random.normal(0, 1, (countries, 7)) + np.outer(random.normal(0, 1, countries), weekend - 2 / 7)
    rhythm *= random.uniform(0, 0.15, countries)[:, None]
    numbers += rhythm[:, np.arange(days) % 7]
    steps = random.normal(0, 1, (countries, days)) * random.uniform(0.005, 0.03, countries)[:, None]
    walk = np.zeros(countries)
    for day in range(days):
        walk = 0.98 * walk + steps[:, day]
        numbers[:, day] += walk
    numbers += random.standard_t(4, (countries, days)) / np.sqrt(2) * random.uniform(0.02, 0.1, countries)[:, None]
    for _ in range(days // 30):
        group, first, holidays = random.random(countries) < 0.12, random.integers(0, days), random.integers(2, 7)
        numbers[group, first : first + holidays] += np.log(random.uniform(0.75, 0.95))
    blockings = draw_blockings(random, days=days, countries=countries)
    for blocking in blockings:
        length = blocking.end - blocking.start
        ramp = int(random.integers(1, 4)) if length > 6 else 1
        reached = np.minimum(1, np.arange(1, length + 1) / ramp)
        numbers[blocking.country, blocking.start : blocking.end] += np.log1p(-blocking.lost) * reached
    common = random.normal(0, 0.03, days)
    common[random.integers(30, days, 3)] += np.log(random.uniform(0.3, 0.8, 3))
    common[random.integers(60, days - 30) :] += np.log(0.8)
    return _measure(random, np.exp(numbers + common).T, blockings)


def draw_blockings(random: np.random.Generator, *, days: int, countries: int) -> list[Blocking]:
    """Draw blockings of half of the countries."""
    blockings: list[Blocking] = []
    for country in np.flatnonzero(random.random(countries) < 0.5).tolist():
        last = -_APART
        for start in np.sort(random.integers(FIRST_DAYS, days - 10, random.integers(1, 3))).tolist():
            if start - last >= _APART:
                end = min(days, start + int(random.integers(2, 29)))
                blockings.append(Blocking(country, start, end, random.uniform(0.3, 0.9)))
                last = start
    return blockings


def _measure(random: np.random.Generator, users: NDArray[np.float64], blockings: list[Blocking]) -> Series:
    """Measure with a relative error of 2 % and, of small numbers, of a count of twice as many."""
    error = np.sqrt(0.02**2 + 0.5 / (users + 0.3))
    measured = random.gamma(1 / error**2, users * error**2)
    lower, upper = measured * np.exp(-QUANTILE * error), (measured + 0.3) * np.exp(QUANTILE * error)
    return Series(np.rint(measured), np.floor(lower), np.ceil(upper), blockings)
