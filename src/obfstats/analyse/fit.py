"""The model of one cell (the total, a country, a transport): what instances had, given what they reported.

    x(report) has the mean (rate of its instance * level of its days * noise), and Poisson's variance or more
    seen: the bin of x (bins.py), or an unbiased value with a variance, or no report at all

The rate is an instance's size in this cell; the level is what all instances have in common on a day, 1 on average.
Rates have a gamma prior over the instances and levels a normal one over the days. Both priors and the strength of the
noise are learned from the same reports.

Expectation maximisation: the E step takes E[x | bin] under the current rates and levels, the M step takes rates and
levels from these expectations. 24 hours overlap two UTC days: a report's expectation is divided between them by (its
share of the day * level of the day), so a report does not smear a sudden change over two days.

The number of a day is the sum of these expectations, and rate * level for the share of the day in which an instance
ran without a report. Its variance has five parts: the bins, the division between two days, what the missing reports
would have been, the error of the levels and that of the rates. The error of the levels follows from the observed
information (Louis 1982): the information of exact daily numbers less the part that bins and division hide.

Instances that are not `trusted` (caps.py) add to the total what their cap leaves, and are not learned from.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from obfstats.analyse.bins import BIN_SIZE, bin_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.integer]
    Booleans = NDArray[np.bool_]

_ROUNDS = 8

_MAX_STRIDE = 3.0
"""EM is slow where bins hide most; its steps for rates are made longer by what is hidden, at most so many times."""

_MAX_STEP = 4.0
_DRAWS = 256
_TINY = 1e-9
_MIDDLE = (BIN_SIZE - 1) / 2
_MAX_NOISE = 2.0
_MAX_CLUSTERING = 25.0
_FIRST_LEVEL_VARIANCE = 0.1
_MIN_LEVEL_VARIANCE = 1e-5
_MIN_LEVEL = 1e-3
_NOISE_ROUNDS = (2, 3, 5, 7)
_LEAST_KNOWN = 0.02
"""Share of the levels' information that is assumed to be left, however much is hidden."""


QUANTILE = 1.6448536269514722
"""Of the standard normal distribution, 0.95: between minus and plus this are 90 %."""


class Noise(NamedTuple):
    """What is known about how reports scatter: variance = (1 + clustering) mean + noise mean^2.

    Attributes:
        variance: of the noise, a factor.
        information: 1 / variance of that.
        clustering: variance to mean where noise does not matter, less 1.
        clustering_information: 1 / variance of that.
    """

    variance: float
    information: float
    clustering: float = 0.0
    clustering_information: float = 10.0


@dataclass(frozen=True)
class Window:
    """The reports of consecutive UTC days, the same for all cells.

    Attributes:
        instance: of each report, the number of its instance.
        day: of each report, the number of the day in which it ends, at least 1.
        share: of each report, the share of its 24 hours that lies in that day; the rest lies in the day before.
        covered: (instance, day) the share of the day that reports cover.
        missing: (instance, day) the share of the day in which the instance ran without a report.
    """

    instance: Integers
    day: Integers
    share: Floats
    covered: Floats
    missing: Floats

    @cached_property
    def report_noise(self) -> float:
        """Variance of a report's noise to that of a day's: a report averages over parts of two days."""
        return float(np.mean(self.share**2 + (1 - self.share) ** 2)) if len(self.share) else 1.0


class Observations(NamedTuple):
    """What the reports say about one cell. Reports that are not named say 0.

    Attributes:
        reports: their numbers in the window.
        numbers: what they say: a multiple of 8, or an unbiased value.
        uncertainty: variances of the unbiased values, 0 where the number is a bin.
    """

    reports: Integers
    numbers: Floats
    uncertainty: Floats


@dataclass(frozen=True)
class Fit:
    """What the model says of one cell.

    Attributes:
        totals: (day) the expected exact number of all instances.
        variances: (day) of its error.
        predicted: (day) the part of `totals` that no report covers.
        capped: (day) what the caps of rates took off.
        noise: of reports, from this cell alone.
        means: of each observation, the expected exact number.
        spreads: of each observation, its variance.
    """

    totals: Floats
    variances: Floats
    predicted: Floats
    capped: Floats
    noise: Noise
    means: Floats
    spreads: Floats


def fit_cell(window: Window, seen: Observations, kept: Floats, prior: Noise) -> Fit:
    """Fit the model to one cell.

    Args:
        window: the reports.
        seen: what they say.
        kept: (instance) the share of its number that an instance's cap leaves; 1 for trusted ones.
        prior: what is known about the noise from elsewhere.
    """
    model = _Model(window, seen, kept, prior)
    for number in range(_ROUNDS):
        model.expect()
        model.fit_rates()
        model.fit_levels()
        if number in _NOISE_ROUNDS:
            model.fit_noise()
    return model.sum_up()


class _Model:
    """Rates, levels, priors and noise of one cell while they are fitted."""

    def __init__(self, window: Window, seen: Observations, kept: Floats, prior: Noise) -> None:
        self.window = window
        self.seen = seen
        self.kept = kept
        self.prior = prior
        self.found = prior
        self.noise = prior.variance
        self.clustering = prior.clustering
        self.instances, self.days = window.covered.shape
        self.instance = window.instance[seen.reports]
        self.day = window.day[seen.reports]
        self.share = window.share[seen.reports]
        self.trusted = kept >= 1
        # Noise is learned from trusted instances that ever say more than 0.
        informative = self.trusted & (np.bincount(self.instance, minlength=self.instances) > 0)
        self.informative = np.flatnonzero(informative[window.instance])
        places = np.zeros(len(window.instance), dtype=np.intp)
        places[self.informative] = np.arange(len(self.informative))
        self.is_informative = informative[self.instance]
        self.place = places[seen.reports[self.is_informative]]
        exposure = window.covered.sum(axis=1)
        self.known = exposure > 0
        self.values = np.flatnonzero(seen.uncertainty > 0)
        self.bins = np.flatnonzero(seen.uncertainty <= 0)
        # A first guess must not be biased, because steps are short where much is hidden: an instance's own mean, as far
        # as it is certain, and that of all of them.
        guess = np.where(seen.uncertainty > 0, seen.numbers, seen.numbers - _MIDDLE)
        sums = self.by_instance(guess)
        mean = max(sums[self.known].sum() / max(exposure[self.known].sum(), _TINY), _TINY)
        error = self.by_instance(seen.uncertainty) + mean * exposure
        own = sums / np.maximum(exposure, _TINY)
        trust = mean**2 * exposure**2 / (mean**2 * exposure**2 + error + _TINY)
        self.rates = np.maximum(mean + trust * (own - mean), mean / 10)
        self.rate_variances = np.zeros(self.instances)
        self.levels = np.ones(self.days)
        self.level_variance = _FIRST_LEVEL_VARIANCE

    def by_instance(self, values: Floats) -> Floats:
        return sum_by(self.instance, values, self.instances)

    def by_day(self, before: Floats, after: Floats) -> Floats:
        """Sum what belongs to the day before the one in which a report ends, and what belongs to that day."""
        return sum_by(self.day, after, self.days) + sum_by(self.day - 1, before, self.days)

    def expect(self) -> None:
        """E step: mean and variance of the exact number of each observation, and how it divides into two days.

        `follows` is how far a mean follows what was expected: its derivative by the logarithm of the expectation, which
        is the variance for Poisson's distribution.
        """
        after = self.share * self.levels[self.day]
        level = after + (1 - self.share) * self.levels[self.day - 1]
        self.expected = np.maximum(self.rates[self.instance] * level, _TINY)
        self.split = after / level
        if not len(self.values):
            self.mean, self.variance = bin_table(self.noise, self.clustering).look_up(self.seen.numbers, self.expected)
            self.follows = np.minimum(self.variance, self.mean)
            return
        self.mean, self.variance = np.empty((2, len(self.expected)))
        table = bin_table(self.noise, self.clustering)
        self.mean[self.bins], self.variance[self.bins] = table.look_up(
            self.seen.numbers[self.bins], self.expected[self.bins]
        )
        # An unbiased value and what was expected, weighted by their variances. All instances have the same weight:
        # if it followed their own rates, values that are too large would count for more than those that are too small.
        expected, uncertainty = self.expected[self.values], self.seen.uncertainty[self.values]
        before = expected * (1 + self.clustering + self.noise * expected)
        gain = before.mean() / (before.mean() + uncertainty)
        self.mean[self.values] = expected + gain * (self.seen.numbers[self.values] - expected)
        self.variance[self.values] = (1 - gain) ** 2 * before + gain**2 * uncertainty
        self.follows = np.minimum(self.variance, self.mean)
        self.follows[self.values] = (1 - gain) * expected

    def fit_rates(self) -> None:
        """M step for rates, and for their gamma prior by its moments."""
        # Capped instances belong to the distribution of sizes, with what their caps leave.
        rates = (self.rates * self.kept)[self.known]
        center = float(rates.mean()) if len(rates) else _TINY
        dispersion = float(rates.var() + self.rate_variances[self.known].mean()) if len(rates) else 1.0
        scale = center / max(dispersion, _TINY)
        self.shape = center * scale
        self.sums = self.by_instance(self.mean)
        # Of clustered numbers, each counts for less.
        unit = 1 / (1 + self.clustering)
        complete = np.maximum(self.shape + unit * self.sums, _TINY)
        exposure = scale + unit * (self.window.covered @ self.levels)
        seen = np.maximum(1 - unit * self.by_instance(self.follows) / complete, 1 / _MAX_STRIDE)
        step = np.clip((complete / exposure / self.rates) ** (1 / seen), 1 / _MAX_STEP, _MAX_STEP)
        self.rates = np.maximum(self.rates * step, _TINY)
        self.rate_variances = self.rates / exposure / seen

    def fit_levels(self) -> None:
        """M step for levels. An instance whose noise is larger than Poisson's weighs less."""
        self.weights = self.trusted / (1 + self.clustering + self.noise * self.rates)
        weight = self.weights[self.instance] * self.mean
        # The variance of a weighted sum is this as well: a weight is mean / variance of its instance.
        expected = np.maximum((self.weights * self.rates) @ self.window.covered, _TINY)
        found = self.by_day(weight * (1 - self.split), weight * self.split) / expected
        shrink = 1 / (1 + 1 / (expected * self.level_variance))
        levels = np.maximum(1 + (found - 1) * shrink, _MIN_LEVEL)
        scale = float(levels @ expected / expected.sum())
        self.levels = levels / scale
        self.rates = self.rates * scale
        squares = (self.levels - 1) ** 2 + (1 - shrink) * self.level_variance
        self.level_variance = max(float(squares @ expected / expected.sum()), _MIN_LEVEL_VARIANCE)

    def fit_noise(self) -> None:
        """Weighted least squares of (x - mean)^2 - mean on mean and mean^2, combined with what was known before."""
        share, day = self.window.share[self.informative], self.window.day[self.informative]
        mean = self.rates[self.window.instance[self.informative]]
        mean *= share * self.levels[day] + (1 - share) * self.levels[day - 1]
        square = mean * mean
        excess = square - mean
        of_seen, seen = mean[self.place], self.is_informative
        # Of a value, its own square less its uncertainty; of a bin, what is expected of the square.
        uncertainty = self.seen.uncertainty[seen]
        bins = (self.mean[seen] - of_seen) ** 2 + self.variance[seen]
        values = (self.seen.numbers[seen] - of_seen) ** 2 - uncertainty
        excess[self.place] += np.where(uncertainty > 0, values, bins) - of_seen**2
        spread = mean * (1 + self.clustering) + self.noise * square
        spread[self.place] += uncertainty
        weight = square / (2 * spread * spread + mean + _TINY)
        excess /= np.maximum(mean, _TINY)
        # Not BLAS, and so no dot product: its threads cost more than they save here.
        first, both, second = weight.sum(), np.einsum("i,i", weight, mean), np.einsum("i,i", weight, square)
        of_first, of_second = np.einsum("i,i", weight, excess), np.einsum("i,i,i", weight, excess, mean)
        prior = self.prior
        matrix = np.array([[first + prior.clustering_information, both], [both, second + prior.information]])
        right = np.array(
            [
                of_first + prior.clustering_information * prior.clustering,
                of_second + prior.information * prior.variance,
            ]
        )
        clustering, noise = np.linalg.solve(matrix, right)
        if clustering < 0:
            clustering, noise = 0.0, right[1] / matrix[1, 1]
        elif noise < 0:
            clustering, noise = right[0] / matrix[0, 0], 0.0
        self.clustering = min(max(float(clustering), 0.0), _MAX_CLUSTERING)
        self.noise = min(max(float(noise), 0.0), _MAX_NOISE)
        # What this cell knows itself, of each while the other is unknown.
        self.found = Noise(
            self.noise,
            float(second - both * both / (first + prior.clustering_information)),
            self.clustering,
            float(first - both * both / (second + prior.information)),
        )

    def sum_up(self) -> Fit:
        """Sum up the days and their variances."""
        window, split, variance = self.window, self.split, self.variance
        kept = self.kept[self.instance]
        mean = self.mean * kept
        reported = self.by_day(mean * (1 - split), mean * split)
        uncapped = self.by_day(self.mean * (1 - split), self.mean * split)
        cells = window.missing * (self.rates[:, None] * self.levels)
        uncapped += cells.sum(axis=0)
        cells *= self.kept[:, None]
        predicted = cells.sum(axis=0)
        day_noise = self.noise / window.report_noise
        squares = kept**2
        clustered = 1 + self.clustering
        division = self.mean * split * (1 - split)
        # Noise moves requests from one day of a report to the other; the reports beside it tell of the same days.
        divided = clustered * division + 3 * day_noise * division**2
        first, second, both = (1 - split) ** 2 * variance, split**2 * variance, split * (1 - split) * variance
        variances = self.by_day(squares * (first + divided), squares * (second + divided))
        variances += clustered * predicted + day_noise * (cells**2).sum(axis=0)
        # Levels.
        weight = self.weights[self.instance] ** 2
        exact = ((self.weights * self.rates) @ window.covered) * self.levels
        known = np.diag(exact * (1 + _LEAST_KNOWN) + _TINY + self.levels**2 / self.level_variance)
        shifted = clustered * division + 2 * day_noise * division**2
        known -= self._matrix(weight * (first + divided), weight * (second + divided), weight * (both - shifted))
        follows = self.follows
        first, second, both = (1 - split) ** 2 * follows, split**2 * follows, split * (1 - split) * follows
        sensitivity = np.diag(predicted)
        sensitivity += self._matrix(kept * (first + division), kept * (second + division), kept * (both - division))
        variances += np.maximum((sensitivity * np.linalg.solve(known, sensitivity.T).T).sum(axis=1), 0)
        # Rates: what depends on them are the predictions, and the expectations within bins.
        complete = np.maximum(self.shape + self.sums / clustered, _TINY)
        seen = np.maximum(complete - self.by_instance(follows) / clustered, complete / 10)
        noise = self.noise * self.rates**2 * (window.covered @ self.levels**2) / clustered**2
        error = (seen + noise) / seen**2
        silent = np.flatnonzero(window.covered.sum(axis=1) <= 0)
        error[silent] = 0.0
        variances += self._spread_of(cells[silent] / np.maximum(self.rates[silent, None], _TINY))
        flat = cells.ravel()
        index = self.instance * self.days + self.day
        flat += sum_by(index, kept * split * follows, flat.size)
        flat += sum_by(index - 1, kept * (1 - split) * follows, flat.size)
        variances += error @ cells**2
        return Fit(
            totals=reported + predicted,
            variances=np.maximum(variances, 0),
            predicted=predicted,
            capped=uncapped - reported - predicted,
            noise=self.found,
            means=self.mean,
            spreads=variance,
        )

    def _spread_of(self, exposure: Floats) -> Floats:
        """Give the variance of what instances had that never reported, by day.

        They are as large as instances drawn from those that report. With a heavy tail of sizes, the variance of such
        draws would give intervals that are too wide for most archives, so their 5 % and 95 % quantiles count.
        """
        sizes = (self.rates * self.kept)[self.known]
        if not len(exposure) or not len(sizes):
            return np.zeros(self.days)
        drawn = np.random.default_rng(0).integers(len(sizes), size=(_DRAWS, len(exposure)))
        # All days at once: who is silent is so on all of them.
        each = exposure.mean(axis=1)
        low, high = np.quantile((sizes[drawn] * each).sum(axis=1), (0.05, 0.95))
        spread = (high - low) / (2 * QUANTILE) * exposure.sum(axis=0) / max(each.sum(), _TINY)
        own = (exposure**2).sum(axis=0) * self.rate_variances[self.known].mean()
        return np.asarray(spread**2 + own)

    def _matrix(self, before: Floats, after: Floats, between: Floats) -> Floats:
        """Sum values into a (day, day) matrix: of each of a report's two days, and of both together."""
        matrix: Floats = np.diag(self.by_day(before, after))
        neighbours = sum_by(self.day, between, self.days)[1:]
        matrix += np.diag(neighbours, 1) + np.diag(neighbours, -1)
        return matrix


def sum_by(index: Integers, values: Floats, size: int) -> Floats:
    """Sum values that have the same index, for each index below `size`."""
    return np.bincount(index, weights=values, minlength=size).astype(np.float64, copy=False)


def number_chosen(chosen: Integers, size: int) -> Integers:
    """Give each of `size` reports its number among the chosen ones, or -1."""
    numbers = np.full(size, -1)
    numbers[chosen] = np.arange(len(chosen))
    return numbers


def find_interval(mean: Floats, variance: Floats, factor: float = 1.0) -> tuple[Floats, Floats]:
    """Give a 90 % interval of numbers that are not negative: quantiles of a gamma distribution (Wilson, Hilferty 1931).

    Args:
        mean: of the numbers.
        variance: of their errors.
        factor: of the interval's width.
    """
    mean = np.maximum(mean, 0)
    unit = variance / np.maximum(9 * mean**2, 1e-12)
    width = QUANTILE * factor * np.sqrt(unit)
    lower = mean * np.maximum(1 - unit - width, 0) ** 3
    upper = mean * np.maximum(1 - unit + width, 0) ** 3
    return np.minimum(lower, mean), np.maximum(upper, mean)
