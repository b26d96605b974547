"""Scales, ticks and the paths of steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.show.scales import CountScale, TimeScale, step_band, step_line


@given(st.floats(0, 1e12))
def test_ticks_of_counts_begin_with_zero_and_end_above_the_highest(highest: float) -> None:
    """Few ticks, at numbers that a person can read; small counts get whole ones."""
    scale = CountScale.up_to(highest)
    ticks = scale.ticks()
    assert ticks[0].label == "0"
    assert ticks[0].percent == 100
    assert ticks[-1].percent == 0
    assert scale.top >= highest
    assert 2 <= len(ticks) <= 6
    assert str(scale.step).rstrip("0") in {"1", "2", "5"}


@pytest.mark.parametrize(("highest", "top", "step"), [(0, 1, 1), (5, 5, 1), (6, 6, 2), (56, 60, 20), (1001, 1500, 500)])
def test_counts(highest: int, top: int, step: int) -> None:
    """Some that can be checked by eye."""
    assert CountScale.up_to(highest) == CountScale(top, step)


def test_a_month_is_labelled_by_its_mondays() -> None:
    """29 November 2026 is a Sunday."""
    end = datetime(2026, 11, 29, 9, tzinfo=UTC)
    ticks = TimeScale(end - timedelta(days=30), end).ticks()
    assert [tick.label for tick in ticks] == ["2 Nov", "9 Nov", "16 Nov", "23 Nov"]
    assert all(0 <= tick.percent <= 100 for tick in ticks)


def test_a_year_is_labelled_by_its_months() -> None:
    """January has the year's number; on a phone every third month is left."""
    end = datetime(2026, 11, 29, 9, tzinfo=UTC)
    ticks = TimeScale(end - timedelta(days=365), end).ticks()
    assert [tick.label for tick in ticks][:3] == ["Dec", "2026", "Feb"]
    assert [tick.label for tick in ticks if not tick.is_minor] == ["2026", "Apr", "Jul", "Oct"]


def test_what_is_outside_is_drawn_at_the_edge() -> None:
    """An interval that began before the plot does is cut."""
    end = datetime(2026, 11, 29, tzinfo=UTC)
    scale = TimeScale(end - timedelta(days=30), end)
    assert (scale(end - timedelta(days=40)), scale(end - timedelta(days=15)), scale(end)) == (0, 500, 1000)


def test_steps() -> None:
    """A line goes along each step; an area returns along the lower line."""
    assert step_line([(0, 10, 5), (10, 20, 7)]) == "M0,5V5H10V7H20"
    assert step_band([(0, 10, 5, 8), (10, 20, 7, 9)]) == "M0,5V5H10V7H20V9H10V8H0z"
