"""A reader of a bridge's metrics (--metrics) who wants to know when one client came.

The best case for the attacker: nobody else comes on that day, he scrapes whenever the numbers change, and holds or
makes connections of his own at moments that he knows. He takes the moment that explains best what he has seen (maximum
likelihood). Everybody else's connections would be noise to him.
"""

from __future__ import annotations

import random
import statistics
from itertools import accumulate
from math import inf, log
from typing import TYPE_CHECKING

from bench.attacks import Row
from obfstats.bridge.coarse import CoarseCounter, coarse
from obfstats.bridge.metrics import SNAPSHOT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DAY = 86_400.0
STAY = 3 * 3600.0
"""Seconds that the client stays; the attacker knows that."""

HELD = 12
"""Connections that the attacker holds all day: where one more changes the gauge as often as anywhere above 8."""

MADE = 1000
"""Connections that the attacker has refused between two snapshots."""

_TEN_MINUTES = 600.0


def draw_snapshots(drawn: random.Random) -> list[float]:
    """Draw the moments of a day's snapshots."""
    moments: list[float] = []
    now = 0.0
    while (now := now + drawn.uniform(*SNAPSHOT_SECONDS)) < DAY:
        moments.append(now)
    return moments


def chance_of_gauge(shown: int, number: int) -> float:
    """Tell how probable it is that so many connections are shown as such a number."""
    return sum(coarse(number, lambda _, offset=offset: offset) == shown for offset in range(8)) / 8  # type: ignore[misc]


def chance_of_steps(steps: int, ahead: int) -> float:
    """Tell how probable so many steps of a counter are, where the exact number is ahead of the shown one by so much."""
    return sum(max(0, (ahead - offset) // 8) == steps for offset in range(8)) / 8


def _log(chance: float) -> float:
    return log(chance) if chance else -inf


def date_by_gauge(drawn: random.Random, held: int) -> float:
    """Guess when a client came from the gauge of connections; return the error in seconds."""
    moments, came = draw_snapshots(drawn), drawn.uniform(0, DAY - STAY)
    with_client = [came <= moment < came + STAY for moment in moments]
    shown = [coarse(held + here, drawn.randrange) for here in with_client]
    gains = [_log(chance_of_gauge(each, held + 1)) - _log(chance_of_gauge(each, held)) for each in shown]
    sums = [0.0, *accumulate(gains)]

    def likelihood(first: int) -> float:
        last = first
        while last < len(moments) and moments[last] < moments[first] + STAY:
            last += 1
        return sums[last] - sums[first]

    candidates = [index for index, moment in enumerate(moments) if moment < DAY - STAY]
    return abs(_choose(drawn, moments, candidates, likelihood) - came)


def date_by_counter(drawn: random.Random, made: int) -> float:
    """Guess when a client was refused from the counter of failures; return the error in seconds."""
    moments, came = draw_snapshots(drawn), drawn.uniform(0, DAY)
    counter, exact, known, before = CoarseCounter(drawn.randrange), 0, 0, 0
    without: list[float] = []
    with_client: list[float] = []
    is_counted = False
    for moment in moments:
        more = made and made - drawn.randrange(8)
        known, exact = known + more, exact + more + (not is_counted and came <= moment)
        is_counted = came <= moment
        shown = counter.update(exact)
        steps = (shown - before) // 8
        without.append(_log(chance_of_steps(steps, known - before)))
        with_client.append(_log(chance_of_steps(steps, known + 1 - before)))
        before = shown
    before_sums = [0.0, *accumulate(without)]
    after_sums = [0.0, *accumulate(reversed(with_client))][::-1]
    likelihood = [one + other for one, other in zip(before_sums, after_sums, strict=True)]
    return abs(_choose(drawn, moments, range(len(moments)), likelihood.__getitem__) - came)


def _choose(
    drawn: random.Random, moments: Sequence[float], candidates: Sequence[int], likelihood: Callable[[int], float]
) -> float:
    """Choose the snapshot that explains best what was seen, one of the best at random; return its moment."""
    values = {index: likelihood(index) for index in candidates}
    best = max(values.values())
    return moments[drawn.choice([index for index, value in values.items() if value >= best - 1e-9])]


def describe(attack: str, errors: Sequence[float]) -> list[Row]:
    """Describe how well clients were dated."""
    near = sum(error <= _TEN_MINUTES for error in errors) / len(errors)
    return [
        Row(
            attack, "a client dated to (median), within 10 min", f"{statistics.median(errors) / 60:.0f} min, {near:.0%}"
        )
    ]


def measure(*, quick: bool) -> list[Row]:
    """Date clients of simulated days."""
    drawn = random.Random(5047)
    days = 100 if quick else 1000
    return [
        *describe(
            "read the gauge of a bridge with up to 8 connections", [date_by_gauge(drawn, 7) for _ in range(days)]
        ),
        *describe(f"the same, and hold {HELD} connections", [date_by_gauge(drawn, HELD) for _ in range(days)]),
        *describe("read the counter of failures; nobody else fails", [date_by_counter(drawn, 0) for _ in range(days)]),
        *describe(
            f"the same, and fail {MADE} times between two snapshots",
            [date_by_counter(drawn, MADE) for _ in range(days)],
        ),
    ]
