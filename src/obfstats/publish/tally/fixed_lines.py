r"""Lines of 64 bytes, many at once: see that each is of the log's grammar, and pack it into three words.

    2012-02-07 14:01:04 de 1234567890123456789012345678901234567890\n
    0       8       16     |23     24      32      40      48      56    63

A line is eight words of eight bytes. All lines of a block that is as it should be begin alike, so the date is looked at
once. The country is looked up in a table, and forty hexadecimal digits become twenty bytes:

    two words      32 of the digits
    a third word   63         54 53       32 31         0
                   country       end         8 digits

The country is a number, and so is the end, which is what stands behind the digits (nothing here, see general_lines.py).
The digits are not in their order, but nothing is lost: two lines of one interval are the same if their three words are.
Everything works on whole columns, with as little memory as fits into a processor's cache.
"""

from __future__ import annotations

import string
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from obfstats.formats.logline import LINE_LENGTH, UNKNOWN_COUNTRY, is_prefix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Bytes = NDArray[np.uint8]

START_LENGTH = len("2012-02-07 14:01:04")

COUNTRIES = [
    UNKNOWN_COUNTRY,
    *(first + second for first in string.ascii_lowercase for second in string.digits + string.ascii_lowercase),
]
"""Every code that the grammar knows; a country's number is its place here, which is also its place in order."""

COUNTRY_BITS = 10
COUNTRY_SHIFT = np.uint64(64 - COUNTRY_BITS)
END_BITS = 22
END_SHIFT = np.uint64(32)

WORD = np.dtype("<u8")
"""Bytes of a line as a number: little-endian on every machine."""

NO_COUNTRY = np.uint64(2**64 - 1)
"""What `countries` gives for anything else."""

_COUNTRY_WORDS = np.full(1 << 16, NO_COUNTRY)
for _number, _code in enumerate(COUNTRIES):
    _COUNTRY_WORDS[int.from_bytes(_code.encode(), "little")] = _number << int(COUNTRY_SHIFT)

_EACH_BYTE = 0x0101010101010101
_ZEROS = np.uint64(ord("0") * _EACH_BYTE)

# Of the third eight bytes of a line, `:04 de 1`, and of the last, `4567890` with the line's end.
_SECONDS = np.uint64(0x0000000000FFFFFF)
_AROUND_COUNTRY_MASK = np.uint64(0x00FF0000FF000000)
_AROUND_COUNTRY = np.uint64(ord(" ") * _EACH_BYTE) & _AROUND_COUNTRY_MASK
_LINE_END = np.uint64(ord("\n") << 56)


class Rows(NamedTuple):
    """Packed lines, or memory for them.

    Attributes:
        hashes: the first two words of each.
        kinds: the third word of each: country, end and the last digits.
    """

    hashes: Words
    kinds: Words

    @classmethod
    def empty(cls, count: int) -> Rows:
        """Give memory for so many."""
        return cls(np.empty((count, 2), WORD), np.empty(count, WORD))

    def part(self, begin: int, stop: int | None = None) -> Rows:
        """Give some of them; it is the same memory."""
        return Rows(self.hashes[begin:stop], self.kinds[begin:stop])


class Packer:
    """Packs lines; keeps the memory for the steps between, and so belongs to one thread.

    Args:
        most: lines packed at once, at most.
    """

    def __init__(self, most: int) -> None:
        self._distances, self._values = (np.empty(5 * most, WORD) for _ in range(2))
        self._columns = np.empty(4 * most, WORD)

    def pack(self, lines: Bytes, rows: Rows) -> bytes | None:
        """Pack lines that are all good and of one interval.

        Args:
            lines: as many rows of 64 bytes; at least one.
            rows: takes as many packed lines.

        Returns:
            The interval's start; None if a line is damaged or of another interval.
        """
        count = len(lines)
        start = lines[0, :START_LENGTH].tobytes()
        columns = lines.view(WORD)
        # The words that are looked at more than once are laid side by side first.
        third, last, country, some = self._columns[: 4 * count].reshape(4, count)
        third[:], last[:] = columns[:, 2], columns[:, 7]
        if not (is_start(start) and _begin_alike(columns, third, some) and _end_well(last, some)):
            return None
        countries(third, some, country)
        if country.max() == NO_COUNTRY:
            return None
        distances, values = (memory[: 5 * count].reshape(5, count) for memory in (self._distances, self._values))
        # The first digit stands at the end of the third word, the last seven at the beginning of the last one.
        third >>= np.uint64(56)
        last <<= np.uint64(8)
        last |= third
        np.subtract(columns[:, 3:7].T, _ZEROS, out=distances[:4])
        np.subtract(last, _ZEROS, out=distances[4])
        if not _read_digits(distances, values):
            return None
        for word, (low, high) in enumerate(((0, 1), (2, 3))):
            np.left_shift(values[high], np.uint64(4), out=some)
            np.bitwise_or(some, values[low], out=rows.hashes[:, word])
        np.right_shift(values[4], np.uint64(28), out=some)
        some |= values[4]
        some &= np.uint64(0xFFFFFFFF)
        np.bitwise_or(some, country, out=rows.kinds)
        return start if _were_digits(distances, values) else None


def starting_alike(lines: Bytes) -> int:
    """Give the number of lines, from the first one on, that have the same start as that."""
    columns = lines.view(WORD)
    is_other = columns[:, 0] != columns[0, 0]
    is_other |= columns[:, 1] != columns[0, 1]
    is_other |= (columns[:, 2] ^ columns[0, 2]) & _SECONDS != 0
    first = int(is_other.argmax())
    return first if is_other[first] else len(lines)


def _begin_alike(columns: Words, third: Words, some: Words) -> bool:
    """Tell whether all lines begin like the first one, up to the country, and have blanks around that."""
    for place in (0, 1):
        if (columns[:, place] != columns[0, place]).any():
            return False
    np.bitwise_xor(third, _AROUND_COUNTRY | third[0] & _SECONDS, out=some)
    some &= _AROUND_COUNTRY_MASK | _SECONDS
    return not np.bitwise_or.reduce(some)


def _end_well(last: Words, some: Words) -> bool:
    """Tell whether all lines end after 64 bytes."""
    np.bitwise_xor(last, _LINE_END, out=some)
    return bool(some.max() < 1 << 56)


def _read_digits(distances: Words, values: Words) -> bool:
    """Read hexadecimal digits, eight in a word.

    Args:
        distances: the words, less eight times the sign 0 each.
        values: takes a value in each byte.

    Returns:
        False if one of them is no digit; where it is True `_were_digits` must be asked as well.
    """
    # A digit's value is its distance from 0 or, if that is less, from ten before a. Distances are never negative but
    # come round at 256. Of what is no digit most have a value above 15 then; but : to ? have those of a to f, and W to
    # ` those of 0 to 9. A sign below 0 takes from its neighbour; but only words of digits have the distances of digits.
    return _nearer(distances, ord("a") - 10 - ord("0"), values) <= 0xF


def _were_digits(distances: Words, values: Words) -> bool:
    """Tell whether all of what was read were digits; the values are used up."""
    # From a itself, no letter is further than 9, nor is g to j; but : to ? are, and W to `.
    return _nearer(distances, ord("a") - ord("0"), values) <= 9


def _nearer(distances: Words, other: int, nearer: Words) -> int:
    """Give the greatest of all signs' distances, each from 0 or from another sign, whichever it is nearer to.

    Args:
        distances: those from 0.
        other: that of the other sign from 0.
        nearer: takes the less of both.
    """
    of_signs, nearer_bytes = distances.view(np.uint8), nearer.view(np.uint8)
    np.subtract(of_signs, np.uint8(other), out=nearer_bytes)
    np.minimum(of_signs, nearer_bytes, out=nearer_bytes)
    return int(nearer_bytes.max())


def countries(third: Words, codes: Words, found: Words) -> None:
    """Find each line's country as the bits of its third packed word; all bits are set where there is none.

    Args:
        third: the third eight bytes of each line.
        codes: memory for a word of each line.
        found: takes the bits.
    """
    np.right_shift(third, np.uint64(32), out=codes)
    codes &= np.uint64(0xFFFF)
    _COUNTRY_WORDS.take(codes.view(np.int64), mode="clip", out=found)


def different(words: Words) -> Words:
    """Give each word once, sorted; numpy's own way loads a library that nothing else here needs."""
    ordered = np.sort(words)
    is_new = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    return ordered[is_new]


@lru_cache(maxsize=1000)
def is_start(start: bytes) -> bool:
    """Tell whether an interval may start then; February 30 is no date."""
    return is_prefix(start + b" de ")


assert 8 * WORD.itemsize == LINE_LENGTH  # noqa: S101 - what this file is built on
