"""Simulated bridges with a known truth: exact numbers of requests and addresses by bridge, day and country.

Rules:

- Everything follows from the settings: the same settings give the same numbers, in whatever order they are asked for.
- Numbers are drawn when they are asked for, country by country in batches of BATCH_DAYS days, and not kept: a world of
  2,000 bridges, 365 days and 250 countries needs little memory.
- The unit of everything is the request of a network status. A client makes ten a day, as Tor Metrics assumes, so users,
  the average number of concurrent clients, are requests / 10.
- A request is drawn on its UTC day first, so the truth of a day is exact. Then it falls into the 24-hour interval of
  the bridge's statistics that contains it, or into none if a restart lost that interval.
- Forged claims are a part of what bridges report and never a part of the truth.

The model of one bridge, day and country: requests ~ Poisson(rate of the bridge * its affinity to the country * level of
the country on the day * noise of the bridge on the day * what blocking leaves).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from hashlib import sha1
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

import numpy as np

from obfstats.analyse.days import DAY, day_number
from obfstats.analyse.simulate_times import ReportTimes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Floats: TypeAlias = npt.NDArray[np.float64]
    Ints: TypeAlias = npt.NDArray[np.int32]
    Bools: TypeAlias = npt.NDArray[np.bool_]

_Scalar = TypeVar("_Scalar", bound=np.generic)

REQUESTS_PER_USER = 10
"""Requests a day of one user."""

MAX_DAYS = 10_000
"""Seconds of a simulation are 32-bit integers."""

_PARTS = 3
BATCH_DAYS = 8
"""Days that are drawn at once."""

COUNTRIES = (
    "ru", "ir", "us", "de", "cn", "by", "tr", "in", "gb", "fr", "ua", "nl", "br", "id", "eg", "pk", "sa", "kz", "ae",
    "vn", "??", "es", "it", "pl", "ca", "mx", "se", "jp", "ch", "th", "iq", "au", "ro", "cz", "ar", "my", "ng", "sg",
    "at", "kr", "ph", "fi", "hu", "be", "za", "co", "il", "gr", "bd", "uz", "mm", "ve", "ke", "ma", "dz", "et", "tm",
    "cu", "tz", "ug",
)  # fmt: skip
"""Countries of a simulation unless the settings name others."""

PLAIN = "<OR>"
"""What tor calls connections without a transport."""

# Tor writes statistics of its directory, and so of bridges, in steps of 8.
GRANULARITY = 8

STATUS_MINUTE = 28
"""Minute of each hour's status."""

_FORGER_START = 10


@dataclass(frozen=True, slots=True)
class Blocking:
    """A country loses users for some days.

    Attributes:
        country: where, lower-case code.
        start: the first day, counted from 0.
        days: how many days.
        strength: share of the requests that is lost, up to 1; negative for a rise: -1 doubles them.
        transport: of which transport; empty for all.
    """

    country: str
    start: int
    days: int
    strength: float
    transport: str = ""


@dataclass(frozen=True, slots=True)
class Forgery:
    """Bridges that claim requests which were never made.

    Attributes:
        bridges: how many. They stay for the whole simulation and report every day.
        country: which country is claimed.
        start: the first day, counted from 0.
        requests: claimed by each of them a day, beside its real ones.
        fourfold_days: 0 to claim all at once; otherwise the claim begins at 10 requests and becomes four times as large
            in so many days, until it reaches `requests`.
    """

    bridges: int
    country: str
    start: int
    requests: int
    fourfold_days: int = 0


@dataclass(frozen=True, slots=True)
class ManyInstances:
    """One bridge, one fingerprint, several instances of tor with a nickname each, as Snowflake's.

    Attributes:
        instances: how many.
        share: of all users.
        transport: its transport.
    """

    instances: int
    share: float
    transport: str = "snowflake"


@dataclass(frozen=True, slots=True)
class Settings:
    """What is simulated. Shares are from 0 to 1.

    Attributes:
        bridges: bridges that run at a time, without those of `many`.
        days: UTC days.
        first_day: the first of them.
        seed: of all randomness.
        users: of all bridges, on average and before trends.
        countries: lower-case codes, `??` for unknown, the largest first.
        country_shares: share of each country; empty for Zipf's law.
        zipf: exponent of that law: the country of rank k has a share proportional to k ** -zipf.
        transports: pairs of a transport and the share of bridges that offer it.
        plain: share of a bridge's requests that come without its transport.
        sizes: how sizes of bridges are distributed: `gamma`, `pareto` or `lognormal`.
        size_shape: of that distribution: shape of gamma, tail index of pareto (heavier if smaller), or log-sd.
        affinity: log-sd of the size of a bridge's share in a country.
        noise: log-sd of a bridge's own ups and downs from day to day, which are the same in all countries.
        weekly: how far a country's days of the week are from their mean, as a share; each country has its own phase.
        daily: how far the hours of a day are from their mean, as a share.
        trend: log-sd of a country's random walk after a year.
        churn: bridges that go a day, as a share; another comes for each.
        restarts: restarts of a bridge a day. Each loses the interval and moves its end to another second of the day.
        silent: share of bridges that report nothing: no statistics, no documents.
        lost_reports: share of reports that do not reach the archive.
        missing_statuses: share of hours without a network status.
        second_statuses: share of hours with a second network status.
        unreachable: share of hours in which a bridge that runs is listed as not running.
        served_first: share of bridges whose tor writes `served=` on the first day.
        served_last: the same on the last day. An upgrade is a restart.
        incomplete: share of the answers that tor with `served=` does not count as `ok`.
        repeats: share of reports that a bridge publishes twice.
        addresses_per_request: probability that a request is the first of its address in an interval.
        documents: share of bridges that write documents (docs/document.md) beside Tor's statistics.
        noisy_documents: share of these whose documents have noise.
        epsilon: of that noise.
        blockings: losses of users, known to the events.
        forgeries: bridges that claim requests.
        many: bridges of several instances.
    """

    bridges: int = 200
    days: int = 60
    first_day: dt.date = dt.date(2026, 3, 1)
    seed: int = 1
    users: float = 4_000.0
    countries: tuple[str, ...] = COUNTRIES
    country_shares: tuple[float, ...] = ()
    zipf: float = 1.0
    transports: tuple[tuple[str, float], ...] = (("obfs4", 0.6), ("webtunnel", 0.2), (PLAIN, 0.15), ("meek", 0.05))
    plain: float = 0.1
    sizes: str = "gamma"
    size_shape: float = 0.7
    affinity: float = 0.5
    noise: float = 0.15
    weekly: float = 0.1
    daily: float = 0.5
    trend: float = 0.3
    churn: float = 0.003
    restarts: float = 0.02
    silent: float = 0.05
    lost_reports: float = 0.02
    missing_statuses: float = 0.01
    second_statuses: float = 0.1
    unreachable: float = 0.02
    served_first: float = 0.0
    served_last: float = 0.0
    incomplete: float = 0.1
    repeats: float = 0.1
    addresses_per_request: float = 0.3
    documents: float = 0.3
    noisy_documents: float = 0.2
    epsilon: float = 0.5
    blockings: tuple[Blocking, ...] = ()
    forgeries: tuple[Forgery, ...] = ()
    many: tuple[ManyInstances, ...] = ()


def simulate(settings: Settings) -> World:
    """Make a world of bridges.

    Raises:
        ValueError: where settings contradict each other.
    """
    return World(settings)


def round_up(numbers: npt.ArrayLike, granularity: int = GRANULARITY) -> npt.NDArray[np.int64]:
    """Round up to a multiple, as tor does; 0 stays 0."""
    return -(-np.asarray(numbers, dtype=np.int64) // granularity) * granularity


def discrete_laplace(generator: np.random.Generator, epsilon: float, size: int) -> npt.NDArray[np.int64]:
    """Draw integers k with a probability proportional to exp(-epsilon |k|): the difference of two geometric ones."""
    draws = generator.geometric(-np.expm1(-epsilon), (2, size))
    return np.asarray(draws[0] - draws[1])


class CountryDays(NamedTuple):
    """One country's numbers of some days, by main transport and `<OR>`: arrays [2, I, days].

    Attributes:
        first: its first day, counted from the start of the padding.
        requests: true requests of the UTC day.
        addresses: different addresses of the UTC day.
        connections: connections of the UTC day.
        report_requests: of the report that ends on the day, forged claims included; 0 without a report.
        report_addresses: likewise.
        report_connections: likewise.
    """

    first: int
    requests: Ints
    addresses: Ints
    connections: Ints
    report_requests: Ints
    report_addresses: Ints
    report_connections: Ints


def _sum_up(parts: Ints) -> tuple[Ints, Ints, Ints]:
    """Give requests, addresses and connections of addresses, other requests and other connections."""
    addresses, requests, connections = parts
    return addresses + requests, addresses, addresses + connections


class World:
    """Bridges and their exact numbers. I instances of tor, D UTC days; a transport or country that is empty means all.

    Attributes:
        settings: what it was made from.
        first_day: number of the first day since 1970-01-01.
        countries: their codes, the largest first.
        transports: their names, `<OR>` and those of `many` included.
        bridge: number of each instance's bridge, [I]. Instances with the same number have the same fingerprint.
        fingerprints: hashed fingerprint of each bridge, upper-case hex.
        nicknames: of each instance.
        transport: index of each instance's main transport, [I].
        forgers: whether the instance claims requests that were not made, [I].
        documents: whether it writes documents, [I]. Those have its main transport alone: `<OR>` is tor's own.
        epsilon: of the noise in its documents, 0 where they are rounded, [I].
        hours: bit h is set where a status lists the instance as running in that hour, [I, D].
        running: whether it ran in any part of the day, [I, D].
        served: whether its tor writes `served=`, [I, D].
        report_end: second of the day at which a report's 24 hours ended, -1 if none reached the archive, [I, D].
        padded_report_end: the same with the day before the first and the day after the last, [I, D + 2].
        reported: whether reports cover the whole UTC day, [I, D].
    """

    def __init__(self, settings: Settings) -> None:
        """Draw everything but the numbers of requests.

        Raises:
            ValueError: where settings contradict each other.
        """
        shares = np.array(settings.country_shares or 1.0 / np.arange(1, len(settings.countries) + 1) ** settings.zipf)
        if len(shares) != len(settings.countries):
            raise ValueError("as many country_shares as countries are needed")
        if settings.days > MAX_DAYS:
            raise ValueError(f"at most {MAX_DAYS} days can be simulated")
        if sum(forgery.bridges for forgery in settings.forgeries) > settings.bridges:
            raise ValueError("more forgers than bridges")
        if sum(many.share for many in settings.many) > 1:
            raise ValueError("bridges of many instances have more than all users")
        self.settings = settings
        self.first_day = day_number(settings.first_day)
        self.countries = settings.countries
        names = [name for name, _ in settings.transports] + [many.transport for many in settings.many] + [PLAIN]
        self.transports = tuple(dict.fromkeys(names))
        places = [(event.country, event.start) for event in settings.blockings]
        for country, start in places + [(forgery.country, forgery.start) for forgery in settings.forgeries]:
            if country not in self.countries:
                raise ValueError(f"no country {country} in this simulation")
            if start < 0:
                raise ValueError("a blocking or forgery begins before the first day")
        for blocking in settings.blockings:
            if blocking.transport and blocking.transport not in self.transports:
                raise ValueError(f"no transport {blocking.transport} in this simulation")
        self._shares = shares / shares.sum()
        self._padded = settings.days + 2
        self._place_instances(self._generator("instances"))
        self._draw_days(self._generator("days"))
        self._draw_statuses(self._generator("statuses"))
        self._draw_levels(self._generator("levels"))

    def requests(self, country: str, transport: str = "") -> Ints:
        """Draw the true requests by instance and UTC day, int32[I, D]."""
        return self._join(transport, (requests for _, requests in self._draw_days_of(country)))

    def addresses(self, country: str, transport: str = "") -> Ints:
        """Draw the different addresses by instance and UTC day, int32[I, D]. One with two transports counts twice."""
        return self._join(transport, (drawn.addresses for drawn in self.draw_days(country)))

    def connections(self, country: str, transport: str = "") -> Ints:
        """Draw the connections by instance and UTC day, int32[I, D]; at least one from each address."""
        return self._join(transport, (drawn.connections for drawn in self.draw_days(country)))

    def report_requests(self, country: str, transport: str = "") -> Ints:
        """Draw the requests of the report that ends on a day, int32[I, D]: 0 without one, forged claims included."""
        return self._join(transport, (drawn.report_requests for drawn in self.draw_days(country)))

    def report_addresses(self, country: str, transport: str = "") -> Ints:
        """Draw the different addresses of the report that ends on a day, int32[I, D]; 0 without a report."""
        return self._join(transport, (drawn.report_addresses for drawn in self.draw_days(country)))

    def report_connections(self, country: str, transport: str = "") -> Ints:
        """Draw the connections of the report that ends on a day, int32[I, D]; 0 without a report."""
        return self._join(transport, (drawn.report_connections for drawn in self.draw_days(country)))

    def claims(self, country: str) -> Ints:
        """Give the requests that forged bridges add to their reports, int32[I, D]. They claim their main transport."""
        return self._without_padding(self._claims(country))

    def truth(self, country: str = "", transport: str = "") -> Floats:
        """Give the true users by UTC day, float64[D]: requests of all instances / 10, whether or not they report."""
        countries = (country,) if country else self.countries
        return np.asarray(
            sum(self.requests(code, transport).sum(axis=0, dtype=np.int64) for code in countries) / REQUESTS_PER_USER
        )

    def draw_days(self, country: str) -> Iterator[CountryDays]:
        """Draw a country's numbers, BATCH_DAYS days at a time and in order, with a day of padding on each side."""
        opened_before = np.zeros((_PARTS, 2, len(self.bridge)), dtype=np.int32)
        claims = self._claims(country)
        for first, requests in self._draw_days_of(country):
            days = slice(first, first + requests.shape[2])
            parts = self._divide(self._generator("addresses", country, first), requests)
            generator = self._generator("split", country, first)
            reported = generator.binomial(parts, self._times.first[:, days]).astype(np.int32)
            opened = generator.binomial(parts - reported, self._times.last[:, days]).astype(np.int32)
            reported[..., 1:] += opened[..., :-1]
            reported[..., 0] += opened_before
            reported[:, 0] += self._divide(self._generator("claims", country, first), claims[:, days])
            reported *= self._has_report[:, days]
            opened_before = opened[..., -1]
            yield CountryDays(first, *_sum_up(parts), *_sum_up(reported))

    def _divide(self, generator: np.random.Generator, requests: Ints) -> Ints:
        """Divide requests into the first ones of an address and others, and draw further connections of the addresses.

        So numbers of addresses are Poisson distributed, as those of people are. Requests of an address come in groups
        in life; here a few requests may be without an address.

        Returns:
            Addresses, other requests, other connections; each part may then be split between two reports.
        """
        addresses = generator.binomial(requests, self.settings.addresses_per_request)
        return np.stack([addresses, requests - addresses, generator.poisson(addresses)]).astype(np.int32)

    def _generator(self, purpose: str, country: str = "", first: int = 0) -> np.random.Generator:
        """Make the generator of one purpose; each has its own stream, so that they can be drawn in any order."""
        seed = sha1(f"{self.settings.seed} {purpose} {country} {first}".encode(), usedforsecurity=False).digest()
        return np.random.default_rng(list(seed))

    def _join(self, transport: str, parts: Iterator[Ints]) -> Ints:
        """Join batches of [2, I, days] to the [I, D] of one transport, or of all."""
        if not transport:
            sums = [part.sum(axis=0, dtype=np.int32) for part in parts]
        else:
            is_transport = (self._slots == self.transports.index(transport))[:, :, np.newaxis]
            sums = [part.sum(axis=0, where=is_transport, dtype=np.int32) for part in parts]
        return self._without_padding(np.concatenate(sums, axis=1))

    @staticmethod
    def _without_padding(numbers: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
        return np.ascontiguousarray(numbers[:, 1:-1])

    def _draw_days_of(self, country: str) -> Iterator[tuple[int, Ints]]:
        """Draw true requests; give each batch's first day and an array by (main transport or `<OR>`), instance, day."""
        for first in range(0, self._padded, BATCH_DAYS):
            yield first, self._draw_requests(country, range(first, min(first + BATCH_DAYS, self._padded)))

    def _draw_requests(self, country: str, days: range) -> Ints:
        number = self.countries.index(country)
        part = slice(days.start, days.stop)
        rate = self._generator("affinity", country).standard_normal(len(self.bridge)) * self.settings.affinity
        rate = self._rates * np.exp(rate - self.settings.affinity**2 / 2) * self._shares[number]
        mean = rate[:, np.newaxis] * self._noise[:, part] * self._times.active[:, part] * self._levels[number, part]
        mean = np.stack([mean * (1 - self._plain)[:, np.newaxis], mean * self._plain[:, np.newaxis]])
        for blocking in self.settings.blockings:
            if blocking.country == country:
                day = np.arange(days.start, days.stop) - 1 - blocking.start
                is_hit = (day >= 0) & (day < blocking.days)
                if blocking.transport:
                    is_hit = is_hit & (self._slots == self.transports.index(blocking.transport))[:, :, np.newaxis]
                mean = mean * (1 - blocking.strength * is_hit)
        generator = self._generator("requests", country, days.start)
        return np.asarray(generator.poisson(mean), dtype=np.int32)

    def _claims(self, country: str) -> Ints:
        """Give forged claims by instance and padded day."""
        claims = np.zeros((len(self.bridge), self._padded), dtype=np.int32)
        first = 0
        for forgery in self.settings.forgeries:
            if forgery.country == country:
                day = np.arange(self._padded) - 1 - forgery.start
                claim = np.full(self._padded, float(forgery.requests))
                if forgery.fourfold_days:
                    steps = np.minimum(day / forgery.fourfold_days, 30)
                    claim = np.minimum(claim, _FORGER_START * 4.0**steps)
                claims[first : first + forgery.bridges] += np.where(day >= 0, claim, 0).astype(np.int32)
            first += forgery.bridges
        return claims

    def _place_instances(self, generator: np.random.Generator) -> None:
        """Draw the instances: when they live, their sizes and transports, and what they report.

        The first ones are forgers. Every other bridge is one of a chain: when one goes, another comes.
        """
        settings = self.settings
        seconds = self._padded * DAY
        forgers = sum(forgery.bridges for forgery in settings.forgeries)
        born, gone = [], []
        for number in range(settings.bridges):
            goings = 0 if number < forgers else generator.poisson(settings.churn * self._padded)
            times = [0, *np.sort(generator.integers(1, seconds, goings)).tolist(), seconds]
            born += times[:-1]
            gone += times[1:]
        single = len(born)
        bridge = list(range(single))
        nicknames = [f"bridge{number}" for number in bridge]
        for number, many in enumerate(settings.many, single):
            born += [0] * many.instances
            gone += [seconds] * many.instances
            bridge += [number] * many.instances
            nicknames += [f"{many.transport[:10]}{number}x{instance}" for instance in range(1, many.instances + 1)]
        self._born, self._gone, self.bridge = (np.array(values, dtype=np.int32) for values in (born, gone, bridge))
        self.nicknames = tuple(nicknames)
        self.fingerprints = tuple(
            sha1(f"{settings.seed}/{number}".encode(), usedforsecurity=False).hexdigest().upper()
            for number in range(bridge[-1] + 1)
        )
        sizes = _draw_sizes(generator, settings, single)
        left = 1 - sum(many.share for many in settings.many)
        requests = settings.users * REQUESTS_PER_USER
        parts = [sizes / sizes.mean() * requests * left / settings.bridges]
        parts += [np.full(many.instances, requests * many.share / many.instances) for many in settings.many]
        self._rates = np.concatenate(parts)
        names, weights = zip(*settings.transports, strict=True)
        chosen = generator.choice(len(names), single, p=np.array(weights) / sum(weights))
        index = [self.transports.index(names[number]) for number in chosen]
        index += [self.transports.index(many.transport) for many in settings.many for _ in range(many.instances)]
        self.transport = np.array(index, dtype=np.int32)
        plain = self.transports.index(PLAIN)
        self._slots = np.stack([self.transport, np.full_like(self.transport, plain)])
        self._plain = np.where(self.transport == plain, 0.0, settings.plain)
        self.forgers = np.arange(len(bridge)) < forgers
        self._silent = (generator.random(len(bridge)) < settings.silent) & ~self.forgers
        self.documents = (
            (generator.random(len(bridge)) < settings.documents) & (self.transport != plain) & ~self._silent
        )
        noisy = generator.random(len(bridge)) < settings.noisy_documents
        self.epsilon = np.where(self.documents & noisy, settings.epsilon, 0.0)

    def _draw_days(self, generator: np.random.Generator) -> None:
        """Draw restarts, upgrades, noise and lost reports; work out which reports there are."""
        settings = self.settings
        shape = (len(self.bridge), self._padded)
        progress = np.linspace(0, 1, settings.days)
        share = settings.served_first + (settings.served_last - settings.served_first) * progress
        rank = generator.random(len(self.bridge))
        self.served = share >= np.maximum(rank, 1e-12)[:, np.newaxis]
        upgraded = np.zeros(shape, dtype=bool)
        upgraded[:, 2:-1] = self.served[:, 1:] & ~self.served[:, :-1]
        offset = generator.integers(0, DAY, shape[0]).astype(np.int32)
        second = generator.integers(1, DAY, shape)
        again = (generator.random(shape) < settings.restarts) | upgraded
        starts = np.arange(self._padded, dtype=np.int64) * DAY
        again &= (self._born[:, np.newaxis] < starts) & (self._gone[:, np.newaxis] > starts + DAY)
        restart = np.where(again, second, -1).astype(np.int32)
        self._times = ReportTimes(self._born, self._gone, offset, restart, settings.daily)
        noise = generator.standard_normal(shape) * settings.noise
        self._noise = np.exp(noise - settings.noise**2 / 2)
        lost = (generator.random(shape) < settings.lost_reports) & ~self.forgers[:, np.newaxis]
        self._has_report = (self._times.end >= 0) & ~lost & ~self._silent[:, np.newaxis]
        self.padded_report_end = np.where(self._has_report, self._times.end, np.int32(-1))
        self.report_end = self._without_padding(self.padded_report_end)
        # An interval that ends on the next day may have begun after a restart in the middle of this one.
        is_whole = (restart < 0) & (self._times.seconds[1] - self._times.seconds[0] == DAY)
        self.reported = (self._has_report[:, :-1] & self._has_report[:, 1:] & is_whole[:, :-1])[:, 1:]

    def _draw_statuses(self, generator: np.random.Generator) -> None:
        """Draw which statuses there are, and which instances they list as running."""
        settings = self.settings
        self.hours = np.zeros((len(self.bridge), settings.days), dtype=np.uint32)
        self.running = self._without_padding(self._times.active > 0)
        low, high = (self._without_padding(part) for part in self._times.seconds)
        for hour in range(24):
            moment = hour * 3600 + STATUS_MINUTE * 60
            there = generator.random(settings.days) >= settings.missing_statuses
            listed = generator.random(low.shape) >= settings.unreachable
            self.hours |= ((low <= moment) & (moment < high) & there & listed).astype(np.uint32) << np.uint32(hour)

    def _draw_levels(self, generator: np.random.Generator) -> None:
        """Draw each country's weekly rhythm and slow trend, by country and padded day."""
        settings = self.settings
        countries = len(self.countries)
        day = np.arange(self._padded)
        phase = generator.random((countries, 1))
        swing = settings.weekly * generator.uniform(0.5, 1.5, (countries, 1))
        weekly = 1 + np.minimum(swing, 1) * np.cos(2 * np.pi * (day / 7 - phase))
        steps = generator.standard_normal((countries, self._padded)) * settings.trend / np.sqrt(365)
        self._levels = weekly * np.exp(np.cumsum(steps, axis=1))


def _draw_sizes(generator: np.random.Generator, settings: Settings, bridges: int) -> Floats:
    """Draw relative sizes of bridges."""
    shape = settings.size_shape
    draws = {
        "gamma": lambda: generator.gamma(shape, 1.0, bridges),
        "pareto": lambda: generator.pareto(shape, bridges) + 1,
        "lognormal": lambda: generator.lognormal(0.0, shape, bridges),
    }
    if settings.sizes not in draws:
        raise ValueError(f"sizes are one of {', '.join(draws)}")
    return draws[settings.sizes]()
