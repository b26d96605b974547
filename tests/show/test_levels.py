"""Averages of weeks, and whether they differ surely."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.show.levels import MAX_CLASS, Change, Level, add, average, change_class, list_change_classes
from obfstats.show.results import NONE, Series


def series(values: list[float], spread: float = 0.1) -> Series:
    """A series with intervals of a tenth."""
    numbers = array("d", values)
    lower, upper = (array("d", [value * (1 + sign * spread) for value in values]) for sign in (-1, 1))
    nothing = array("d", [NONE] * len(values))
    return Series(numbers, lower, upper, nothing, nothing)


def level(value: float, spread: float = 0.1) -> Level:
    """An average with an interval of a tenth."""
    return Level(value, value * (1 - spread), value * (1 + spread), 7)


def test_a_week_needs_four_days() -> None:
    """With fewer there is no average; missing days are not 0."""
    assert average(series([10, NONE, 20, NONE, 30, NONE, 40]), 0, 7) == pytest.approx((25, 22.5, 27.5, 4))
    assert average(series([10, NONE, 20, NONE, 30, NONE, NONE]), 0, 7) is None
    assert average(series([10, 20]), -5, 2) is None


@pytest.mark.parametrize(
    ("before", "after", "number"),
    [(0, 0, 0), (100, 30, 1), (100, 60, 2), (100, 80, 3), (100, 95, 4), (100, 130, 5), (100, 200, 6), (100, 201, 7),
     (0, 5, 7), (5, 0, 1)],
)  # fmt: skip
def test_a_change_has_a_class(before: float, after: float, number: int) -> None:
    """Drops, no sure change, rises; where there is nobody there is nothing to compare."""
    assert change_class(Change(level(before), level(after))) == number


def test_every_class_has_a_text() -> None:
    """The legend explains each colour of the map."""
    assert sorted(number for number, _ in list_change_classes()) == list(range(MAX_CLASS + 1))


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1))
def test_a_change_is_never_a_drop_and_a_rise(before: float, after: float, spread: float) -> None:
    """And it is neither where the intervals overlap."""
    change = Change(level(before, spread), level(after, spread))
    assert not (change.is_drop and change.is_rise)
    if change.is_sure:
        assert (after < before) == change.is_drop
    assert 0 <= change_class(change) <= MAX_CLASS


def test_sums_keep_missing_days() -> None:
    """A sum of what is missing is missing; a sum of nothing too."""
    total = add([series([1, NONE]), series([2, NONE])], 2)
    assert total.values[0] == 3
    assert total.lower[0] == pytest.approx(2.7)
    assert total.values[1] != total.values[1]
    assert add([], 2).values[0] != 0
