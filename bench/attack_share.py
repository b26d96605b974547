"""A neighbour who fills its network's share until it is refused, to learn how many connections the others have."""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from typing import TYPE_CHECKING

from bench.attacks import Row
from obfstats.wire.transports import make_transport
from peers import program
from peers.destinations import echo, serve
from peers.obfuscated import ObfuscatedClient

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARE = 200
NEIGHBOURS = range(3, 61)
"""How many connections the others may have."""

ROUNDS = 8

GUESSED_LIMITS = (SHARE, SHARE * 3 // 4)
"""What the attacker takes the limit for: the option's number, or the mean of what is drawn (proxy/shares.py)."""

_HELLO = b"hello"
_PATIENCE = 1.0
_SETTLE = 0.5
"""Seconds in which the program notices that connections have closed."""


def enter(bridge: tuple[str, int], source: str) -> ObfuscatedClient | None:
    """Connect and be served; None if that is refused."""
    try:
        client = ObfuscatedClient(make_transport("obfs3"), bridge, source, _PATIENCE)
    except OSError:
        return None
    try:
        client.sendall(_HELLO)
        if client.recv() == _HELLO:
            return client
    except OSError:
        pass
    client.close()
    return None


@contextlib.contextmanager
def neighbours(bridge: tuple[str, int], number: int) -> Iterator[None]:
    """Have others of the network connected."""
    with contextlib.ExitStack() as stack:
        for index in range(number):
            client = enter(bridge, f"127.8.1.{index % 200 + 1}")
            if client is None:
                raise RuntimeError("a neighbour was refused")
            stack.callback(client.close)
        yield
    time.sleep(_SETTLE)


def fill(bridge: tuple[str, int]) -> int:
    """Connect until refused; return how often that succeeded."""
    with contextlib.ExitStack() as stack:
        count = 0
        while (client := enter(bridge, "127.8.1.250")) is not None:
            stack.callback(client.close)
            count += 1
    time.sleep(_SETTLE)
    return count


def measure(*, quick: bool) -> list[Row]:
    """Guess the neighbours' number, once each in several rounds, and one number by the mean of as many attempts."""
    rounds, chance = (2 if quick else ROUNDS), random.Random(19)
    command = ("--no-stats", "--max-per-network", str(SHARE), "obfs3")
    with serve(echo) as orport, program.obfsproxy(*command, "--dest", orport, "server", "127.0.0.1:0") as running:
        truths, filled = [], []
        for _ in range(rounds):
            truths.append(chance.choice(NEIGHBOURS))
            with neighbours(running.address, truths[-1]):
                filled.append(fill(running.address))
        with neighbours(running.address, truths[0]):
            mean = statistics.fmean(fill(running.address) for _ in range(rounds))
    misses = [
        [abs(limit - count - truth) for count, truth in zip(filled, truths, strict=True)] for limit in GUESSED_LIMITS
    ]
    best = min(misses, key=lambda each: (-each.count(0), sum(each)))
    repeated = min(abs(limit - mean - truths[0]) for limit in GUESSED_LIMITS)
    attack = f"fill a /24's share of {SHARE} until refused"
    return [
        Row(attack, "neighbours' connections guessed exactly", f"{best.count(0)} of {rounds}"),
        Row(attack, "mean error of a guess, connections", f"{statistics.fmean(best):.0f}"),
        Row(f"the same {rounds} times, mean", "error of the guess, connections", f"{repeated:.0f}"),
    ]
