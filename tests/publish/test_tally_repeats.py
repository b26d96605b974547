"""Equal rows are found exactly, however many there are and however alike the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.publish.tally.fixed_lines import COUNTRIES, COUNTRY_SHIFT, END_SHIFT, Rows
from obfstats.publish.tally.repeats import find_repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

Result = TypeVar("Result")

MANY = 300_000
"""Rows so many that the work is shared out, and done piece by piece."""


def both(work: Callable[[int], Result]) -> list[Result]:
    """Do both halves of something, one after the other."""
    return [work(0), work(1)]


def packed(table: Words) -> Rows:
    """Make rows of a table: first word, second word, eight digits, country's number, end's number."""
    rows = Rows.empty(len(table))
    rows.hashes[:] = table[:, :2]
    rows.kinds[:] = table[:, 2] | table[:, 3] << COUNTRY_SHIFT | table[:, 4] << END_SHIFT
    return rows


def room(count: int) -> Words:
    """Give memory for keys."""
    return np.empty(count, np.uint64)


def check(table: Words, *, with_ends: bool) -> None:
    """See that every repeated row is found once, beside an equal one, and counted for its country."""
    repeats = find_repeats(packed(table), room, both, with_ends=with_ends, want_pairs=True)
    compared = table if with_ends else table[:, :4]
    different, once = np.unique(compared, axis=0, return_index=True)
    firsts, seconds = repeats.pairs
    assert (compared[firsts] == compared[seconds]).all()
    assert len(np.unique(seconds)) == len(seconds) == len(table) - len(different)
    left = np.setdiff1d(np.arange(len(table)), seconds)
    assert len(np.unique(compared[left], axis=0)) == len(left)
    countries = table[:, 3].astype(np.intp)
    assert (repeats.rows == np.bincount(countries, minlength=len(COUNTRIES))).all()
    assert (repeats.rows - repeats.again == np.bincount(countries[once], minlength=len(COUNTRIES))).all()
    spoiled = find_repeats(packed(table), room, None, with_ends=with_ends, may_spoil=True)
    assert (spoiled.rows == repeats.rows).all()
    assert (spoiled.again == repeats.again).all()


small = st.integers(0, 2)


@given(st.lists(st.tuples(small, small, small, st.sampled_from((0, 1, 936)), small), max_size=50), st.booleans())
@settings(max_examples=200)
def test_few_rows(rows: list[tuple[int, ...]], with_ends: bool) -> None:  # noqa: FBT001 - drawn
    """Whatever two rows have in common, nothing but all of it makes them equal."""
    check(np.array(rows, np.uint64).reshape(-1, 5), with_ends=with_ends)


@pytest.mark.parametrize("with_ends", [False, True], ids=["addresses", "lines"])
@pytest.mark.parametrize(
    "highest",
    [
        (2**64, 2**64, 2**32, 937, 1),
        (1, 2**17, 1, 1, 1),
        (2**17, 1, 1, 1, 1),
        (1, 1, 2**17, 1, 1),
        (2**6, 2**6, 2, 2, 8),
        (2, 2, 2, 2, 2),
        (1, 1, 1, 1, 1),
        (1, 1, 1, 937, 1),
        (1, 1, 1, 1, 2**22),
    ],
    ids=["as hashes are", "second word", "first word", "digits", "a little of all", "bits", "all", "country", "end"],
)
def test_many_rows(highest: tuple[int, ...], *, with_ends: bool) -> None:
    """Halves of the work, and pieces of a half, part no neighbours, even where all rows are."""
    random = np.random.default_rng(5047)
    columns = [random.integers(0, end, MANY * 2 // 3, np.uint64, endpoint=False) for end in highest]
    table = np.stack(columns, axis=1)
    check(table[random.integers(0, len(table), MANY)], with_ends=with_ends)


@pytest.mark.parametrize("may_spoil", [False, True], ids=["kept", "spoiled"])
@pytest.mark.parametrize("hashes", [1, 2], ids=["alike", "mixed"])
@pytest.mark.parametrize("countries", [[0, 7, 12, 936], range(len(COUNTRIES))], ids=["four", "all"])
def test_more_than_four_million_rows(countries: Sequence[int], hashes: int, *, may_spoil: bool) -> None:
    """Places take the room of digits; where few countries come these make room, else the digits are looked up."""
    count = (1 << 22) + 2
    table = np.zeros((count // 2, 5), np.uint64)
    numbers = np.arange(count // 2)
    table[:, 0] = numbers % hashes
    table[:, 2] = numbers // hashes
    table[:, 3] = np.array(countries)[numbers // hashes // 2 % len(countries)]
    rows = packed(table[np.random.default_rng(5047).permutation(count) // 2])
    repeats = find_repeats(rows, room, both, with_ends=False, may_spoil=may_spoil)
    expected = np.bincount(table[:, 3].astype(np.intp), minlength=len(COUNTRIES))
    assert (repeats.rows == 2 * expected).all()
    assert (repeats.again == expected).all()
