"""Keys: a word for each row of an interval, by which millions of rows are sorted.

Three words (fixed_lines.py) are too many to sort by. A key has the country, eight digits of the hash or what there is
room for of them, and the row's place:

    63       54 53           22 21           0
    country     8 digits        place

That is for up to four million rows. Where there are more, places need further bits, and countries do with fewer: only
those that are there are numbered. So mostly a key leaves out nothing of a row's third word but the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from obfstats.publish.tally.fixed_lines import COUNTRIES, COUNTRY_BITS, COUNTRY_SHIFT, END_BITS, WORD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from obfstats.publish.tally.fixed_lines import Words

    Numbers = NDArray[np.int64]

AT_ONCE = 1 << 15
"""Rows worked on at a time: what is between the steps is so short that the system is not asked for memory each time."""

_WORD_BITS, _DIGIT_BITS = 64, 32


class Layout:
    """What stands where in the keys of some rows.

    Args:
        kinds: the third words of all rows.

    Attributes:
        place: the bits of a row's place.
        is_whole: whether a key has the country and all eight digits.
    """

    def __init__(self, kinds: Words) -> None:
        place_bits = max(len(kinds) - 1, 0).bit_length()
        self.place = np.uint64((1 << place_bits) - 1)
        self._codes = np.arange(len(COUNTRIES))
        self._country_bits = COUNTRY_BITS
        self._country_words: Words | None = None
        if place_bits > END_BITS:
            self._codes = _present(kinds)
            # The highest number stays free, for `Keys.border`.
            self._country_bits = len(self._codes).bit_length()
            self._country_words = np.zeros(len(COUNTRIES), WORD)
            self._country_words[self._codes] = np.arange(len(self._codes), dtype=WORD) << self._country_shift
        self.is_whole = self._country_bits + _DIGIT_BITS + place_bits <= _WORD_BITS

    @property
    def _country_shift(self) -> np.uint64:
        return np.uint64(_WORD_BITS - self._country_bits)

    def write(self, kinds: Words, keys: Words, begin: int, stop: int) -> None:
        """Make the keys of some rows.

        Args:
            kinds: the third words of all rows.
            keys: takes the keys; may be the same memory.
            begin: the first row's place.
            stop: that of the first one behind them.
        """
        country = np.uint64(2**_WORD_BITS - 1) << self._country_shift
        for here in range(begin, stop, AT_ONCE):
            there = min(here + AT_ONCE, stop)
            some, result = kinds[here:there], keys[here:there]
            countries = some & country if self._country_words is None else self._country_words.take(_countries(some))
            np.left_shift(some, np.uint64(_DIGIT_BITS - self._country_bits), out=result)
            result &= ~(country | self.place)
            result |= countries
            result |= np.arange(here, there, dtype=WORD)

    def by_country(self, keys: Words) -> Numbers:
        """Count keys by country's number."""
        numbers = np.bincount((keys >> self._country_shift).view(np.int64), minlength=len(self._codes))
        return self._by_number(numbers)

    def sorted_by_country(self, keys: Words) -> Numbers:
        """Count sorted keys by country's number, which takes no look at most of them."""
        firsts = np.arange(len(self._codes) + 1, dtype=WORD) << self._country_shift
        return self._by_number(np.diff(keys.searchsorted(firsts)))

    def _by_number(self, by_rank: Numbers) -> Numbers:
        numbers = np.zeros(len(COUNTRIES), np.int64)
        numbers[self._codes] = by_rank
        return numbers


def _present(kinds: Words) -> Numbers:
    """Give the numbers of the countries that are there, in order."""
    is_present = np.zeros(len(COUNTRIES), np.bool_)
    for here in range(0, len(kinds), AT_ONCE):
        is_present |= np.bincount(_countries(kinds[here : here + AT_ONCE]), minlength=len(COUNTRIES)) > 0
    return np.flatnonzero(is_present)


def _countries(kinds: Words) -> Numbers:
    return (kinds >> COUNTRY_SHIFT).view(np.int64)
