"""Finding equal rows among millions, exactly.

A row is three words (fixed_lines.py). So many rows are sorted fastest by a single word, a key, which cannot hold all of
a row; so it has the country, eight digits of the hash or what there is room for of them, and the row's place:

    63       54 53           22 21           0
    country     8 digits        place

Rows whose keys differ above the place are different. Neighbours whose keys do not are looked at again, in all that the
keys leave out. Mostly they are equal, for most equal rows are a client that came again. Where some are not, the rows of
that neighbourhood are sorted once more by everything they have. So the numbers are exact whatever the hashes are; what
depends on them is only how long it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import numpy as np

from obfstats.publish.tally.fixed_lines import COUNTRIES, COUNTRY_SHIFT, END_BITS, END_SHIFT, WORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from obfstats.publish.tally.fixed_lines import Rows, Words

    Places = NDArray[np.intp]
    Numbers = NDArray[np.int64]

_Result = TypeVar("_Result")

_AT_ONCE = 1 << 15
"""Rows worked on at a time: what is between the steps is so short that the system is not asked for memory each time."""

_FEW = 1 << 17
"""Rows so few that sharing the work out takes longer than doing it."""

_ALL_BITS = np.uint64(2**64 - 1)
_COUNTRY = _ALL_BITS << COUNTRY_SHIFT
_END = np.uint64(((1 << END_BITS) - 1) << int(END_SHIFT))
_FIRST_KEYS = np.arange(len(COUNTRIES) + 1, dtype=WORD) << COUNTRY_SHIFT
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


def find_repeats(rows: Rows, keys: Words, workers: Workers, *, with_ends: bool, want_pairs: bool = False) -> Repeats:
    """Find the rows that are equal to another.

    Args:
        rows: where to look.
        keys: room for as many words.
        workers: do both halves of what can be done at the same time.
        with_ends: whether rows are different if only their ends are; if not, and in any case where all have the same
            end, country and hash are looked at alone.
        want_pairs: whether to say which rows they are, and not only how many.
    """
    search = _Search(rows, keys, with_ends=with_ends, want_pairs=want_pairs)
    count = len(keys)
    if count <= _FEW:
        search.write_keys(0, count)
        keys.sort()
        return search.result([search.scan(0, count)])
    borders = [0, count // 2, count]
    workers(lambda half: search.write_keys(borders[half], borders[half + 1]))
    keys.partition(borders[1])
    workers(lambda half: keys[borders[half] : borders[half + 1]].sort())
    borders[1] = search.border(borders[1])
    return search.result(workers(lambda half: search.scan(borders[half], borders[half + 1])))


def columns_of(rows: Rows, places: Places, *, with_ends: bool) -> Words:
    """Give the three words of some rows, one below the other.

    Args:
        rows: of which.
        places: where they are.
        with_ends: whether to leave the ends in.
    """
    kinds = rows.kinds.take(places)
    return np.stack((*rows.hashes.take(places, axis=0).T, kinds if with_ends else kinds & ~_END))


class _Found(NamedTuple):
    """Which rows are equal to another, and how many of each country are."""

    again: Numbers
    pairs: Places


class _Search:
    """One search: what is sorted, and what is looked at again."""

    def __init__(self, rows: Rows, keys: Words, *, with_ends: bool, want_pairs: bool) -> None:
        self.keys = keys
        self._rows, self._with_ends, self._want_pairs = rows, with_ends, want_pairs
        self._place_bits = max(len(keys) - 1, 0).bit_length()
        self._place = np.uint64((1 << self._place_bits) - 1)

    def write_keys(self, begin: int, stop: int) -> None:
        """Make the keys of some rows."""
        for here in range(begin, stop, _AT_ONCE):
            there = min(here + _AT_ONCE, stop)
            kinds, keys = self._rows.kinds[here:there], self.keys[here:there]
            np.left_shift(kinds, np.uint64(END_BITS), out=keys)
            keys &= ~_COUNTRY
            keys |= kinds & _COUNTRY
            keys &= ~self._place
            keys |= np.arange(here, there, dtype=WORD)

    def border(self, place: int) -> int:
        """Give the first place from this one on where no neighbourhood is cut in two, in the sorted keys."""
        if place in (0, len(self.keys)):
            return place
        # No country has the highest number, so there always is a following one.
        following = (self.keys[place - 1] | self._place) + np.uint64(1)
        return int(self.keys.searchsorted(following))

    def scan(self, begin: int, stop: int) -> _Found:
        """Look through sorted keys for neighbours that may be equal, and find out which are."""
        again = np.zeros(len(COUNTRIES), np.int64)
        pairs = [_NO_PAIRS]
        while begin < stop:
            end = self.border(min(begin + _AT_ONCE, stop))
            countries, found = self._look(self.keys[begin:end])
            countries >>= COUNTRY_SHIFT
            again += np.bincount(countries.view(np.int64), minlength=len(again))
            if self._want_pairs:
                pairs.append(found)
            begin = end
        return _Found(again, np.concatenate(pairs, axis=1))

    def result(self, found: list[_Found]) -> Repeats:
        """Put together what was found."""
        rows = np.diff(self.keys.searchsorted(_FIRST_KEYS))
        return Repeats(
            rows, np.sum([one.again for one in found], axis=0), np.concatenate([one.pairs for one in found], axis=1)
        )

    def _look(self, keys: Words) -> tuple[Words, Places]:
        """Give the pairs of equal rows of some whole neighbourhoods, and before them words with their countries."""
        alike = np.flatnonzero(keys[1:] ^ keys[:-1] <= self._place)
        first = keys.take(alike)
        places = np.empty((2, len(alike)), WORD)
        np.bitwise_and(first, self._place, out=places[0])
        np.bitwise_and(keys.take(alike + 1), self._place, out=places[1])
        pairs = places.view(np.intp)
        equal = self._are_equal(pairs)
        if equal.all():
            return first, pairs
        # Whoever has a neighbour that is not equal may have an equal one further on: all of that neighbourhood.
        neighbourhoods = np.cumsum(np.diff(alike, prepend=alike[0]) != 1)
        is_mixed = np.isin(neighbourhoods, neighbourhoods[~equal])
        pairs = np.concatenate((pairs[:, ~is_mixed], self._sort_all(np.unique(pairs[:, is_mixed]))), axis=1)
        return self._rows.kinds.take(pairs[1]), pairs

    def _sort_all(self, places: Places) -> Places:
        """Sort some rows by all of their words, and give the pairs of equal ones."""
        words = columns_of(self._rows, places, with_ends=self._with_ends)
        order = np.lexsort(words)
        words, places = words[:, order], places[order]
        equal = (words[:, 1:] == words[:, :-1]).all(axis=0)
        return np.stack((places[:-1][equal], places[1:][equal]))

    def _are_equal(self, pairs: Places) -> NDArray[np.bool_]:
        """Compare rows whose keys are equal but for the place."""
        hashes, kinds = self._rows
        different = hashes.take(pairs[0], axis=0)
        different ^= hashes.take(pairs[1], axis=0)
        joined: Words = different[:, 0] | different[:, 1]
        # Countries and the other digits were in the keys already, unless these had no room for all.
        if self._with_ends or self._place_bits > END_BITS:
            apart = kinds.take(pairs[0]) ^ kinds.take(pairs[1])
            joined |= apart if self._with_ends else apart & ~_END
        equal: NDArray[np.bool_] = joined == 0
        return equal
