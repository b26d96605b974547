"""An interval on two clocks: pure, so every clock is a number here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.interval import INTERVAL_SECONDS
from obfstats.record.clock import CLOCK_TOLERANCE, RunningInterval
from peers.clocks import TICKETS_START

BOOT = 1000.0

clocks = st.floats(0, 1e9)
walls = st.floats(-1e15, 1e15)


def starts_at(interval: RunningInterval) -> float:
    """The start that the label gives, in seconds since 1970."""
    return interval.interval.start.timestamp()


def test_the_label_is_the_start_in_utc() -> None:
    """What every line of the interval begins with."""
    assert RunningInterval(BOOT, TICKETS_START).interval.label == "2012-02-07 14:01:04"


def test_it_may_have_begun_a_while_ago() -> None:
    """Then label and end are earlier by as much."""
    interval = RunningInterval(BOOT, TICKETS_START, ago=123.0)
    assert interval.interval.label == "2012-02-07 13:59:01"
    assert (interval.began, interval.end) == (BOOT - 123, BOOT - 123 + INTERVAL_SECONDS)


def test_it_is_over_exactly_24_hours_after_its_start() -> None:
    """Not a tick of the clock before; one step then is one day, and the next is not over."""
    interval = RunningInterval(BOOT, TICKETS_START)
    assert not interval.has_ended(BOOT + INTERVAL_SECONDS - 0.001)
    assert interval.has_ended(BOOT + INTERVAL_SECONDS)
    interval.step(BOOT + INTERVAL_SECONDS)
    assert (interval.began, interval.interval.label) == (BOOT + INTERVAL_SECONDS, "2012-02-08 14:01:04")
    assert not interval.has_ended(BOOT + INTERVAL_SECONDS)


@given(boot=clocks, wall=st.floats(1e6, 4e9), passed=st.floats(INTERVAL_SECONDS, 1000 * INTERVAL_SECONDS))
def test_it_steps_by_whole_days_to_the_one_that_contains_now(boot: float, wall: float, passed: float) -> None:
    """After any time: now is less than 24 hours after the start, and the time of day is the same."""
    interval = RunningInterval(boot, wall)
    before = starts_at(interval)
    now = boot + passed
    interval.step(now)
    assert 0 <= now - interval.began < INTERVAL_SECONDS
    assert (starts_at(interval) - before) % INTERVAL_SECONDS == 0
    assert starts_at(interval) - before == pytest.approx(interval.began - boot)


@pytest.mark.parametrize(
    ("by", "was_set"),
    [(0.0, False), (-CLOCK_TOLERANCE, False), (CLOCK_TOLERANCE, False), (-CLOCK_TOLERANCE - 1, True), (601.0, True)],
)
def test_more_than_ten_minutes_are_a_clock_that_was_set(by: float, was_set: bool) -> None:  # noqa: FBT001
    """Back or forward, whenever the clocks are checked; less is a correction."""
    interval = RunningInterval(BOOT, TICKETS_START)
    for passed in (0.0, 3600.0, 5 * INTERVAL_SECONDS):
        assert interval.clock_was_set(BOOT + passed, TICKETS_START + passed + by) is was_set


def test_boot_time_before_the_start_is_a_clock_that_was_set() -> None:
    """A clock that runs backwards cannot keep an interval open for ever."""
    assert RunningInterval(BOOT, TICKETS_START).clock_was_set(BOOT - 1, TICKETS_START - 1)


@given(boot=clocks, wall=walls, ago=st.floats(0, 600), passed=st.floats(0, 1e6))
def test_every_clock_gives_a_date_that_can_be_written(boot: float, wall: float, ago: float, passed: float) -> None:
    """1970, before it, or after the year 9999: a label of 19 characters, now and later."""
    interval = RunningInterval(boot, wall, ago=ago)
    assert len(interval.interval.label) == 19
    interval.step(boot + passed)
    assert len(interval.interval.label) == 19
    assert starts_at(interval) >= 0
