"""Coarse numbers of what clients do: a scrape a minute must not date one client.

- A gauge is rounded up or down to a multiple of 8 at random, and is never below 8. So 8 or fewer connections always
  look the same, and one connection more changes what is shown with a probability of 1/8.
- A counter grows by whole steps of 8, and lags by up to two of them. By how much is drawn anew with each step, so that
  whoever makes connections of his own cannot tell which one completes a step.

Both are read only when a snapshot is made (metrics.py). bench/attack_metrics.py measures what an attacker still
learns. Pure: randomness is passed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from obfstats.formats.counts import ROUNDING_STEP

if TYPE_CHECKING:
    from collections.abc import Callable

BYTES_STEP: Final = 1 << 30
"""Step of counters of bytes: hours of one person's browsing."""


def coarse(number: int, draw_below: Callable[[int], int]) -> int:
    """Round a number of connections at random to one of the two next multiples of 8; never below 8.

    Args:
        number: the exact number.
        draw_below: returns a random number from 0 to below another one.
    """
    steps = -(-(number - draw_below(ROUNDING_STEP)) // ROUNDING_STEP)
    return ROUNDING_STEP * max(1, steps)


class CoarseCounter:
    """A counter that grows by whole steps.

    Attributes:
        shown: its coarse number.
    """

    def __init__(self, draw_below: Callable[[int], int], step: int = ROUNDING_STEP) -> None:
        """Begin at 0.

        Args:
            draw_below: returns a random number from 0 to below another one.
            step: by what it grows.
        """
        self.shown = 0
        self._draw_below = draw_below
        self._step = step
        self._behind = draw_below(step)

    def update(self, exact: int) -> int:
        """Give the coarse number.

        Args:
            exact: the exact number, which never falls.
        """
        steps = (exact - self._behind - self.shown) // self._step
        if steps > 0:
            self.shown += steps * self._step
            self._behind = self._draw_below(self._step)
        return self.shown
