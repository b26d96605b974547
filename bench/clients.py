"""Made-up clients' addresses: the same ones in every run."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from random import Random
from socket import inet_ntoa

from bench.report import MissingError

GEOIP = Path("/usr/share/tor/geoip")
"""Tor's own file, as Debian installs it."""

_SEED = 5047
_REPEATS = 1 / 3
_SMALL_NETWORKS = 1 / 2


def need_geoip() -> Path:
    """Give tor's geoip file.

    Raises:
        MissingError: if it is not there.
    """
    if not GEOIP.exists():
        raise MissingError("the country file is missing: apt-get install tor-geoipdb")
    return GEOIP


def addresses(geoip: Path, count: int) -> list[str]:
    """Give addresses as text, drawn from the ranges of tor's geoip file; a third of them occur again.

    Of the others half belong to any range, which mostly is a small one, and half to any address, which mostly is in a
    large one.
    """
    random = Random(_SEED)
    ranges: list[tuple[int, int]] = []
    with geoip.open(encoding="ascii") as lines:
        for line in lines:
            if not line.startswith("#"):
                first, last, _ = line.split(",")
                ranges.append((int(first), int(last)))
    sizes = list(accumulate(last - first + 1 for first, last in ranges))
    drawn: list[str] = []
    for _ in range(count):
        if drawn and random.random() < _REPEATS:
            drawn.append(random.choice(drawn))
            continue
        small = random.random() < _SMALL_NETWORKS
        network = random.choice(ranges) if small else random.choices(ranges, cum_weights=sizes)[0]
        drawn.append(inet_ntoa(random.randint(*network).to_bytes(4, "big")))
    return drawn
