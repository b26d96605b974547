"""What a published number says about the exact one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.counts import round_up
from obfstats.show.bands import SURE, Band, narrower, noisy, rounded, total


@given(st.lists(st.integers(0, 10_000)))
def test_a_sum_of_rounded_numbers_holds_the_exact_sum(numbers: list[int]) -> None:
    """Each was rounded up by at most 7, so each cell adds 7 to the width of the band."""
    band = total(rounded(round_up(number)) for number in numbers)
    assert band.lower() <= sum(numbers) <= band.upper()
    assert band.upper() - band.lower() == 7 * sum(number > 0 for number in numbers)


def test_zero_is_exact_and_eight_is_one_to_eight() -> None:
    """Only 0 is rounded to 0."""
    assert rounded(0) == Band(0, 0)
    assert rounded(8) == Band(1, 8)


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1, 3])
def test_the_variance_is_that_of_the_noise(epsilon: float) -> None:
    """Against the sum over the distribution, as docs/document.md has it."""
    weights = {k: math.exp(-epsilon * abs(k)) for k in range(-1000, 1001)}
    variance = sum(weight * k * k for k, weight in weights.items()) / sum(weights.values())
    assert noisy(8, epsilon).variance == pytest.approx(variance)


def test_an_average_of_noisy_numbers_is_surer_than_one() -> None:
    """Noise of 100 days evens out to a tenth."""
    one = noisy(40, 0.5)
    average = total([one] * 100) / 100
    assert average.upper() - average.lower() == pytest.approx((one.upper() - one.lower()) / 10)
    assert one.lower(SURE) < one.lower() < 40 < one.upper() < one.upper(SURE)


def test_noise_does_not_make_less_than_nothing() -> None:
    """A negative number is published as it was drawn, but no bridge has fewer than 0 clients."""
    band = noisy(-9, 2)
    assert (band.lower(), band.middle, band.upper()) == (0, 0, 0)


def test_two_sums_of_the_same_leave_what_both_allow() -> None:
    """Twelve countries are rounded twelve times, two address families twice."""
    assert narrower(Band(12, 96), Band(42, 56)) == Band(42, 56)


def test_sums_that_contradict_each_other_leave_the_first() -> None:
    """Somebody has forged a number; the page shows the countries all the same."""
    assert narrower(Band(1, 8), Band(50, 56)) == Band(1, 8)
