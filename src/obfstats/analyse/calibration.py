"""What cells of one window learn from each other: how strong noise is, and by how much intervals must be widened.

The factor of the intervals comes from hidden reports: on half of the days some reports are taken away, predicted, and
compared with what they said. It is the same for all cells of a window. A model that fits needs none: then it is 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from obfstats.analyse.fit import Noise, Observations, Window, fit_cell, number_chosen, sum_by

if TYPE_CHECKING:
    from obfstats.analyse.fit import Booleans, Fit, Floats, Integers

FIRST_NOISE = Noise(0.05, 10.0)
_TINY = 1e-9
_SHARED_INFORMATION = 2_000.0
"""How much a cell's noise follows that of the others: as about so many reports of large numbers."""

_CHECKED_CELLS = 8
_HIDDEN_SHARE = 0.5
_LEAST_HIDDEN = 3.0
_LEAST_CHECKS = 28
_LEAST_VARIANCE = 0.3
"""Days where hiding made the variance larger by less say little."""

_FACTORS = (1.0, 2.0)
"""It never narrows: bridges that never report cannot be checked, and are often the largest part of an error."""

_LARGEST_SQUARE = 9.0
_MEAN_OF_CUT_SQUARES = 0.995
"""Of a standard normal variable's square, cut at 9."""


@dataclass
class SharedNoise:
    """Noise and clustering of the cells so far, weighted by what each knows of them."""

    cells: list[Noise] = field(default_factory=list)

    def learn(self, fit: Fit) -> None:
        """Add a cell."""
        self.cells.append(fit.noise)

    def prior(self) -> Noise:
        """Give what the cells so far say about the next one."""
        if not self.cells:
            return FIRST_NOISE
        variances, weights, clusterings, clustering_weights = np.array(self.cells).T
        return Noise(
            float(variances @ weights / max(weights.sum(), _TINY)),
            float(np.clip(weights.sum(), FIRST_NOISE.information, _SHARED_INFORMATION)),
            float(clusterings @ clustering_weights / max(clustering_weights.sum(), _TINY)),
            float(np.clip(clustering_weights.sum(), FIRST_NOISE.clustering_information, _SHARED_INFORMATION)),
        )


@dataclass
class Calibration:
    """Hides reports and compares.

    Attributes:
        generator: says which reports.
    """

    generator: np.random.Generator
    _squares: list[Floats] = field(default_factory=list)

    def check(self, window: Window, seen: Observations, kept: Floats, prior: Noise, full: Fit) -> None:
        """Hide some reports, and keep how far off their prediction is.

        Args:
            window: the reports.
            seen: what they say about a cell.
            kept: see fit_cell.
            prior: the same.
            full: the fit to all reports.
        """
        days = window.covered.shape[1]
        is_checked = self.generator.permutation(days) % 2 == 0
        hidden = is_checked[window.day] & (self.generator.random(len(window.day)) < _HIDDEN_SHARE)
        partial, place = hide_reports(window, ~hidden)
        at = place[seen.reports]
        left = at >= 0
        fit = fit_cell(partial, Observations(at[left], seen.numbers[left], seen.uncertainty[left]), kept, prior)
        # The full fit knows the same and more: the variance of the difference is the difference of the variances.
        variance = fit.variances - full.variances
        large = (variance > _LEAST_VARIANCE * full.variances) & (fit.predicted - full.predicted > _LEAST_HIDDEN)
        self._squares.append((fit.totals[large] - full.totals[large]) ** 2 / variance[large])

    def factor(self) -> float:
        """Give the factor; it is that of the mean square, in which no single day decides."""
        squares = np.concatenate(self._squares) if self._squares else np.zeros(0)
        if len(squares) < _LEAST_CHECKS:
            return 1.0
        square = float(np.minimum(squares, _LARGEST_SQUARE).mean()) / _MEAN_OF_CUT_SQUARES
        return float(np.clip(np.sqrt(square), *_FACTORS))


def choose_checked(size: int) -> set[int]:
    """Choose cells of all sizes to check: their places among so many that are sorted by size."""
    return set(np.linspace(0, size - 1, min(_CHECKED_CELLS, size)).astype(int).tolist())


def hide_reports(window: Window, left: Booleans) -> tuple[Window, Integers]:
    """Take reports away; the instances run on.

    Returns:
        The window without them, and the new number of each report, -1 for hidden ones.
    """
    chosen = np.flatnonzero(left)
    place = number_chosen(chosen, len(left))
    instance, day, share = window.instance[chosen], window.day[chosen], window.share[chosen]
    days = window.covered.shape[1]
    index = instance.astype(np.int64) * days + day
    covered = sum_by(index, share, window.covered.size) + sum_by(index - 1, 1 - share, window.covered.size)
    covered = np.minimum(covered.reshape(window.covered.shape), window.covered)
    return Window(instance, day, share, covered, window.missing + window.covered - covered), place
