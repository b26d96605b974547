"""A bridge's documents become what a person wants to know: how many, from where, by what, and since when less.

Rules:

- Only published numbers are used. An exact number is somewhere in its band (bands.py). What is said must be true
  wherever in their bands the exact numbers are; with noise, with a probability of 90 %.
- A day is a whole interval of 24 hours, whenever it began. Other intervals are drawn, but no sentence uses them: their
  numbers are those of another length.
- Addresses and connections are never mixed. Connections are used only if no document has addresses.
- A country that a document does not name had no client; with noise too, because a noisy document names all countries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Final

from obfstats.formats.counts import ROUNDING_STEP
from obfstats.formats.interval import INTERVAL_SECONDS
from obfstats.show.bands import SURE, ZERO, Band, narrower, noisy, rounded, total

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from obfstats.formats.document import Document
    from obfstats.formats.interval import Interval

MONTH: Final = timedelta(days=30)
YEAR: Final = timedelta(days=365)
RESTART: Final = timedelta(hours=1)
"""A shorter gap between two intervals is none."""

CHANGE_WINDOW: Final = timedelta(days=90)
"""How far back a lasting change is searched for."""

NO_COUNTRIES: Final = frozenset(("??", "EU", "AP", "ZZ", "A1", "A2", "O1"))
"""Codes of GeoIP files that are no country."""

_SAME_COUNTRY: Final = {"UK": "GB"}
_MOST_DAYS: Final = 2 / 3
_DAYS_BEFORE: Final = 7
_DAYS_SINCE: Final = 5  # a weekend is two days
LEAST_DAYS: Final = _DAYS_BEFORE + _DAYS_SINCE
"""Days that a lasting change needs."""

_CHANGE: Final = 0.75


@dataclass(frozen=True, slots=True)
class Day:
    """What one document says.

    Attributes:
        interval: its interval.
        all: clients of all countries.
        countries: clients by country.
        transports: clients by transport; None if the document does not have them.
        epsilon: of the noise; None if the numbers are rounded.
    """

    interval: Interval
    all: Band
    countries: Mapping[str, Band]
    transports: Mapping[str, Band] | None
    epsilon: str | None

    @property
    def date(self) -> datetime:
        """The UTC day with the larger part of the interval."""
        return self.interval.start + timedelta(seconds=self.interval.seconds / 2)

    @property
    def is_whole(self) -> bool:
        """Whether the interval is one of 24 hours."""
        return self.interval.seconds == INTERVAL_SECONDS

    @property
    def known_countries(self) -> int:
        """The number of countries that surely had a client."""
        return sum(code not in NO_COUNTRIES and stands_out(band) for code, band in self.countries.items())


@dataclass(frozen=True, slots=True)
class Usage:
    """What a bridge's documents say.

    Attributes:
        fingerprint: the bridge's hashed fingerprint, if a document has it.
        instance: the name of its instance, if a document has it.
        counts_addresses: whether the numbers are different addresses; else they are connections.
        days: of the year before the end of the last document, in order.
        overlapping: documents that are left out, because their interval overlaps that of an earlier one.
        uncounted: documents that are left out, because they do not have these numbers.
        ipv6_prefix: of the last document.
    """

    fingerprint: str | None
    instance: str | None
    counts_addresses: bool
    days: Sequence[Day]
    overlapping: int
    uncounted: int
    ipv6_prefix: int | None

    @property
    def month(self) -> Sequence[Day]:
        """The days of the last 30 days."""
        return self.since(MONTH)

    def since(self, window: timedelta) -> Sequence[Day]:
        """Give the days that end within a time before the end of the last one."""
        start = self.days[-1].interval.end - window
        return [day for day in self.days if day.interval.end > start]


@dataclass(frozen=True, slots=True)
class Typical:
    """What was so on most days.

    Attributes:
        days: on how many days.
        of: days with numbers.
        lower: clients a day, at least.
        upper: clients a day, at most.
        fewest_countries: countries a day, at least.
        most_countries: countries a day, at most.
    """

    days: int
    of: int
    lower: float
    upper: float
    fewest_countries: int
    most_countries: int


@dataclass(frozen=True, slots=True)
class Change:
    """A lasting drop or rise: the medians of the days before and since.

    Attributes:
        since: the first day.
        is_after_gap: whether there is no number of the day before that.
        is_drop: whether there are fewer since.
        before: the median of the days before.
        after: the median of the days since.
    """

    since: Day
    is_after_gap: bool
    is_drop: bool
    before: tuple[float, float]
    after: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Peak:
    """The most clients of a day.

    Attributes:
        day: the day with the largest number.
        lower: clients, at least.
        upper: clients, at most.
        others: other days that may have had the most.
    """

    day: Day
    lower: float
    upper: float
    others: int


def read_usage(documents: Sequence[Document]) -> Usage | None:
    """Read what documents of one bridge say.

    Args:
        documents: in any order; each must have an interval.

    Returns:
        None if no document has numbers of clients.
    """
    counts_addresses = any(document.ips is not None for document in documents)
    days: list[Day] = []
    uncounted = overlapping = 0
    last: Document | None = None
    fingerprint = instance = None
    for document in sorted(documents, key=lambda document: (document.interval.start, document.interval.end)):
        day = _read_day(document, counts_addresses=counts_addresses)
        fingerprint, instance = document.fingerprint or fingerprint, document.instance or instance
        if day is None:
            uncounted += 1
        elif days and day.interval.start < days[-1].interval.end:
            overlapping += document != last
        else:
            days.append(day)
            last = document
    if last is None:
        return None
    usage = Usage(fingerprint, instance, counts_addresses, days, overlapping, uncounted, last.ipv6_prefix)
    return replace(usage, days=usage.since(YEAR))


def _read_day(document: Document, *, counts_addresses: bool) -> Day | None:
    numbers = document.ips if counts_addresses else document.requests
    if numbers is None:
        return None
    read = _reader(document.epsilon)
    countries: dict[str, Band] = {}
    for code, number in numbers.items():
        country = _SAME_COUNTRY.get(code, code)
        countries[country] = countries.get(country, ZERO) + read(number)
    every = total(countries.values())
    if counts_addresses and document.ip_versions and document.epsilon is None:
        # Each address has one country and one family, so there are two sums of the same; few numbers are rounded less.
        every = narrower(every, total(read(number) for number in document.ip_versions.values()))
    transports = None
    if counts_addresses and document.ip_transports is not None:
        transports = {name: read(number) for name, number in document.ip_transports.items()}
    return Day(document.interval, every, countries, transports, document.epsilon)


def _reader(epsilon: str | None) -> Callable[[int], Band]:
    return rounded if epsilon is None else partial(noisy, epsilon=float(epsilon))


def whole(days: Sequence[Day]) -> list[Day]:
    """Leave out intervals that are not 24 hours long."""
    return [day for day in days if day.is_whole]


def find_typical(days: Sequence[Day]) -> Typical:
    """Find the narrowest range of clients that holds the bands of two days in three.

    Args:
        days: at least one, all without noise.
    """
    wanted = math.ceil(len(days) * _MOST_DAYS)
    ranges = []
    for lower in {day.all.lower() for day in days}:
        uppers = sorted(day.all.upper() for day in days if day.all.lower() >= lower)
        if len(uppers) >= wanted:
            ranges.append((uppers[wanted - 1] - lower, lower, uppers[wanted - 1]))
    _, lower, upper = min(ranges)
    within = [day for day in days if lower <= day.all.lower() and day.all.upper() <= upper]
    countries = [day.known_countries for day in within]
    return Typical(len(within), len(days), lower, upper, min(countries), max(countries))


def average_by_country(days: Sequence[Day]) -> dict[str, Band]:
    """Average clients a day by country, the most first; countries without any are left out.

    Args:
        days: at least one.
    """
    sums: dict[str, Band] = {}
    for day in days:
        for code, band in day.countries.items():
            sums[code] = sums.get(code, ZERO) + band
    return _sort({code: band / len(days) for code, band in sums.items() if band.upper(SURE) > 0})


def average_by_transport(days: Sequence[Day]) -> dict[str, Band]:
    """Average clients a day by transport, the most first; days without transports are left out."""
    known = [day.transports for day in days if day.transports is not None]
    names = sorted({name for transports in known for name in transports})
    return _sort({name: total(day.get(name, ZERO) for day in known) / len(known) for name in names})


def _sort(bands: Mapping[str, Band]) -> dict[str, Band]:
    """Sort by the number; among equals, what is no country comes last."""
    return dict(
        sorted(bands.items(), key=lambda item: (-item[1].most, -item[1].least, item[0] in NO_COUNTRIES, item[0]))
    )


def stands_out(band: Band) -> bool:
    """Tell whether a number is surely above 0: with noise hardly any of 250 countries is wrongly."""
    return band.lower(SURE) > 0


def find_leaders(averages: Mapping[str, Band]) -> list[str]:
    """Find the countries that may have the most clients: one, if it is sure which.

    Args:
        averages: clients by country.
    """
    best = max(band.lower(SURE) for band in averages.values())
    return [code for code, band in averages.items() if band.upper(SURE) > 0 and band.upper(SURE) >= best]


def has_majority(code: str, averages: Mapping[str, Band]) -> bool:
    """Tell whether a country surely has more clients than all others together."""
    others = total(band for other, band in averages.items() if other != code)
    return averages[code].lower(SURE) > others.upper(SURE)


def find_peak(days: Sequence[Day]) -> Peak:
    """Find the most clients of a day. With noise its ends are as far away as where one of many countries is chosen.

    Args:
        days: at least one.
    """
    lower = max(day.all.lower(SURE) for day in days)
    uppers = [day.all.upper(SURE) for day in days]
    others = sum(upper >= lower for upper in uppers) - 1
    return Peak(max(days, key=lambda day: day.all.most), lower, max(uppers), others)


def find_change(days: Sequence[Day], country: str | None = None) -> Change | None:
    """Find a drop by a quarter or more, and by 8 or more, or such a rise, that lasts until the last day.

    The day is where two constants fit the days best, by the sum of absolute differences. The change is reported if the
    medians before and since are as far apart wherever in their bands the exact numbers are.

    Args:
        days: whole ones.
        country: of one country; None for all.
    """
    bands = [day.all if country is None else day.countries.get(country, ZERO) for day in days]
    middles = [band.middle for band in bands]
    splits = range(1, len(days))
    split = min(splits, key=lambda split: _spread(middles[:split]) + _spread(middles[split:]), default=0)
    if split < _DAYS_BEFORE or len(days) - split < _DAYS_SINCE:
        return None
    before, after = _median_band(bands[:split]), _median_band(bands[split:])
    is_drop, is_rise = _is_less(after, before), _is_less(before, after)
    if not is_drop and not is_rise:
        return None
    is_after_gap = days[split].interval.start - days[split - 1].interval.end > RESTART
    return Change(days[split], is_after_gap, is_drop, before, after)


def _is_less(fewer: tuple[float, float], more: tuple[float, float]) -> bool:
    return fewer[1] <= min(_CHANGE * more[0], more[0] - ROUNDING_STEP)


def _spread(values: Sequence[float]) -> float:
    middle = median(values)
    return sum(abs(value - middle) for value in values)


def _median_band(bands: Sequence[Band]) -> tuple[float, float]:
    return median(band.lower() for band in bands), median(band.upper() for band in bands)
