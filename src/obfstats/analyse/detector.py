"""Our detector of events: drops and rises of users that a country's own past does not explain.

Each series (a country, a transport, or all) has a state that is carried from day to day: its level and
its weekly rhythm on a logarithmic scale, with their covariance, and how much it varies by itself. So a number is
compared with what its whole past lets expect, not with one day of the week before.

- Online: a day's result depends on that day and on earlier ones only. Later days never change it.
- The interval of each number counts: a number with a wide interval, as of a small country, has to change more.
- What most countries have in common on a day is no event of any of them: missing archives, a break of the series. The
  weighted median of their changes moves the level of all. It shows in the series of all countries.
- Evidence is collected over days (CUSUM of log-likelihood ratios, one for drops and one for rises). A single day is
  never enough, so that an outlier is no event.
- After an event the level is free to move: the change is the new normal, there is no echo a week later, and the return
  is an event of its own.

E. S. Page, "Continuous inspection schemes", 1954; M. West and J. Harrison, "Monitoring and adaptation in Bayesian
forecasting models", 1986. OONI's detector is a CUSUM as well, on medians.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from obfstats.analyse.fit import QUANTILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WEEK_DAYS: Final = 7
MAX_GAP_DAYS: Final = 28
_LOG_OF_MAX: Final = 40.0
"""Logarithm of the largest number in a range: more says nothing, and would be too large for an integer."""

_LONG_AGO: Final = -1_000_000
_SUM_IS_ZERO: Final = np.eye(WEEK_DAYS) - 1 / WEEK_DAYS
_SIGNS: Final = np.array([[-1.0], [1.0]])
"""Of the two directions: drops, rises."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the detector assumes. Variances are of logarithms.

    Attributes:
        smallest_change: the change that is looked for, as a difference of logarithms; 0.4 is a drop to 67 %.
        threshold: of the CUSUM.
        day_limit: how much of the threshold a single day can give.
        learning_days: days with a number before a series can have an event.
        range_width: half the width of the expected range, in standard deviations.
        variation: prior of a series' own variance from day to day.
        rhythm: prior of the variance of the weekly rhythm.
        drift: variance of the level's daily step, as a share of the series' own variance.
        rhythm_drift: the same for the weekly rhythm.
        outlier: residuals beyond so many standard deviations move the state no further.
        memory: days over which the series' own variance is averaged.
        common: prior of the variance of what countries have in common.
        min_countries: how many are needed to see it.
    """

    smallest_change: float = 0.4
    threshold: float = 8
    day_limit: float = 7
    learning_days: int = 14
    range_width: float = 3
    variation: float = 0.1**2
    rhythm: float = 0.1**2
    drift: float = 0.05
    rhythm_drift: float = 0.002
    outlier: float = 3
    memory: int = 60
    common: float = 0.1**2
    min_countries: int = 8


DEFAULT: Final = Settings()


class Detection(NamedTuple):
    """What the detector found. Arrays are [day, series].

    Attributes:
        lower: the smallest expected number; NaN where the series has no number or no past.
        upper: the largest expected number.
        drops: whether an event of this direction begins.
        rises: whether an event of this direction begins.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    drops: NDArray[np.bool_]
    rises: NDArray[np.bool_]


def detect_changes(
    users: NDArray[np.float64],
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    groups: Sequence[NDArray[np.intp]],
    settings: Settings = DEFAULT,
) -> Detection:
    """Find drops and rises.

    Args:
        users: [day, series], consecutive days; NaN where there is no number.
        lower: lower end of each number's 90 % interval.
        upper: upper end.
        groups: indexes of series that may change together, for example those of all countries.
        settings: what is assumed.
    """
    days, series = users.shape
    detector = _Detector(series, groups, settings)
    numbers = np.log1p(users)
    # A number's error towards smaller and towards larger numbers.
    below = (numbers - np.log1p(lower)) / QUANTILE
    above = (np.log1p(upper) - numbers) / QUANTILE
    expected = np.full((2, days, series), np.nan)
    events = np.zeros((2, days, series), dtype=bool)
    for day in range(days):
        expected[:, day], events[:, day] = detector.add_day(numbers[day], below[day], above[day])
    expected = np.minimum(expected, _LOG_OF_MAX)
    return Detection(np.maximum(0, np.expm1(expected[0])), np.expm1(expected[1]), events[0], events[1])


class _Detector:
    """What is known of each series, from day to day.

    Attributes:
        day: the number of days so far.
        mean: [series, 8]: the level, then what each day of the week adds to it.
        covariance: [series, 8, 8]: of the error of `mean`; the sum of the days of the week has none.
        variation: [series]: variance from day to day by itself, beside the error of the numbers.
        error: [series]: mean squared error of the numbers. Today's would not do as a weight: it depends on the number.
        count: [series]: days with a number.
        evidence: [direction, series]: the CUSUM.
        last_alarm: [direction, series]: its day.
        last_number: [series]: the last day with a number.
    """

    def __init__(self, series: int, groups: Sequence[NDArray[np.intp]], settings: Settings) -> None:
        self.settings = settings
        self.groups = groups
        self.day = 0
        self.mean = np.zeros((series, 1 + WEEK_DAYS))
        self.covariance = np.zeros((series, 1 + WEEK_DAYS, 1 + WEEK_DAYS))
        self.covariance[:, 1:, 1:] = settings.rhythm * _SUM_IS_ZERO
        self.variation = np.full(series, settings.variation)
        self.error = np.zeros(series)
        self.count = np.zeros(series, dtype=np.int64)
        self.evidence = np.zeros((2, series))
        self.last_alarm = np.full((2, series), _LONG_AGO)
        self.last_number = np.zeros(series, dtype=np.int64)

    def add_day(
        self, numbers: NDArray[np.float64], below: NDArray[np.float64], above: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Compare a day's numbers with what is expected, and learn from them.

        Args:
            numbers: [series], logarithms; NaN where there is none.
            below: their standard errors towards smaller numbers.
            above: towards larger ones.

        Returns:
            The ends of the expected range, [2, series]; which events begin, [direction, series].
        """
        settings = self.settings
        self._move_together(numbers)
        expected = np.full((2, len(numbers)), np.nan)
        events = np.zeros((2, len(numbers)), dtype=bool)
        rows = np.flatnonzero(~np.isnan(numbers))
        # After a gap in the archive a series begins anew: its level of then says nothing of now.
        self.count[rows[self.day - self.last_number[rows] > MAX_GAP_DAYS]] = 0
        self.last_number[rows] = self.day
        new, known = rows[self.count[rows] == 0], rows[self.count[rows] > 0]
        center, spread, events[:, known] = self._observe(known, numbers[known], below[known], above[known])
        expected[:, known] = center + _SIGNS * settings.range_width * spread
        self.mean[new, 0] = numbers[new]
        self.evidence[:, new] = 0
        error = np.maximum(below[rows], above[rows]) ** 2
        self.count[rows] += 1
        rate = 1 / np.minimum(self.count[rows], settings.memory)
        self.error[rows] += rate * (error - self.error[rows])
        self.covariance[new, 0, 0] = self.error[new] + settings.variation + settings.rhythm
        self.covariance[:, 0, 0] += settings.drift * self.variation
        self.covariance[:, 1:, 1:] += settings.rhythm_drift * self.variation[:, None, None] * _SUM_IS_ZERO
        self.day += 1
        return expected, events

    def _move_together(self, numbers: NDArray[np.float64]) -> None:
        """Move the levels by what the series of a group have in common today."""
        weekday = 1 + self.day % WEEK_DAYS
        for group in self.groups:
            rows = group[~np.isnan(numbers[group]) & (self.count[group] >= WEEK_DAYS)]
            if len(rows) < self.settings.min_countries:
                continue
            changes = numbers[rows] - self.mean[rows, 0] - self.mean[rows, weekday]
            weights = 1 / (self.error[rows] + self.variation[rows])
            order = np.argsort(changes)
            cumulated = np.cumsum(weights[order])
            median = changes[order[np.searchsorted(cumulated, cumulated[-1] / 2)]]
            # The wider the intervals, the less the median says.
            self.mean[group, 0] += median * self.settings.common / (self.settings.common + 1 / cumulated[-1])

    def _observe(
        self,
        rows: NDArray[np.intp],
        numbers: NDArray[np.float64],
        below: NDArray[np.float64],
        above: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Compare and learn, for series with a past.

        Returns:
            The expected logarithms, their standard deviations, and which events begin.
        """
        settings = self.settings
        weekday = 1 + self.day % WEEK_DAYS
        covariance = self.covariance[rows]
        variation = self.variation[rows]
        center = self.mean[rows, 0] + self.mean[rows, weekday]
        residual = numbers - center
        # How far a number below the expected one may be off is said by its upper end.
        error = np.where(residual < 0, above, below) ** 2
        gain = covariance[:, :, 0] + covariance[:, :, weekday]
        variance = gain[:, 0] + gain[:, weekday] + error + variation
        spread = np.sqrt(variance)

        change = np.maximum(settings.smallest_change, spread)
        evidence = (_SIGNS * residual * change - change**2 / 2) / variance
        evidence = np.maximum(0, self.evidence[:, rows] + np.minimum(evidence, settings.day_limit))
        alarms = (evidence > settings.threshold) & (self.count[rows] >= settings.learning_days)
        alarm = alarms.any(axis=0)
        self.evidence[:, rows] = np.where(alarm, 0, evidence)
        # More of the same within a week is the same event.
        events = alarms & (self.day - self.last_alarm[:, rows] > WEEK_DAYS)
        self.last_alarm[:, rows] = np.where(alarms, self.day, self.last_alarm[:, rows])

        # After an alarm the level is free: its variance grows by 1, and today's number is believed.
        free = alarm.astype(float)
        gain[:, 0] += free
        covariance[:, 0, 0] += free
        outlier = settings.outlier * spread
        believed = np.where(alarm, residual, np.clip(residual, -outlier, outlier))
        share = gain / (variance + free)[:, None]
        self.mean[rows] += share * believed[:, None]
        self.covariance[rows] = covariance - share[:, :, None] * gain[:, None, :]

        # One step of an EM algorithm for the series' own variance, where nothing is going on.
        own = variation / variance
        learned = variation * (1 - own) + own**2 * believed**2
        rate = 1 / np.minimum(self.count[rows] + 10, settings.memory)
        self.variation[rows] = np.where(alarm, variation, variation + rate * (learned - variation))
        return center, spread, events
