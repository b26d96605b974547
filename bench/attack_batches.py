"""Steered batches: an attacker who will take the log connects all day, so that he can date a quiet bridge's clients.

The recorder runs on a simulated clock (simulation.py). Its secret comes from the seed, so that guesses can be compared
with the truth. No time is measured: the figures are the same on any machine.
"""

from __future__ import annotations

import statistics
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from bench.attacks import Row
from bench.report import progress
from bench.simulation import (
    SEED,
    Arrival,
    Keys,
    attacked_errors,
    dating_errors,
    passers_by,
    write_batches,
)
from peers.clocks import DAY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLIENTS = 100
"""Connections a day of others than the attacker."""

BUFFERS = (100, 1_000, 10_000)
_SOON = 600.0


class Attack(NamedTuple):
    """How the attacker connects.

    Attributes:
        name: for the table.
        seconds: between two rounds.
        connections: of each round.
        networks: from how many networks, in turn.
    """

    name: str
    seconds: float
    connections: int
    networks: int


ATTACKS = (
    Attack("100 connections every 10 minutes, one address", 600.0, 100, 1),
    Attack("a connection a second, one address", 1.0, 1, 1),
    Attack("a connection a second, 50 networks", 1.0, 1, 50),
    Attack("a connection a second, 10,000 networks", 1.0, 1, 10_000),
    Attack("10 connections a second, 10,000 networks", 1.0, 10, 10_000),
)


def measure(*, quick: bool) -> list[Row]:
    """Date clients without an attack, under each attack, and with larger buffers."""
    days = 1 if quick else 4
    clients = passers_by(Random(SEED), CLIENTS, days)
    keys = Keys(Random(SEED))
    rows = [_row("none", dating_errors(write_batches(clients, days, Random(SEED), keys), clients, keys))]
    for attack in ATTACKS:
        buffers = BUFFERS if attack.networks > max(BUFFERS) // 10 and attack.connections == 1 else BUFFERS[:1]
        for buffer in buffers:
            progress(f"{attack.name}, buffer of {buffer:,}")
            keys = Keys(Random(SEED))
            arrivals = sorted([*clients, *_connections(attack, days)])
            batches = write_batches(arrivals, days, Random(SEED), keys, buffer=buffer)
            name = attack.name if buffer == BUFFERS[0] else f"{attack.name}; `--stats-buffer {buffer}`"
            rows.append(_row(name, attacked_errors(batches, clients, keys)))
    return rows


def _row(name: str, errors: Sequence[float]) -> Row:
    soon = sum(error <= _SOON for error in errors) / len(errors)
    return Row(
        f"{name}; takes the log",
        f"one of {CLIENTS} clients a day: dated to, median; share dated within 10 min",
        f"{_write_time(statistics.median(errors))}; {soon:.0%}",
    )


def _write_time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _connections(attack: Attack, days: int) -> Iterator[Arrival]:
    number = 0
    for turn in range(int(days * DAY / attack.seconds)):
        for _ in range(attack.connections):
            # A /48 of the documentation range (RFC 3849), or one address beside them.
            network = f"2001:db8:{number % attack.networks:x}::1" if attack.networks > 1 else "192.0.2.1"
            yield Arrival((turn + 0.5) * attack.seconds, network)
            number += 1
