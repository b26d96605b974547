"""What a rounded number says about the exact one: mean and variance of x, given its bin and the mean that was expected.

tor rounds every number up to the next multiple of 8 (dir-spec, dirreq-v3-reqs): 0 means exactly 0, 8 means 1 to 8, 16
means 9 to 16. Where a bridge has one or two clients of a country, which of the eight numbers it was depends on how many
were expected: 8 where 0.1 were expected is nearly always a 1.

    x ~ negative binomial of mean (mean * noise) and variance (1 + clustering) times that; Poisson without clustering
    noise ~ lognormal with mean 1: a bridge's own ups and downs from day to day
    published: the bin (number - 8, number] that holds x

Clustering is that one client makes several requests a day: where clients are few, there are more zeros and more large
numbers than Poisson's distribution has.

Mean and variance of x come from a table over bin and mean, so that a fit looks up a million of them in a fraction of a
second. Above LAST_BIN the distribution is nearly flat within a bin: uniform, tilted by its slope.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BIN_SIZE = 8

LAST_BIN = 16
"""Bins up to 128 are in the table."""

UNIFORM_VARIANCE = (BIN_SIZE**2 - 1) / 12
"""Variance of a number that is one of eight with equal probability."""

_QUADRATURE_POINTS = 31
_LOWEST, _HIGHEST, _STEP = np.log(1e-5), np.log(2e3), 0.125
"""The table's logarithms of means."""

_NOISE_STEP, _CLUSTERING_STEP = 0.04, 0.1
"""Noise and clustering are tabulated in steps of these in their square roots."""


class BinTable(NamedTuple):
    """Moments of x for one strength of noise and clustering.

    Attributes:
        noise: variance of the noise.
        clustering: variance of x to its mean, less 1, without noise.
        means: E[x | bin, mean]; a row for each bin, a column for each logarithm of a mean.
        variances: Var[x | bin, mean].
    """

    noise: float
    clustering: float
    means: Floats
    variances: Floats

    def look_up(self, numbers: Floats, expected: Floats) -> tuple[Floats, Floats]:
        """Give mean and variance of the exact numbers.

        Args:
            numbers: published numbers above 0, multiples of 8.
            expected: the means under which they arose, above 0; of the same shape.
        """
        bins = (numbers * (1 / BIN_SIZE)).astype(np.intp)
        position = (np.log(expected) - _LOWEST) * (1 / _STEP)
        np.clip(position, 0, self.means.shape[1] - 1.001, out=position)
        column = position.astype(np.intp)
        position -= column
        offset = np.minimum(bins, LAST_BIN) * self.means.shape[1] + column
        means = self.means.ravel()
        mean = means[offset]
        mean += (means[offset + 1] - mean) * position
        variances = self.variances.ravel()
        variance = variances[offset]
        variance += (variances[offset + 1] - variance) * position
        large = np.flatnonzero(bins > LAST_BIN)
        if len(large):
            middle = numbers[large] - (BIN_SIZE - 1) / 2
            spread = expected[large] * (1 + self.clustering + self.noise * expected[large])
            tilt = np.clip(UNIFORM_VARIANCE * (expected[large] - middle) / spread, -3, 3)
            mean[large] = middle + tilt
            variance[large] = UNIFORM_VARIANCE
        return mean, variance


def bin_table(noise: float, clustering: float = 0.0) -> BinTable:
    """Give the table for about this noise (variance of the factor, not of its logarithm) and clustering."""
    return _make_table(round(noise**0.5 / _NOISE_STEP), round(clustering**0.5 / _CLUSTERING_STEP))


@lru_cache(maxsize=512)
def _make_table(noise_steps: int, clustering_steps: int) -> BinTable:
    noise, clustering = (noise_steps * _NOISE_STEP) ** 2, (clustering_steps * _CLUSTERING_STEP) ** 2
    logarithms = np.arange(_LOWEST, _HIGHEST + _STEP, _STEP)
    points, weights = np.polynomial.hermite_e.hermegauss(_QUADRATURE_POINTS)
    sigma = np.sqrt(np.log1p(noise))
    # (mean, point): the mean under one value of the noise.
    shifted = np.exp(logarithms[:, None] + sigma * points - sigma**2 / 2)
    exact = np.arange(LAST_BIN * BIN_SIZE)
    # (mean, point, x - 1): logarithm of the probability, up to what all of a mean have in common. As a product over the
    # numbers below x it needs no gamma function and turns into Poisson's where clustering is 0.
    factors = np.log(shifted[:, :, None] + clustering * exact)
    factors -= np.log1p(clustering) + np.log(exact + 1)
    likelihood = np.cumsum(factors, axis=2)
    likelihood -= (shifted * (np.log1p(clustering) / clustering if clustering else 1.0))[:, :, None]
    likelihood += np.log(weights / weights.sum())[:, None]
    means = np.zeros((LAST_BIN + 1, len(logarithms)))
    variances = np.zeros_like(means)
    for number in range(1, LAST_BIN + 1):
        inside = slice((number - 1) * BIN_SIZE, number * BIN_SIZE)
        part = likelihood[:, :, inside]
        probability = np.exp(part - part.max(axis=(1, 2), keepdims=True)).sum(axis=1)
        probability /= probability.sum(axis=1, keepdims=True)
        means[number] = probability @ (exact[inside] + 1)
        variances[number] = probability @ (exact[inside] + 1) ** 2 - means[number] ** 2
    return BinTable(noise, clustering, means, variances)
