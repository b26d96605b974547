"""Bridges that never were: their clients, the logs a real recorder writes of them, and what a reader makes of those.

Clients come from 60 countries whose sizes follow Zipf's law with an exponent of 1.3. Addresses are private ones, a /16
for each country. A recorder of ours on a moved clock writes real logs; its secrets come from the seed, so that what a
reader guesses can be held against what was. The same seed gives the same figures.
"""

from __future__ import annotations

import ctypes
import math
from collections import Counter
from contextlib import closing
from hashlib import sha256
from itertools import accumulate, groupby, islice
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
"""Made-up countries, the largest first."""

_SHARES = tuple(accumulate(rank**-ZIPF_EXPONENT for rank in range(1, COUNTRIES + 1)))
_GEOIP = "".join(
    f"{(10 << 24) + (n << 16)},{(10 << 24) + (n << 16) + 0xFFFF},{code.upper()}\n" for n, code in enumerate(CODES)
)

_TICK = 600.0
# How much busier the busiest hour is than the mean; the quietest, with which an interval begins, is as much quieter.
_SWING = 0.7


class Arrival(NamedTuple):
    """One connection.

    Attributes:
        moment: seconds since the bridge began.
        address: the client's.
    """

    moment: float
    address: str


def draw_countries(random: Random, clients: int) -> list[int]:
    """Give so many clients' countries, as places in `CODES`."""
    return random.choices(range(COUNTRIES), cum_weights=_SHARES, k=clients)


def address(country: int, number: int) -> str:
    """Give one of a country's 65,536 addresses."""
    return f"10.{country}.{number >> 8}.{number & 0xFF}"


def strangers(random: Random, clients: int) -> list[str]:
    """Give the addresses of so many clients, all different."""
    countries = draw_countries(random, clients)
    free = {country: iter(random.sample(range(1 << 16), number)) for country, number in Counter(countries).items()}
    return [address(country, next(free[country])) for country in countries]


def time_of_day(share: float) -> float:
    """Give the moment until which this share of a day's connections has come, in seconds.

    Connections come and go with the hour; the whole world knows how.
    """
    earliest, latest = 0.0, DAY
    for _ in range(40):
        middle = (earliest + latest) / 2
        turn = 2 * math.pi * middle / DAY
        come = (turn - _SWING * math.sin(turn)) / (2 * math.pi)
        earliest, latest = (middle, latest) if come < share else (earliest, middle)
    return earliest


class Keys:
    """Where a recorder's secrets come from: the seed, and not the kernel. They are kept, to look back.

    Attributes:
        drawn: every S so far.
    """

    def __init__(self, random: Random, *, for_good: bool = False) -> None:
        """Begin.

        Args:
            random: gives the bytes.
            for_good: whether S is never another, as in the ticket, where it lives as long as the program.
        """
        self.drawn: list[bytes] = []
        self._random = random
        self._for_good = for_good

    def fill(self, place: int, size: int) -> None:
        """Write S to where it is wanted."""
        if not (self._for_good and self.drawn):
            self.drawn.append(self._random.randbytes(size))
        ctypes.memmove(place, self.drawn[-1], size)


def write_log(
    path: Path, arrivals: Iterable[Arrival], days: int, random: Random, keys: Keys, *, buffer: int = DEFAULT_BUFFER
) -> None:
    """Have a recorder write a log.

    Args:
        path: where to.
        arrivals: who came when, in order.
        days: for how long.
        random: gives the delays of closing batches.
        keys: gives the secrets.
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
        closing_delay=lambda: random.uniform(0.0, CLOSING_DELAY),
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
    """What a log tells of who came again.

    Attributes:
        hashes: different ones in the log.
        linking: those of more than one day.
        of_one_client: those of them that always were the same client's.
        longest: the days of the one that was seen on most of them.
    """

    hashes: int
    linking: int
    of_one_client: int
    longest: int


class Regulars:
    """Clients who come again: 60 % with an address of their own, the others with another of a pool of 256 every day."""

    STATIC = 0.6
    POOL = 256

    def __init__(self, random: Random, clients: int, days: int) -> None:
        """Draw who comes when.

        Args:
            random: gives everything.
            clients: how many there are.
            days: for how long. Each client comes on a share of them of its own, and up to three times on such a day.
        """
        self.arrivals: list[Arrival] = []
        self._clients_of: dict[str, set[int]] = {}
        own = iter(random.sample(range(self.POOL, 1 << 16), clients))
        for client, country in enumerate(draw_countries(random, clients)):
            at_home = address(country, next(own)) if client < clients * self.STATIC else None
            eagerness = random.uniform(0.1, 1)
            for day in range(days):
                if random.random() < eagerness:
                    today = at_home or address(country, random.randrange(self.POOL))
                    self._clients_of.setdefault(today, set()).add(client)
                    times = random.randint(1, 3)
                    self.arrivals += [Arrival((day + random.random()) * DAY, today) for _ in range(times)]
        self.arrivals.sort()

    def linkage(self, path: Path, keys: Keys) -> Linkage:
        """See what a log of theirs tells."""
        days = Counter(one for _, hashes in read_hashes(path) for one in set(hashes))
        linking = {one for one, number in days.items() if number > 1}
        lonely = {
            hashed(client, key) for client, who in self._clients_of.items() if len(who) == 1 for key in keys.drawn
        }
        return Linkage(len(days), len(linking), len(linking & lonely), max(days.values()))


def hashed(client: str, key: bytes) -> str:
    """Hash an address as the log has it."""
    return sha256(pack_address(client) + key).hexdigest()[:40]


def passers_by(random: Random, clients: int, days: int) -> list[Arrival]:
    """Give so many clients every day, each of whom comes once."""
    arrivals = [
        Arrival(day * DAY + time_of_day(random.random()), stranger)
        for day in range(days)
        for stranger in strangers(random, clients)
    ]
    return sorted(arrivals)


def dating_errors(path: Path, arrivals: Iterable[Arrival], keys: Keys, buffer: int) -> Iterator[float]:
    """Guess when each line's client came, by the line's batch; give by how many seconds the guess is wrong.

    Who has the log sees the batches: each but an interval's last has as many lines as the buffer. He guesses the moment
    in the middle of those when such a share of the day's connections has come.
    """
    coming = iter(arrivals)
    for key, (_, hashes) in zip(keys.drawn, read_hashes(path), strict=False):
        truth = {hashed(arrival.address, key): arrival.moment % DAY for arrival in islice(coming, len(hashes))}
        for first in range(0, len(hashes), buffer):
            batch = hashes[first : first + buffer]
            guess = time_of_day((first + len(batch) / 2) / len(hashes))
            for one in batch:
                yield abs(truth[one] - guess)
