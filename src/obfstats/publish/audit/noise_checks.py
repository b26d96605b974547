"""Whether numbers with noise can have the noise that their document promises, whatever the true numbers are.

- Of the numbers of 0 and below, the distance from 0 has a geometric distribution with the ratio exp(-epsilon), whatever
  the true numbers are: discrete Laplace noise has no memory. If these distances are too small there is less noise than
  was promised; that is also so where negative numbers were clamped to 0.
- Two numbers with independent noise are equal with a probability of at most the sum of p(k)^2, that of equal true
  numbers. If too many are equal, the same noise was added twice.

"Too" means that chance would cause it in one of a billion documents (Chernoff's bound).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

_SURPRISE = math.log(1e9)


class NoisyNumbers(NamedTuple):
    """The numbers of a document with noise; sorted, those of a bridge's instance are in the order of their intervals.

    Attributes:
        bridge: fingerprint and instance, each empty where the document has none.
        epsilon: of the noise.
        end: of the interval.
        numbers: by country.
    """

    bridge: tuple[str, str]
    epsilon: Fraction
    end: str
    numbers: list[tuple[str, int]]


def has_too_little_noise(numbers: Mapping[str, int], epsilon: Fraction) -> bool:
    """Tell whether the numbers of 0 and below are too close to 0."""
    distances = [-number for number in numbers.values() if number <= 0]
    if not distances:
        return False
    ratio = math.exp(-epsilon)
    expected, mean = ratio / (1 - ratio), sum(distances) / len(distances)
    if mean >= expected:
        return False
    divergence = (1 + mean) * math.log((1 + expected) / (1 + mean))
    if mean:
        divergence += mean * math.log(mean / expected)
    return len(distances) * divergence > _SURPRISE


def has_same_noise(one: NoisyNumbers, other: NoisyNumbers) -> bool:
    """Tell whether too many numbers of two intervals of a bridge are equal."""
    first, second = dict(one.numbers), dict(other.numbers)
    common = first.keys() & second.keys()
    ratio = math.exp(-one.epsilon)
    by_chance = (1 - ratio) / (1 + ratio) * (1 + ratio**2) / (1 + ratio) ** 2
    equal = sum(first[code] == second[code] for code in common) / max(1, len(common))
    if one[:2] != other[:2] or equal <= by_chance:
        return False
    divergence = equal * math.log(equal / by_chance)
    if equal < 1:
        divergence += (1 - equal) * math.log((1 - equal) / (1 - by_chance))
    return len(common) * divergence > _SURPRISE
