"""Caps: how much one bridge may add to a number, so that a few forged or broken ones cannot move it.

Sizes are in units of the mean of all instances in the same cell (the total, a country, a transport).

    trust of an instance   4 means; more where its past shows more, at most 10 % more every fortnight
    cap of a report        max(64, 4 times its own 14-day median), and at most twice its trust
                           its trust, where the median is above that (such a size is not proven yet), and where there is
                           no median because it is new
    cap of a window        an instance whose rate in 28 days is above its trust counts with its trust

64 is for the total. In a country or transport the least cap is 4 means, rounded up to 8: there, 64 from each of ten
forgers could be more than everything else.

The first fortnight of an archive is taken as it is: sizes that are there from the start are proven, and 1.5 times as
much. What all instances have in common, such as a country's rise, is in the mean, and no cap acts on it. Ten forgers
among 1,000 instances who come later add at most 4 % at first, and 10 % after some 19 weeks. A jump adds up to twice as
much until the median follows.

A new and honest large bridge is cut, too. What caps take off is reported beside every number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from obfstats.analyse.bins import BIN_SIZE
from obfstats.analyse.fit import sum_by

if TYPE_CHECKING:
    from obfstats.analyse.fit import Booleans, Floats, Integers

FREE_TOTAL = 64
MEDIAN_DAYS = 14
_MEDIAN_FACTOR = 4
_LEAST_HISTORY = 3
"""A median of fewer reports than this proves nothing."""

UNPROVEN_SIZE = 4.0
_JUMP = 2.0
_GROWTH = 1.1
_HEADROOM = 1.5
_ANY_SIZE = 1e9

LEAST_EXPOSURE = 14.0
"""Rates are those of at least so many days, so that a lucky first day is no large size."""

_MEAN_ROUNDS = 12
_HALF = BIN_SIZE / 2


def guess_rates(numbers: Floats, count: Floats | Integers, reports: Floats) -> Floats:
    """Guess what was there each day from rounded numbers, by instance.

    Where an instance's reports are seldom above 0, an 8 was about 1; where they never are 0, about 4. The share
    of its reports above 0 gives the mean of what an 8 was, by Poisson's distribution.

    Args:
        numbers: sum of the published numbers.
        count: of those above 0.
        reports: of all, those of 0 included.
    """
    share = np.minimum(count / (reports + 0.5), 0.999)
    first = np.where(share > 0, -np.log1p(-share) / np.maximum(share, 1e-9), 0.0)
    return np.asarray((numbers - count * (BIN_SIZE - np.minimum(first, _HALF))) / np.maximum(reports, 1e-9))


def capped_mean(rates: Floats, trust: Floats) -> float:
    """Give the mean of what instances may count with, in which each counts with at most its trust times this mean."""
    if not len(rates):
        return 0.0
    mean = float(rates.mean())
    for _ in range(_MEAN_ROUNDS):
        mean = float(np.minimum(rates, trust * mean).mean())
    return mean


def grow_trust(rates: Floats, reports: Floats) -> Floats:
    """Give the trust of instances in one cell from their past.

    Args:
        rates: (instance, block) of each block of BLOCK_DAYS days (panel.py) since the archive began.
        reports: (instance, block) number of reports.

    Returns:
        (instance, block) the trust at the beginning of each block, as a multiple of the mean; in the first block, what
        it shows itself.
    """
    instances, blocks = rates.shape
    trust = np.full((instances, blocks + 1), UNPROVEN_SIZE)
    for block in range(blocks):
        there = reports[:, block] > 0
        shown = rates[there, block]
        mean = capped_mean(shown, trust[there, block] if block else np.full(len(shown), _ANY_SIZE))
        trust[:, block + 1] = trust[:, block]
        if mean > 0:
            shown = _HEADROOM * (shown + _HALF / reports[there, block]) / mean
            limit = shown if block == 0 else _GROWTH * trust[there, block]
            trust[there, block + 1] = np.maximum(trust[there, block], np.minimum(shown, limit))
    trust[:, 0] = trust[:, min(1, blocks)]
    return trust


@dataclass(frozen=True)
class Reports:
    """When instances reported: what caps compare a report with.

    Attributes:
        instance: of each report.
        day: of each report.
        days: number of days.
        start: first day of the archive, which may be before day 0.
    """

    instance: Integers
    day: Integers
    days: int
    start: int

    def medians(self, reports: Integers, numbers: Integers, wanted: Integers) -> Floats:
        """Give the median of what the same instance reported in the fortnight before each of some reports, or NaN.

        Args:
            reports: reports whose number in this cell is not 0.
            numbers: these.
            wanted: the reports in question.
        """
        instances, row = np.unique(self.instance[wanted], return_inverse=True)
        of_row = np.full(int(self.instance.max(initial=0)) + 1, -1)
        of_row[instances] = np.arange(len(instances))
        series = np.full((len(instances), self.days), np.nan)
        rows = of_row[self.instance]
        known = rows >= 0
        series[rows[known], self.day[known]] = 0
        rows = of_row[self.instance[reports]]
        known = rows >= 0
        series[rows[known], self.day[reports[known]]] = numbers[known]
        # In the archive's first fortnight, that fortnight is the past.
        first = np.maximum(self.day[wanted] - MEDIAN_DAYS, max(self.start, 0))
        first = np.minimum(first, max(self.days - MEDIAN_DAYS, 0))
        column = first[:, None] + np.arange(min(MEDIAN_DAYS, self.days))
        past = series[row[:, None], column]
        in_past = (column < self.day[wanted, None]) | (column < self.start + MEDIAN_DAYS)
        past = np.sort(np.where(in_past, past, np.nan), axis=1)
        count = (~np.isnan(past)).sum(axis=1)
        at = np.arange(len(past))
        median = (past[at, np.maximum(count - 1, 0) // 2] + past[at, np.minimum(count // 2, past.shape[1] - 1)]) / 2
        return np.where(count >= _LEAST_HISTORY, median, np.nan)


@dataclass(frozen=True)
class Capped:
    """One cell after its caps.

    Attributes:
        numbers: of its observations, multiples of 8.
        kept: (instance) the share that the cap of a window leaves.
        is_capped: whether an observation's number was cut.
    """

    numbers: Integers
    kept: Floats
    is_capped: Booleans


def cap_cell(
    history: Reports,
    reports: Integers,
    numbers: Integers,
    *,
    in_window: Booleans,
    exposure: Floats,
    trust: Floats,
    free: int | None,
) -> Capped:
    """Cap one cell in one window.

    Args:
        history: reports of the window and of the fortnight before it.
        reports: those that are not 0 in this cell.
        numbers: what they say.
        in_window: which of these belong to the window.
        exposure: (instance) days of the window that reports cover.
        trust: (instance) as a multiple of the mean.
        free: what any report may say; None for 4 means.

    Returns:
        The cell, its numbers those of the window alone.
    """
    chosen = np.flatnonzero(in_window)
    seen, before = reports[chosen], numbers[chosen]
    instance = history.instance[seen]
    there = np.flatnonzero(exposure > 0)
    span = np.maximum(exposure, LEAST_EXPOSURE)

    def rates_of(values: Integers) -> Floats:
        sums = sum_by(instance, values.astype(np.float64), len(exposure))
        return guess_rates(sums, np.bincount(instance, minlength=len(exposure)), span)

    mean = capped_mean(rates_of(before)[there], trust[there])
    least = _ceil(np.array(UNPROVEN_SIZE * mean + _HALF)) if free is None else free
    after = before.copy()
    large = np.flatnonzero(before > least)
    if len(large):
        median = history.medians(reports, numbers, seen[large])
        proven = trust[instance[large]] * mean
        limit = np.minimum(_MEDIAN_FACTOR * median, _JUMP * proven)
        limit = np.where(median - _HALF <= proven, limit, proven + _HALF)
        after[large] = np.minimum(before[large], _ceil(np.maximum(limit, least)))
    rates = rates_of(after)
    allowed = trust * mean
    kept = np.where(rates > allowed, allowed / np.maximum(rates, 1e-9), 1.0)
    return Capped(after, kept, after < before)


def _ceil(values: Floats) -> Integers:
    """Round up to a multiple of 8, at least 8."""
    return np.maximum(np.ceil(values / BIN_SIZE), 1).astype(np.int64) * BIN_SIZE
