"""Coarse numbers: close to the exact ones, and hardly changed by one client."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from obfstats.bridge.coarse import CoarseCounter, coarse

if TYPE_CHECKING:
    from collections.abc import Callable


def drawn_as(number: int) -> Callable[[int], int]:
    """Draw always the same."""
    return lambda _: number


@given(st.integers(0, 8), st.integers(0, 7))
def test_8_or_fewer_connections_always_look_the_same(number: int, drawn: int) -> None:
    """A quiet bridge's gauge does not tell whether anybody is connected."""
    assert coarse(number, drawn_as(drawn)) == 8


@given(st.integers(9, 20_000), st.integers(0, 7))
def test_a_gauge_is_a_multiple_of_8_next_to_the_number(number: int, drawn: int) -> None:
    """It is one of the two next ones."""
    shown = coarse(number, drawn_as(drawn))
    assert shown % 8 == 0
    assert abs(shown - number) < 8


def test_one_connection_more_changes_a_gauge_in_one_of_8_draws() -> None:
    """So a scrape before it and one after it tell hardly anything."""
    for number in range(8, 100):
        before = [coarse(number, drawn_as(drawn)) for drawn in range(8)]
        after = [coarse(number + 1, drawn_as(drawn)) for drawn in range(8)]
        assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


@given(st.lists(st.integers(0, 40)), st.sampled_from([8, 1 << 30]), st.integers())
def test_a_counter_grows_by_whole_steps_and_is_never_ahead(increases: list[int], step: int, seed: int) -> None:
    """It never falls, and lags by less than two steps."""
    counter, exact, before = CoarseCounter(random.Random(seed).randrange, step), 0, 0
    for increase in increases:
        exact += increase * step // 8
        shown = counter.update(exact)
        assert shown % step == 0
        assert before <= shown <= exact < shown + 2 * step
        before = shown


def test_the_first_event_and_the_seventh_change_no_counter() -> None:
    """Whatever is drawn, a step needs eight events at least, and fifteen are always one."""
    for drawn in range(8):
        counter = CoarseCounter(drawn_as(drawn))
        assert [counter.update(exact) for exact in range(8)] == [0] * 8
        assert counter.update(15) == 8


def test_each_step_comes_late_by_a_new_part() -> None:
    """An attacker who knows when one step came does not know how many connections the next one needs."""
    late = iter((0, 7, 3, 0))
    counter = CoarseCounter(lambda _: next(late))
    assert [counter.update(exact) for exact in (7, 8, 22, 23, 26, 27)] == [0, 8, 8, 16, 16, 24]
