"""Our detector: what is an event, what is none, and that the past stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.analyse.detector import Detection, detect_changes

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAYS = 120
COUNTRIES = 20


def make_users(seed: int, level: float = 2000, days: int = DAYS, countries: int = COUNTRIES) -> NDArray[np.float64]:
    """Countries with a level, a weekly rhythm of their own, and 5 % of noise."""
    random = np.random.default_rng(seed)
    rhythm = 1 + random.uniform(-0.1, 0.1, (7, countries))
    return level * rhythm[np.arange(days) % 7] * random.lognormal(0, 0.05, (days, countries))


def detect(users: NDArray[np.float64], error: float = 0.05, groups: Any = None) -> Detection:
    """Run the detector on numbers with this relative error."""
    whole = np.rint(users)
    lower, upper = np.floor(users * np.exp(-1.645 * error)), np.ceil(users * np.exp(1.645 * error))
    groups = [np.arange(users.shape[1])] if groups is None else groups
    return detect_changes(whole, lower, upper, groups)


def list_events(found: Detection) -> list[tuple[str, int, int]]:
    """Direction, day and series of every event."""
    return sorted(
        (direction, int(day), int(series))
        for direction, begins in (("drop", found.drops), ("rise", found.rises))
        for day, series in zip(*np.nonzero(begins), strict=True)
    )


def test_nothing_happens_where_nothing_happens() -> None:
    """A year of weekly rhythm and noise has no events, and nearly all numbers are in their ranges."""
    users = make_users(1, days=365)
    found = detect(users)
    assert list_events(found) == []
    inside = (users >= found.lower) & (users <= found.upper)
    assert inside[30:].mean() > 0.99


@pytest.mark.parametrize(("gap", "expected"), [(10, 20), (60, 0)])
def test_after_a_long_gap_a_series_begins_anew(gap: int, expected: int) -> None:
    """Numbers twice as large after ten days without an archive are news, after two months they are another archive."""
    users = make_users(3)
    users[30 : 30 + gap] = np.nan
    users[30 + gap :] *= 2
    found = detect(users, groups=[])
    assert len(list_events(found)) == expected


def test_a_blocking_is_a_drop_and_its_end_is_a_rise() -> None:
    """Both are found within three days, each once: there is no echo a week later."""
    users = make_users(2)
    users[60:80, 3] *= 0.5
    assert [(direction, series) for direction, _, series in list_events(detect(users))] == [("drop", 3), ("rise", 3)]
    (_, drop, _), (_, rise, _) = list_events(detect(users))
    assert 60 <= drop <= 62
    assert 80 <= rise <= 82


def test_a_new_level_becomes_normal() -> None:
    """A blocking that stays is one event, and a week later the range is around the new numbers."""
    users = make_users(3)
    users[60:, 3] *= 0.3
    found = detect(users)
    assert [(direction, series) for direction, _, series in list_events(found)] == [("drop", 3)]
    later = slice(70, DAYS)
    assert np.mean((users >= found.lower)[later, 3] & (users <= found.upper)[later, 3]) > 0.95


def test_one_odd_day_is_no_event() -> None:
    """It is outside of its range, but evidence of two days is needed."""
    users = make_users(4)
    users[60, 3] *= 0.2
    found = detect(users)
    assert users[60, 3] < found.lower[60, 3]
    assert list_events(found) == []


def test_a_change_common_to_all_is_an_event_of_the_total_alone() -> None:
    """Days without an archive, and a break of the series that stays."""
    users = make_users(5)
    users[50:53] *= 0.4
    users[80:] *= 0.7
    both = np.column_stack([users, users.sum(axis=1)])
    found = detect(both, groups=[np.arange(COUNTRIES)])
    assert {series for _, _, series in list_events(found)} == {COUNTRIES}


def test_a_blocking_is_found_on_the_day_of_a_common_change() -> None:
    """What one country loses beyond all others is its own."""
    users = make_users(6)
    users[80:] *= 0.7
    users[80:, 3] *= 0.3
    assert [(direction, series) for direction, _, series in list_events(detect(users))] == [("drop", 3)]


def test_the_interval_decides_what_is_a_change() -> None:
    """The same numbers are events where they are known well, and none where they are hardly known."""
    users = make_users(7, level=40)
    users[60:70, 3] *= 0.6
    assert ("drop", 3) in {(direction, series) for direction, _, series in list_events(detect(users, error=0.05))}
    assert list_events(detect(users, error=0.6)) == []


def test_missing_days_are_passed_over() -> None:
    """A gap is no event, and a change that happened in it is found after it."""
    users = make_users(8)
    users[60:65] = np.nan
    users[65:, 3] *= 0.4
    found = detect(users)
    assert np.isnan(found.lower[60:65]).all()
    events = list_events(found)
    assert [(direction, series) for direction, _, series in events] == [("drop", 3)]
    assert 65 <= events[0][1] <= 67


def test_a_new_country_has_no_events_in_its_first_days() -> None:
    """Two weeks are needed to know what is normal."""
    users = make_users(9)
    users[:50, 3] = np.nan
    users[55:58, 3] *= 0.1
    assert [event for event in list_events(detect(users)) if event[1] < 58] == []


@pytest.mark.parametrize("level", [0.0, 1.0, 5.0])
def test_a_handful_of_users_is_no_alarm(level: float) -> None:
    """Numbers around 0 come and go: at most one event in 2,400 of them."""
    random = np.random.default_rng(10)
    users = random.poisson(level, (DAYS, COUNTRIES)).astype(float)
    found = detect_changes(users, np.zeros_like(users), users + 8, [np.arange(COUNTRIES)])
    assert len(list_events(found)) <= 1


def test_a_number_that_could_be_anything_has_a_range() -> None:
    """An interval up to any number is not an error, and its expected range is still one of integers."""
    users = make_users(11)
    found = detect_changes(users, np.zeros_like(users), np.full_like(users, 1e15), [np.arange(COUNTRIES)])
    assert list_events(found) == []
    assert 1e9 < np.nanmax(found.upper) < 2**63


@given(st.integers(20, DAYS - 1), st.integers(0, 2**32 - 1))
def test_later_days_do_not_change_the_past(day: int, seed: int) -> None:
    """Every day's result is the same as on the evening of that day."""
    users = make_users(seed)
    users[30:45, 2] *= 0.3
    users[np.random.default_rng(seed).random(users.shape) < 0.05] = np.nan
    whole, early = detect(users), detect(users[:day])
    for at_the_end, on_that_day in zip(whole, early, strict=True):
        assert np.array_equal(at_the_end[:day], on_that_day, equal_nan=at_the_end.dtype.kind == "f")
