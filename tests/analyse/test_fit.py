"""The model of one cell, on drawn numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.analyse.calibration import FIRST_NOISE, Calibration, SharedNoise
from obfstats.analyse.fit import Noise, Observations, Window, find_interval, fit_cell
from obfstats.analyse.simulate import round_up

if TYPE_CHECKING:
    from obfstats.analyse.fit import Fit, Floats, Integers

DAYS = 29


def draw_window(generator: np.random.Generator, instances: int, reporting: float = 1.0) -> Window:
    """Draw who reported: each instance's reports end at a second of its own."""
    share = generator.random(instances)
    instance, day = np.nonzero(generator.random((instances, DAYS)) < reporting)
    day, instance = day[day > 0], instance[day > 0]
    covered = np.zeros((instances, DAYS))
    np.add.at(covered, (instance, day), share[instance])
    np.add.at(covered, (instance, day - 1), 1 - share[instance])
    return Window(instance, day, share[instance], covered, 1 - covered)


def fit_numbers(window: Window, exact: Integers, prior: Noise = FIRST_NOISE) -> Fit:
    """Round up what the reports have, and fit."""
    numbers = round_up(exact).astype(np.float64)
    reports = np.flatnonzero(numbers)
    seen = Observations(reports, numbers[reports], np.zeros(len(reports)))
    return fit_cell(window, seen, np.ones(len(window.covered)), prior)


def sum_reported(fit: Fit) -> float:
    """Sum up what the reports have, without what was predicted."""
    return float((fit.totals - fit.predicted).sum())


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_the_noise_is_learned(noise: float) -> None:
    """Its variance follows from reports with large numbers."""
    generator = np.random.default_rng(1)
    window = draw_window(generator, 150)
    factor = generator.gamma(1 / noise, noise, len(window.day)) if noise else 1.0
    fit = fit_numbers(window, generator.poisson(generator.gamma(2, 30, 150)[window.instance] * factor))
    assert fit.noise.variance == pytest.approx(noise, abs=0.02 + 0.1 * noise)
    assert fit.noise.clustering < 0.6


def test_clustering_is_learned_and_used() -> None:
    """One client makes several requests a day; in a small country that is no reason to take an 8 for a 1."""
    generator = np.random.default_rng(2)
    window = draw_window(generator, 400)

    def draw(mean: float) -> Integers:
        rates = generator.gamma(1, mean, 400)[window.instance]
        return generator.poisson(generator.gamma(np.maximum(rates / 4, 1e-9), 4))

    large = fit_numbers(window, draw(60))
    assert large.noise.clustering == pytest.approx(4, abs=1)
    small = draw(0.5)
    shared = SharedNoise()
    shared.learn(large)
    with_it = sum_reported(fit_numbers(window, small, shared.prior()))
    without = sum_reported(fit_numbers(window, small, Noise(0.0, 1e9, 0.0, 1e9)))
    assert with_it == pytest.approx(small.sum(), rel=0.1)
    assert without < 0.75 * small.sum()


def test_values_with_variances_are_averaged() -> None:
    """Numbers with large noise, as of documents, give the right sum; a quarter of them is below 0."""
    generator = np.random.default_rng(3)
    window = draw_window(generator, 200)
    exact = generator.poisson(generator.gamma(1, 3, 200)[window.instance])
    values = exact + generator.normal(0, 5, len(exact))
    seen = Observations(np.arange(len(exact)), values, np.full(len(exact), 25.0))
    fit = fit_cell(window, seen, np.ones(200), FIRST_NOISE)
    assert sum_reported(fit) == pytest.approx(exact.sum(), rel=0.03)


def test_an_instance_that_is_not_trusted_teaches_nothing() -> None:
    """A forger's jump changes neither the levels nor the noise of the others, and adds what its cap leaves."""
    generator = np.random.default_rng(4)
    window = draw_window(generator, 100)
    exact = generator.poisson(generator.gamma(2, 15, 100)[window.instance])
    forged = np.where((window.instance == 0) & (window.day > 20), 80_000, exact)
    numbers = round_up(forged).astype(np.float64)
    reports = np.flatnonzero(numbers)
    kept = np.ones(100)
    kept[0] = 0.001
    fit = fit_cell(window, Observations(reports, numbers[reports], np.zeros(len(reports))), kept, FIRST_NOISE)
    assert fit.noise.variance < 0.02
    assert fit.totals[1:-1] == pytest.approx(fit_numbers(window, exact).totals[1:-1], rel=0.1)
    assert fit.capped[25] == pytest.approx(80_000, rel=0.1)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), instances=st.integers(1, 8), reporting=st.sampled_from([0.05, 0.3, 1.0]))
def test_no_archive_is_too_odd(seed: int, instances: int, reporting: float) -> None:
    """However few and wild the numbers are, estimates stay within what was reported, times what is missing."""
    generator = np.random.default_rng(seed)
    window = draw_window(generator, instances, reporting)
    size = len(window.day)
    numbers = np.ceil(generator.pareto(0.5, size)).clip(0, 1e6) * 8
    uncertainty = np.where(generator.random(size) < 0.5, 0.0, numbers * generator.random(size) * 20)
    fit = fit_cell(window, Observations(np.arange(size), numbers, uncertainty), np.ones(instances), FIRST_NOISE)
    assert np.isfinite(fit.totals).all()
    assert np.isfinite(fit.variances).all()
    assert fit.totals.max() <= 20 * instances * max(numbers.max(initial=0), 8)


def test_the_factor_widens_what_does_not_fit() -> None:
    """A model that is sure that there is no noise predicts hidden reports badly where there is; the factor says so."""
    generator = np.random.default_rng(5)
    window = draw_window(generator, 60)
    rates = generator.gamma(2, 50, 60)[window.instance]
    numbers = round_up(generator.poisson(rates * generator.gamma(4, 0.25, len(rates)))).astype(np.float64)
    reports = np.flatnonzero(numbers)
    seen, kept = Observations(reports, numbers[reports], np.zeros(len(reports))), np.ones(60)
    factors = []
    for prior in (FIRST_NOISE, Noise(0.0, 1e12, 0.0, 1e12)):
        calibration = Calibration(np.random.default_rng(6))
        for _ in range(4):
            calibration.check(window, seen, kept, prior, fit_cell(window, seen, kept, prior))
        factors.append(calibration.factor())
    assert factors[0] < 1.2
    assert factors[1] > 1.4


@pytest.mark.parametrize("shape", [0.5, 2.0, 20.0, 400.0])
def test_intervals_are_quantiles_of_gamma(shape: float) -> None:
    """90 % of drawn numbers are in the interval, a little more where most are near 0."""
    drawn = np.random.default_rng(7).gamma(shape, 3.0, 100_000)
    lower, upper = find_interval(np.array([shape * 3.0]), np.array([shape * 9.0]))
    assert 0.89 <= ((lower <= drawn) & (drawn <= upper)).mean() <= 0.95
    assert (drawn > upper).mean() == pytest.approx(0.05, abs=0.015)


def test_nothing_is_surely_nothing() -> None:
    """A number of 0 without error has an interval of 0 to 0."""
    zero: Floats = np.zeros(1)
    assert [end.tolist() for end in find_interval(zero, zero)] == [[0.0], [0.0]]
