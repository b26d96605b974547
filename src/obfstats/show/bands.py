"""What a published number says about the exact one, and what sums and averages of them say.

- A rounded number is the exact one rounded up to the next multiple of 8: an 8 is 1 to 8, a 0 is 0 (docs/document.md).
- A noisy number is the exact one plus an integer k with a probability proportional to exp(-epsilon |k|). The variance
  of k is 2p / (1 - p)^2 with p = exp(-epsilon). Sums of many are taken for normal.

So a number has ends that are sure, and a variance, and both can be added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from obfstats.formats.counts import ROUNDING_STEP

if TYPE_CHECKING:
    from collections.abc import Iterable

USUAL: Final = 1.645
"""Standard deviations of noise on each side of a band: it holds the exact number with a probability of 90 %."""

SURE: Final = 4.0
"""The same where one of 250 countries is singled out: fewer than one is wrongly, even on a single day."""


@dataclass(frozen=True, slots=True)
class Band:
    """Where an exact number is.

    Attributes:
        least: its lower end, before noise.
        most: its upper end, before noise.
        variance: of the noise.
    """

    least: float
    most: float
    variance: float = 0

    def __add__(self, other: Band) -> Band:
        """Give the band of a sum."""
        return Band(self.least + other.least, self.most + other.most, self.variance + other.variance)

    def __truediv__(self, number: int) -> Band:
        """Give the band of a part."""
        return Band(self.least / number, self.most / number, self.variance / number**2)

    def lower(self, deviations: float = USUAL) -> float:
        """Give the lower end, with noise; no count is below 0."""
        return max(0, self.least - deviations * math.sqrt(self.variance))

    def upper(self, deviations: float = USUAL) -> float:
        """Give the upper end, with noise."""
        return max(0, self.most + deviations * math.sqrt(self.variance))

    @property
    def middle(self) -> float:
        """The middle of the band; with noise the published number."""
        return max(0, (self.least + self.most) / 2)


ZERO: Final = Band(0, 0)


def rounded(number: int) -> Band:
    """Give the band of a number that was rounded up."""
    return Band(max(number - ROUNDING_STEP + 1, min(number, 1)), number)


def noisy(number: int, epsilon: float) -> Band:
    """Give the band of a number with discrete Laplace noise."""
    share = math.exp(-epsilon)
    return Band(number, number, 2 * share / (1 - share) ** 2)


def total(bands: Iterable[Band]) -> Band:
    """Add bands; nothing is 0."""
    return sum(bands, ZERO)


def narrower(one: Band, other: Band) -> Band:
    """Give what two bands without noise say about one number; the first one where they contradict each other."""
    both = Band(max(one.least, other.least), min(one.most, other.most))
    return both if both.least <= both.most else one
