"""Bounds on probabilities after a number of trials, for any distribution. Floats are fine here.

The bound is Chernoff's, in its exponential form: of n tries with a chance p a share of at least h > p succeeds with a
chance of exp(-n D(h, p)) at most, and so does a share of at most h < p, where D is the relative entropy of two coins.
It is a little wider than Clopper's and Pearson's and never too narrow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SURE = 0.99


class Loss(NamedTuple):
    """Privacy loss of one outcome: the logarithm of its chance with the first input over that with the second.

    Attributes:
        least: it is not less, as far as one can be sure.
        most: it is not more.
    """

    least: float
    most: float


def privacy_losses(
    first: Mapping[int, int], second: Mapping[int, int], outcomes: Sequence[int], sure: float = SURE
) -> list[Loss]:
    """Bound the privacy losses of two inputs; all bounds hold together.

    Args:
        first: how often each outcome was seen with the first input.
        second: the same with the second.
        outcomes: those that are looked at, chosen before anything was seen.
        sure: how sure one can be of all bounds together.
    """
    doubt = (1 - sure) / (4 * len(outcomes))
    tries = sum(first.values()), sum(second.values())
    losses = []
    for outcome in outcomes:
        a = chance(first.get(outcome, 0), tries[0], doubt)
        b = chance(second.get(outcome, 0), tries[1], doubt)
        losses.append(Loss(_log(a[0]) - _log(b[1]), _log(a[1]) - _log(b[0])))
    return losses


def chance(successes: int, tries: int, doubt: float) -> tuple[float, float]:
    """Bound a probability from below and from above, each with that much doubt left."""
    share, least = successes / tries, math.log(1 / doubt) / tries
    return _furthest(share, 0.0, least), _furthest(share, 1.0, least)


def _furthest(share: float, end: float, least: float) -> float:
    """Give the probability between share and end whose distance from the share is slightly more than `least`."""
    near, far = share, end
    for _ in range(60):
        middle = (near + far) / 2
        near, far = (near, middle) if _distance(share, middle) > least else (middle, far)
    return far


def _distance(share: float, chance: float) -> float:
    """Relative entropy of two coins."""
    return sum(
        a * math.log(a / b) if b > 0 else math.inf for a, b in ((share, chance), (1 - share, 1 - chance)) if a > 0
    )


def _log(chance: float) -> float:
    return math.log(chance) if chance > 0 else -math.inf


def fit(seen: Mapping[int, int], expected: Mapping[int, float]) -> float:
    """Give the probability of numbers at least this far from the expected ones (Pearson's chi-square).

    Args:
        seen: how often each outcome was seen.
        expected: the chances of the outcomes in the middle, of an odd number of them so that there is a formula. Those
            on both sides of them have half of the rest each.
    """
    tries = sum(seen.values())
    rest = (1 - sum(expected.values())) / 2
    parts = [(seen.get(outcome, 0), tries * share) for outcome, share in expected.items()]
    parts.append((sum(number for outcome, number in seen.items() if outcome < min(expected)), tries * rest))
    parts.append((sum(number for outcome, number in seen.items() if outcome > max(expected)), tries * rest))
    freedom = len(parts) - 1
    if freedom % 2 or min(share for _, share in parts) < 5:
        raise ValueError("an even number of outcomes, or too few tries")
    half = sum((number - share) ** 2 / share for number, share in parts) / 2
    term = total = math.exp(-half)
    for power in range(1, freedom // 2):
        term *= half / power
        total += term
    return total
