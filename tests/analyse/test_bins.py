"""What a rounded number says about the exact one."""

from __future__ import annotations

from math import exp, factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.analyse.bins import BIN_SIZE, LAST_BIN, UNIFORM_VARIANCE, bin_table


def exact_moments(number: int, mean: float) -> tuple[float, float]:
    """Sum up Poisson's distribution in a bin, as a textbook does."""
    exact = range(number - BIN_SIZE + 1, number + 1)
    weights = [exp(-mean) * mean**x / factorial(x) for x in exact]
    expected = sum(x * w for x, w in zip(exact, weights, strict=True)) / sum(weights)
    square = sum(x * x * w for x, w in zip(exact, weights, strict=True)) / sum(weights)
    return expected, square - expected**2


@pytest.mark.parametrize("number", [8, 16, 64, 128])
@pytest.mark.parametrize("mean", [0.3, 2.0, 9.0, 60.0])
def test_without_noise_moments_are_those_of_poisson(number: int, mean: float) -> None:
    """The table agrees with the sum over the eight numbers of the bin, between its columns too."""
    expected, variance = exact_moments(number, mean)
    found, spread = bin_table(0.0).look_up(np.array([float(number)]), np.array([mean]))
    assert found[0] == pytest.approx(expected, abs=0.02)
    assert spread[0] == pytest.approx(variance, abs=0.05)


def test_a_rare_eight_is_one() -> None:
    """Where next to nothing is expected, 8 means 1; where much is, it means 8."""
    found, _ = bin_table(0.02).look_up(np.array([8.0, 8.0]), np.array([1e-4, 1e3]))
    assert found[0] == pytest.approx(1, abs=0.01)
    assert found[1] == pytest.approx(8, abs=0.2)


@pytest.mark.parametrize("sigma", [0.15, 0.5])
@pytest.mark.parametrize("mean", [0.7, 6.0, 40.0])
def test_moments_are_those_of_drawn_numbers(sigma: float, mean: float) -> None:
    """Numbers drawn from the model and rounded up have on average what the table says of their bins."""
    generator = np.random.default_rng(1)
    noise = np.exp(sigma * generator.standard_normal(400_000) - sigma**2 / 2)
    exact = generator.poisson(mean * noise)
    rounded = -(-exact // BIN_SIZE) * BIN_SIZE
    table = bin_table(float(np.expm1(sigma**2)))
    for number in np.unique(rounded[rounded > 0]):
        inside = exact[rounded == number]
        if len(inside) > 20_000:
            found, spread = table.look_up(np.array([float(number)]), np.array([mean]))
            assert found[0] == pytest.approx(inside.mean(), abs=0.05)
            assert spread[0] == pytest.approx(inside.var(), abs=0.15)


@pytest.mark.parametrize("mean", [0.4, 5.0, 30.0])
def test_moments_of_clustered_numbers(mean: float) -> None:
    """Where clients make several requests each, 8 means more than where each makes one."""
    exact = np.random.default_rng(2).negative_binomial(mean / 4, 1 / 5, 400_000)
    rounded = -(-exact // BIN_SIZE) * BIN_SIZE
    for number in np.unique(rounded[rounded > 0]):
        inside = exact[rounded == number]
        if len(inside) > 20_000:
            found, spread = bin_table(0.0, 4.0).look_up(np.array([float(number)]), np.array([mean]))
            assert found[0] == pytest.approx(inside.mean(), abs=0.06)
            assert spread[0] == pytest.approx(inside.var(), abs=0.15)


@given(
    bins=st.integers(1, 10 * LAST_BIN),
    mean=st.floats(1e-7, 1e6, allow_nan=False),
    noise=st.sampled_from([0, 0.02, 0.3]),
)
def test_the_exact_number_is_in_its_bin(bins: int, mean: float, noise: float) -> None:
    """Whatever was expected, the mean lies in the bin, and its spread is at most that of the two ends."""
    number = bins * BIN_SIZE
    found, spread = bin_table(noise).look_up(np.array([float(number)]), np.array([mean]))
    assert number - BIN_SIZE + 0.99 <= found[0] <= number + 0.01
    assert -1e-9 <= spread[0] <= (BIN_SIZE - 1) ** 2 / 4


def test_large_bins_are_nearly_flat() -> None:
    """Far above the table, all eight numbers are nearly alike, and the bin's slope tilts them a little."""
    numbers = np.array([8_000.0, 8_000.0])
    found, spread = bin_table(0.02).look_up(numbers, np.array([7_000.0, 9_000.0]))
    assert found == pytest.approx([7_996.5, 7_996.5], abs=0.1)
    assert found[0] < found[1]
    assert spread == pytest.approx(UNIFORM_VARIANCE)
