"""Finding equal rows among millions, exactly.

Rows are sorted by keys (keys.py), which do not hold all of them. Rows whose keys differ above the place are different.
Neighbours whose keys do not are looked at again, in all that the keys leave out. Mostly they are equal, for most equal
rows are a client that came again. Where some are not, the rows of that neighbourhood are sorted once more by everything
they have. So the numbers are exact whatever the hashes are; what depends on them is only how long it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import numpy as np

from obfstats.publish.tally.fixed_lines import COUNTRIES, END_BITS, END_SHIFT, different
from obfstats.publish.tally.keys import AT_ONCE, Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from obfstats.publish.tally.fixed_lines import Rows, Words

    Places = NDArray[np.intp]
    Numbers = NDArray[np.int64]

_Result = TypeVar("_Result")

_FEW = 1 << 17
"""Rows so few that sharing the work out takes longer than doing it."""

END = np.uint64(((1 << END_BITS) - 1) << int(END_SHIFT))
"""The end's bits of a third word."""

_NO_PAIRS = np.empty((2, 0), np.intp)


class Workers(Protocol):
    """Does the halves of something, at the same time or one after the other."""

    def __call__(self, work: Callable[[int], _Result], /) -> list[_Result]:
        """Call it with 0 and with 1, and give both results once they are there."""


class Repeats(NamedTuple):
    """What was found out about some rows.

    Attributes:
        rows: how many there are, by country's number.
        again: how many of them are equal to another one that is not among these, by country's number.
        pairs: for each of these, in two rows, the place of an equal row and its own; empty if nobody asked.
    """

    rows: Numbers
    again: Numbers
    pairs: Places


def find_repeats(
    rows: Rows,
    room: Callable[[int], Words],
    workers: Workers | None,
    *,
    with_ends: bool,
    want_pairs: bool = False,
    may_spoil: bool = False,
) -> Repeats:
    """Find the rows that are equal to another.

    Args:
        rows: where to look.
        room: gives memory for so many keys.
        workers: do both halves of what can be done at the same time; None where there is nobody to share it with.
        with_ends: whether rows are different if only their ends are; if not, and in any case where all have the same
            end, country and hash are looked at alone.
        want_pairs: whether to say which rows they are, and not only how many.
        may_spoil: whether the rows are not needed any more; then their own memory may do for the keys.
    """
    layout = Layout(rows.kinds)
    count = len(rows.kinds)
    spoils = may_spoil and layout.is_whole and not with_ends
    keys = rows.kinds if spoils else room(count)
    search = _Search(rows, keys, layout, with_ends=with_ends, want_pairs=want_pairs)
    if workers is None or count <= _FEW:
        layout.write(rows.kinds, keys, 0, count)
        keys.sort()
        return search.result([search.scan(0, count)])
    borders = [0, count // 2, count]
    workers(lambda half: layout.write(rows.kinds, keys, borders[half], borders[half + 1]))
    keys.partition(borders[1])
    workers(lambda half: keys[borders[half] : borders[half + 1]].sort())
    borders[1] = search.border(borders[1])
    return search.result(workers(lambda half: search.scan(borders[half], borders[half + 1])))


class _Found(NamedTuple):
    """Which rows are equal to another, and how many of each country are."""

    again: Numbers
    pairs: Places


class _Search:
    """One search: what is sorted, and what is looked at again. Pairs are of places among the keys until the end."""

    def __init__(self, rows: Rows, keys: Words, layout: Layout, *, with_ends: bool, want_pairs: bool) -> None:
        self.keys = keys
        self._rows, self._layout, self._want_pairs = rows, layout, want_pairs
        # Of the third word a second look needs nothing if it is in the keys; and then it may be gone.
        self._needed = np.uint64(2**64 - 1) if with_ends else ~END
        self._has_all = layout.is_whole and not with_ends

    def border(self, place: int) -> int:
        """Give the first place from this one on where no neighbourhood is cut in two, in the sorted keys."""
        if place in (0, len(self.keys)):
            return place
        # No country has the highest number, so there always is a following one.
        following = (self.keys[place - 1] | self._layout.place) + np.uint64(1)
        return int(self.keys.searchsorted(following))

    def scan(self, begin: int, stop: int) -> _Found:
        """Look through sorted keys for neighbours that may be equal, and find out which are."""
        again = np.zeros(len(COUNTRIES), np.int64)
        pairs = [_NO_PAIRS]
        while begin < stop:
            end = self.border(min(begin + AT_ONCE, stop))
            seconds, found = self._look(self.keys[begin:end])
            again += self._layout.by_country(seconds)
            if self._want_pairs:
                pairs.append(found)
            begin = end
        return _Found(again, np.concatenate(pairs, axis=1))

    def result(self, found: list[_Found]) -> Repeats:
        """Put together what was found."""
        rows = self._layout.sorted_by_country(self.keys)
        return Repeats(
            rows, np.sum([one.again for one in found], axis=0), np.concatenate([one.pairs for one in found], axis=1)
        )

    def _look(self, keys: Words) -> tuple[Words, Places]:
        """Find the pairs of equal rows in some whole neighbourhoods; give a key of each pair, and their places."""
        alike = np.flatnonzero(keys[1:] ^ keys[:-1] <= self._layout.place)
        first, second = keys.take(alike), keys.take(alike + 1)
        pairs = self._places(first, second)
        equal = self._are_equal(pairs)
        if equal.all():
            return first, pairs
        # Whoever has a neighbour that is not equal may have an equal one further on: all of that neighbourhood.
        neighbourhoods = np.cumsum(np.diff(alike, prepend=alike[0]) != 1)
        has_unequal = np.zeros(neighbourhoods[-1] + 1, np.bool_)
        has_unequal[neighbourhoods[~equal]] = True
        is_mixed = has_unequal[neighbourhoods]
        mixed = different(np.concatenate((first[is_mixed], second[is_mixed])))
        first_again, second_again = self._sort_all(mixed)
        first = np.concatenate((first[~is_mixed], first_again))
        second = np.concatenate((second[~is_mixed], second_again))
        return first, self._places(first, second)

    def _places(self, first: Words, second: Words) -> Places:
        places = np.empty((2, len(first)), first.dtype)
        np.bitwise_and(first, self._layout.place, out=places[0])
        np.bitwise_and(second, self._layout.place, out=places[1])
        return places.view(np.intp)

    def _sort_all(self, keys: Words) -> tuple[Words, Words]:
        """Sort some rows by all that they have, and give the keys of equal ones."""
        places = (keys & self._layout.place).view(np.intp)
        third = keys & ~self._layout.place if self._has_all else self._rows.kinds.take(places) & self._needed
        words = np.stack((*self._rows.hashes.take(places, axis=0).T, third))
        order = np.lexsort(words)
        words, keys = words[:, order], keys[order]
        equal = (words[:, 1:] == words[:, :-1]).all(axis=0)
        return keys[:-1][equal], keys[1:][equal]

    def _are_equal(self, pairs: Places) -> NDArray[np.bool_]:
        """Compare rows whose keys are equal but for the place."""
        hashes, kinds = self._rows
        distance = hashes.take(pairs[0], axis=0)
        distance ^= hashes.take(pairs[1], axis=0)
        joined: Words = distance[:, 0] | distance[:, 1]
        if not self._has_all:
            joined |= (kinds.take(pairs[0]) ^ kinds.take(pairs[1])) & self._needed
        equal: NDArray[np.bool_] = joined == 0
        return equal
