"""Simulated bridges: their clients, the logs that a real recorder writes, and what an attacker infers from these.

Clients come from 60 countries whose sizes follow Zipf's law with an exponent of 1.3. Addresses are private ones, a /16
for each country. The project's recorder writes the logs on a simulated clock; its secrets come from the seed, so that
guesses can be compared with the truth. The same seed gives the same figures.
"""

from __future__ import annotations

import ctypes
import math
from collections import Counter
from contextlib import closing
from hashlib import sha256
from itertools import accumulate, groupby, islice, pairwise
from typing import TYPE_CHECKING, NamedTuple

from bench.report import BrokenError
from obfstats.formats.address import pack_address
from obfstats.formats.logline import parse_line
from obfstats.record.batches import CLOSING_DELAY, DEFAULT_BUFFER
from obfstats.record.countries import Countries
from obfstats.record.geoip import parse_v4, parse_v6
from obfstats.record.journal import Journal
from obfstats.record.recorder import Recorder
from obfstats.record.secret import Secret
from peers.clocks import DAY, MovedClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from random import Random

COUNTRIES = 60
ZIPF_EXPONENT = 1.3
SEED = 5047

CODES = tuple(f"{chr(ord('a') + number // 26)}{chr(ord('a') + number % 26)}" for number in range(COUNTRIES))
"""Simulated countries, the largest first."""

_SHARES = tuple(accumulate(rank**-ZIPF_EXPONENT for rank in range(1, COUNTRIES + 1)))
_GEOIP = "".join(
    f"{(10 << 24) + (n << 16)},{(10 << 24) + (n << 16) + 0xFFFF},{code.upper()}\n" for n, code in enumerate(CODES)
)

_TICK = 600.0
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


def write_log(
    path: Path, arrivals: Iterable[Arrival], days: int, random: Random, keys: Keys, *, buffer: int = DEFAULT_BUFFER
) -> None:
    """Let a recorder write a log.

    Args:
        path: the log.
        arrivals: the connections, in order.
        days: how long the bridge runs.
        random: source of the delays of closing batches.
        keys: source of the secrets.
        buffer: lines held before a batch is written.
    """
    complaints: list[str] = []
    clock = MovedClock()
    countries = Countries(parse_v4(_GEOIP.encode()).country, parse_v6(b"").country, ("simulation", "simulation"))
    recorder = Recorder(
        Journal(path, warn=complaints.append),
        countries,
        secret=Secret(keys.fill),
        clock=clock,
        draw_delay=lambda: random.uniform(0.0, CLOSING_DELAY),
        buffer=buffer,
    )
    with closing(recorder):
        now = 0.0
        for arrival in arrivals:
            while arrival.moment - now >= _TICK:
                clock.pass_time(_TICK)
                now += _TICK
                recorder.tick()
            clock.pass_time(arrival.moment - now)
            now = arrival.moment
            recorder.record(arrival.address)
        while now < days * DAY + 2 * CLOSING_DELAY:
            clock.pass_time(_TICK)
            now += _TICK
            recorder.tick()
    if complaints:
        raise BrokenError("the recorder could not write its log")


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


def dating_errors(path: Path, arrivals: Iterable[Arrival], keys: Keys, buffer: int) -> Iterator[float]:
    """Guess the time of each line's connection by the line's batch; give by how many seconds each guess is wrong.

    An attacker who has the log sees the batches: each but an interval's last has as many lines as the buffer. The guess
    is the time at which half of the batch's share of the day's connections had arrived.
    """
    remaining = iter(arrivals)
    for key, (_, hashes) in zip(keys.drawn, read_hashes(path), strict=False):
        truth = {hashed(arrival.address, key): arrival.moment % DAY for arrival in islice(remaining, len(hashes))}
        for first in range(0, len(hashes), buffer):
            batch = hashes[first : first + buffer]
            guess = time_of_day((first + len(batch) / 2) / len(hashes))
            for one in batch:
                yield abs(truth[one] - guess)
