"""Simulated bridges: their clients, the logs that a real recorder writes, and what an attacker infers from these.

Clients come from 60 countries whose sizes follow Zipf's law with an exponent of 1.3. Addresses are private ones, a /16
for each country. The project's recorder writes the logs on a simulated clock; its secrets come from the seed, so that
guesses can be compared with the truth. The same seed gives the same figures.
"""

from __future__ import annotations

import ctypes
import math
import statistics
from collections import Counter
from contextlib import closing
from datetime import datetime
from hashlib import sha256
from inspect import signature
from itertools import accumulate, groupby, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from bench.report import BrokenError
from obfstats.formats.address import pack_address
from obfstats.formats.logline import ENTRY_HASH, parse_line
from obfstats.record.batches import CLOSING_DELAY, DEFAULT_BUFFER
from obfstats.record.countries import Countries
from obfstats.record.geoip import parse_v4, parse_v6
from obfstats.record.journal import Journal
from obfstats.record.recorder import Recorder
from obfstats.record.secret import Secret
from peers.clocks import DAY, MovedClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from random import Random

    from obfstats.formats.interval import Interval

COUNTRIES = 60
ZIPF_EXPONENT = 1.3
SEED = 5047

CODES = tuple(f"{chr(ord('a') + number // 26)}{chr(ord('a') + number % 26)}" for number in range(COUNTRIES))
"""Simulated countries, the largest first."""

_SHARES = tuple(accumulate(rank**-ZIPF_EXPONENT for rank in range(1, COUNTRIES + 1)))
_GEOIP = "".join(
    f"{(10 << 24) + (n << 16)},{(10 << 24) + (n << 16) + 0xFFFF},{code.upper()}\n" for n, code in enumerate(CODES)
)

_TICK = 30.0
# By how much the busiest hour exceeds the mean; the quietest, with which an interval begins, is below it by as much.
_SWING = 0.7


class Arrival(NamedTuple):
    """One connection.

    Attributes:
        moment: seconds since the bridge was started.
        address: the client's.
    """

    moment: float
    address: str


def draw_countries(random: Random, clients: int) -> list[int]:
    """Draw so many clients' countries, as indexes into `CODES`."""
    return random.choices(range(COUNTRIES), cum_weights=_SHARES, k=clients)


def address(country: int, number: int) -> str:
    """Give one of a country's 65,536 addresses."""
    return f"10.{country}.{number >> 8}.{number & 0xFF}"


def draw_addresses(random: Random, clients: int) -> list[str]:
    """Draw the addresses of so many clients, all different."""
    countries = draw_countries(random, clients)
    free = {country: iter(random.sample(range(1 << 16), number)) for country, number in Counter(countries).items()}
    return [address(country, next(free[country])) for country in countries]


def time_of_day(share: float) -> float:
    """Give the second of a day until which this share of its connections has arrived.

    The rate varies with the hour in a way that an attacker knows.
    """
    earliest, latest = 0.0, DAY
    for _ in range(40):
        middle = (earliest + latest) / 2
        turn = 2 * math.pi * middle / DAY
        arrived = (turn - _SWING * math.sin(turn)) / (2 * math.pi)
        earliest, latest = (middle, latest) if arrived < share else (earliest, middle)
    return earliest


class Keys:
    """A source of secrets for a recorder: the seed instead of the kernel. They are kept, to compare guesses with.

    Attributes:
        drawn: every S so far, in order.
    """

    def __init__(self, random: Random, *, is_fixed: bool = False) -> None:
        """Draw nothing yet.

        Args:
            random: source of the bytes.
            is_fixed: whether S never changes, as in the ticket, where it lives as long as the program.
        """
        self.drawn: list[bytes] = []
        self._random = random
        self._is_fixed = is_fixed

    def fill(self, address: int, size: int) -> None:
        """Write S to a memory address."""
        if not (self._is_fixed and self.drawn):
            self.drawn.append(self._random.randbytes(size))
        ctypes.memmove(address, self.drawn[-1], size)


class Batch(NamedTuple):
    """Lines that were written together.

    Attributes:
        written: when, in seconds since the bridge was started.
        day: the number of their interval.
        hashes: their hashes, sorted.
    """

    written: float
    day: int
    hashes: list[str]


class BatchStore:
    """Stands in for the journal: keeps each batch, and when it was written.

    Attributes:
        held: lines that wait: always 0.
        batches: what was written, in order.
    """

    def __init__(self) -> None:
        self.held = 0
        self.batches: list[Batch] = []
        self._began = MovedClock()

    def append(self, interval: Interval, entries: list[str], now: float) -> None:
        """Keep a batch."""
        start = datetime.strptime(f"{interval.label}+0000", "%Y-%m-%d %H:%M:%S%z").timestamp()
        day = round((start - self._began.wall()) / DAY)
        self.batches.append(Batch(now - self._began.boot(), day, sorted(entry[ENTRY_HASH] for entry in entries)))

    def close(self) -> None:
        """Do nothing."""


def write_log(
    path: Path, arrivals: Iterable[Arrival], days: int, random: Random, keys: Keys, *, buffer: int = DEFAULT_BUFFER
) -> None:
    """Let a recorder write a log.

    Args:
        path: the log.
        arrivals: the connections, in order.
        days: how long the bridge runs.
        random: source of the recorder's randomness.
        keys: source of the secrets.
        buffer: capacity of the recorder's buffer.
    """
    complaints: list[str] = []
    _run(Journal(path, warn=complaints.append), arrivals, days, random, keys, buffer)
    if complaints:
        raise BrokenError("the recorder could not write its log")


def write_batches(
    arrivals: Iterable[Arrival], days: int, random: Random, keys: Keys, *, buffer: int = DEFAULT_BUFFER
) -> list[Batch]:
    """Let a recorder write batches; arguments as for `write_log`."""
    store = BatchStore()
    _run(store, arrivals, days, random, keys, buffer)
    return store.batches


def _run(  # noqa: PLR0917 - as write_log
    store: Journal | BatchStore, arrivals: Iterable[Arrival], days: int, random: Random, keys: Keys, buffer: int
) -> None:
    clock = MovedClock()
    countries = Countries(parse_v4(_GEOIP.encode()).country, parse_v6(b"").country, ("simulation", "simulation"))
    # The recorder of another checkout may not take this.
    further: dict[str, Any] = {"random": random} if "random" in signature(Recorder).parameters else {}
    recorder = Recorder(
        cast("Journal", store),
        countries,
        secret=Secret(keys.fill),
        clock=clock,
        draw_delay=lambda: random.uniform(0.0, CLOSING_DELAY),
        buffer=buffer,
        **further,
    )
    with closing(recorder):
        now, tick = 0.0, _TICK
        for arrival in arrivals:
            while tick <= arrival.moment:
                clock.pass_time(tick - now)
                now, tick = tick, tick + _TICK
                recorder.tick()
            clock.pass_time(arrival.moment - now)
            now = arrival.moment
            recorder.record(arrival.address)
        while now < days * DAY + 2 * CLOSING_DELAY:
            clock.pass_time(tick - now)
            now, tick = tick, tick + _TICK
            recorder.tick()


def read_hashes(path: Path) -> list[tuple[str, list[str]]]:
    """Give each interval's start and its hashes, in the order of the log."""
    with path.open("rb") as log:
        lines = (parse_line(line) for line in log)
        return [
            (start, [line.hash for line in of_start]) for start, of_start in groupby(lines, lambda line: line.start)
        ]


class Linkage(NamedTuple):
    """What a log reveals of returning clients.

    Attributes:
        hashes: different ones in the log.
        linking: hashes of more than one day.
        of_one_client: of these, how many always were the same client's.
        longest: the most days on which one hash was seen.
    """

    hashes: int
    linking: int
    of_one_client: int
    longest: int


class Regulars:
    """Returning clients: 60 % with an address of their own, the others with another of a pool of 256 every day."""

    STATIC = 0.6
    POOL = 256

    def __init__(self, random: Random, clients: int, days: int) -> None:
        """Draw the connections.

        Args:
            random: source of randomness.
            clients: how many there are.
            days: for how long. Each client connects on a share of the days of its own, up to three times on such a day.
        """
        self.arrivals: list[Arrival] = []
        self._clients_of: dict[str, set[int]] = {}
        self._clients_on: dict[tuple[int, int], set[int]] = {}
        own = iter(random.sample(range(self.POOL, 1 << 16), clients))
        for client, country in enumerate(draw_countries(random, clients)):
            at_home = address(country, next(own)) if client < clients * self.STATIC else None
            share = random.uniform(0.1, 1)
            for day in range(days):
                if random.random() < share:
                    today = at_home or address(country, random.randrange(self.POOL))
                    self._clients_of.setdefault(today, set()).add(client)
                    self._clients_on.setdefault((country, day), set()).add(client)
                    times = random.randint(1, 3)
                    self.arrivals += [Arrival((day + random.random()) * DAY, today) for _ in range(times)]
        self.arrivals.sort()

    def linkage(self, path: Path, keys: Keys) -> Linkage:
        """Find what a log of theirs reveals."""
        days = Counter(one for _, hashes in read_hashes(path) for one in set(hashes))
        linking = {one for one, number in days.items() if number > 1}
        static = {
            hashed(client, key) for client, who in self._clients_of.items() if len(who) == 1 for key in keys.drawn
        }
        return Linkage(len(days), len(linking), len(linking & static), max(days.values()))

    def country_links(self) -> tuple[int, int]:
        """Link days by country alone: count the days on which a country has one client, each with the next such day.

        Returns:
            How many such pairs there are, and in how many of them both clients are the same.
        """
        alone = [(country, *who) for (country, _), who in sorted(self._clients_on.items()) if len(who) == 1]
        pairs = [(one, other) for one, other in pairwise(alone) if one[0] == other[0]]
        return len(pairs), sum(one == other for one, other in pairs)


def hashed(client: str, key: bytes) -> str:
    """Hash an address as the log has it."""
    return sha256(pack_address(client) + key).hexdigest()[:40]


def passers_by(random: Random, clients: int, days: int) -> list[Arrival]:
    """Give so many clients every day, each of which connects once."""
    arrivals = [
        Arrival(day * DAY + time_of_day(random.random()), client)
        for day in range(days)
        for client in draw_addresses(random, clients)
    ]
    return sorted(arrivals)


def dating_errors(batches: Sequence[Batch], arrivals: Iterable[Arrival], keys: Keys) -> list[float]:
    """Guess the time of each line's connection by the line's batch; give by how many seconds each guess is wrong.

    An attacker who has the log is given the batches in their order, but not when they were written. The guess is the
    time at which the middle of the batch would have arrived if lines were written in the order of their arrival, less
    a number of lines that suits this recorder best: its buffer keeps lines back.
    """
    truth = _truth(arrivals, keys)
    moments: dict[int, list[float]] = {}
    for (day, _), moment in truth.items():
        moments.setdefault(day, []).append(moment)
    order = {moment: place for of_day in moments.values() for place, moment in enumerate(sorted(of_day))}
    done = Counter[int]()
    places: list[tuple[float, int, float]] = []
    for batch in batches:
        middle = done[batch.day] + len(batch.hashes) / 2
        done[batch.day] += len(batch.hashes)
        places += [(middle, batch.day, truth[batch.day, one]) for one in batch.hashes]
    lag = statistics.median(middle - order[moment] for middle, _, moment in places)
    return [
        abs(moment % DAY - time_of_day(min(1.0, max(0.0, (middle - lag) / len(moments[day])))))
        for middle, day, moment in places
    ]


def attacked_errors(batches: Sequence[Batch], arrivals: Iterable[Arrival], keys: Keys) -> list[float]:
    """Guess as in `dating_errors`, with the knowledge of an attacker whose own lines fill the batches.

    He knows when each batch was written, because he knows when his own lines in it were recorded. The guess is this
    moment less the time that suits this recorder best. A day's last batch has all that was left: its lines are dated to
    the time of day that suits them best.

    Args:
        batches: what was written.
        arrivals: the connections that he wants to date.
        keys: the secrets of the days.
    """
    truth = _truth(arrivals, keys)
    last = {batch.day: number for number, batch in enumerate(batches)}
    ages: dict[bool, list[float]] = {False: [], True: []}
    for number, batch in enumerate(batches):
        is_last = last[batch.day] == number
        known = (batch.day + 1) * DAY if is_last else batch.written
        ages[is_last] += [known - truth[batch.day, one] for one in batch.hashes if (batch.day, one) in truth]
    return [abs(age - statistics.median(of_kind)) for of_kind in ages.values() for age in of_kind]


def _truth(arrivals: Iterable[Arrival], keys: Keys) -> dict[tuple[int, str], float]:
    """Give when each line's connection came, by day and hash."""
    days = ((int(arrival.moment // DAY), arrival) for arrival in arrivals)
    return {(day, hashed(arrival.address, keys.drawn[day])): arrival.moment for day, arrival in days}
