"""A budget of noise: what all intervals of so many days may reveal together (`--epsilon-total E --days N`).

The noise of one interval promises epsilon; for a client that was there in several intervals the promises add up
(noise.py). With a budget no more than E is spent by the intervals that begin within any N days. Which intervals are
released depends on their starts and on the ledger alone, never on clients. Rounded numbers are no part of it: they
promise nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_TOTAL = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class EpsilonBudget:
    """How much may be spent.

    Attributes:
        epsilon: what each interval spends.
        total: what the intervals that begin within so many days may spend together.
        days: how many.
    """

    epsilon: Fraction
    total: Fraction
    days: int

    def allows(self, start: datetime, spent: Mapping[datetime, Fraction]) -> bool:
        """Tell whether an interval may be released.

        Args:
            start: the interval's.
            spent: the epsilon of each interval that was released with noise, by start.
        """
        window = timedelta(days=self.days)
        near = {one: epsilon for one, epsilon in spent.items() if abs(one - start) < window} | {start: self.epsilon}
        # Of the windows that contain the start, none spends more than all of those that begin with an interval.
        return all(
            sum(epsilon for one, epsilon in near.items() if first <= one and one - first < window) <= self.total
            for first in near
            if first <= start
        )

    def __str__(self) -> str:
        """Say what is refused."""
        return f"with it more than --epsilon-total {float(self.total):g} would be spent in --days {self.days}"


def parse_total(text: str) -> Fraction:
    """Parse the bound of a budget exactly.

    Raises:
        ValueError: if it is not a decimal number above 0, with at most 6 digits before and after the point.
    """
    if _TOTAL.fullmatch(text) and Fraction(text) > 0:
        return Fraction(text)
    raise ValueError("give a decimal number above 0 with at most 6 decimals, such as 15")


def make_budget(epsilon: Fraction | None, total: Fraction | None, days: int | None) -> EpsilonBudget | None:
    """Make the budget that three options name; None without `--epsilon-total` and `--days`.

    Raises:
        ValueError: if options do not go together; its text says which.
    """
    if total is None and days is None:
        return None
    if epsilon is None or total is None or days is None:
        raise ValueError("--epsilon-total E and --days N go together, and with --epsilon")
    if total < epsilon:
        raise ValueError("--epsilon-total is below --epsilon: no interval could be released")
    return EpsilonBudget(epsilon, total, days)
