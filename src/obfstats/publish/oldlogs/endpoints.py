"""Many addresses and ports at once, where they are written as all programs write them: 192.0.2.7:42963.

Of each text a number is made whose bits say where it has no digit; the places of the three points, of the colon and of
what follows are read off it. What is written in any other way (a leading zero, a number that is too large) is not read
here; formats/oldlog.py knows what to make of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Numbers = NDArray[np.uint32]
    Places = NDArray[np.intp]
    Flags = NDArray[np.bool_]

WIDTH = 24
"""Bytes that are looked at: the longest is 255.255.255.255:65535, and one behind it has to be no digit."""

BEFORE = 8
"""Bytes that must stand before each text in memory, whatever they are: with them a text has 32."""

_POINT, _COLON = ord("."), ord(":")


def _masks(word: type[np.unsignedinteger[Any]], most: int) -> NDArray[Any]:
    """Give, by the number of digits that end with a word's last byte, the bits of the word that are theirs."""
    bits = 8 * np.dtype(word).itemsize
    ones = int.from_bytes(b"\x0f" * (bits // 8), "little")
    masks = [ones & -1 << bits - 8 * digits if 0 < digits <= most else 0 for digits in range(WIDTH + 1)]
    return np.array([mask & 2**bits - 1 for mask in masks], word)


def _least(most: int) -> NDArray[np.uint32]:
    """Give, by the number of digits, the least number that is written so; far more than any where it is too many."""
    tens = [0, *(10**digits for digits in range(1, most))]
    return np.array([1 << 31, *tens, *[1 << 31] * (WIDTH - most)], np.uint32)


_OCTET_DIGITS, _PORT_DIGITS = 3, 5
_OCTET_MASKS, _PORT_MASKS = _masks(np.uint32, _OCTET_DIGITS), _masks(np.uint64, _PORT_DIGITS)
_LEAST_OCTET, _LEAST_PORT = _least(_OCTET_DIGITS), _least(_PORT_DIGITS)


class Endpoints(NamedTuple):
    """What was read.

    Attributes:
        is_good: where it could be read; what the following say of the others is nothing.
        addresses: as numbers.
        ports: as numbers.
        lengths: how many bytes each takes.
    """

    is_good: Flags
    addresses: Numbers
    ports: Numbers
    lengths: NDArray[np.uint8]


def read_endpoints(memory: Bytes, places: Places, *, is_port_only: bool) -> Endpoints:
    """Read an address and a port at each of several places.

    Args:
        memory: where they stand; `BEFORE` bytes before the first place and `WIDTH` behind the last belong to it.
        places: where each begins.
        is_port_only: whether there are no addresses, only ports.
    """
    size = BEFORE + WIDTH
    rows = np.ndarray(len(memory) - size + 1, np.dtype((np.void, size)), memory, strides=(1,))[places - BEFORE]
    texts = rows.view(np.uint8)
    is_sign = texts - np.uint8(ord("0")) > 9
    reader = _Reader(texts, np.packbits(is_sign, bitorder="little").view("<u4") >> np.uint32(BEFORE))
    addresses = np.zeros(len(places), np.uint32)
    if not is_port_only:
        for sign in (_POINT, _POINT, _POINT, _COLON):
            addresses <<= np.uint32(8)
            addresses |= reader.read_octets(sign)
    ports = reader.read_ports()
    return Endpoints(reader.is_good, addresses, ports, reader.lengths)


class _Reader:
    """Reads one number after the other, in all texts together.

    Attributes:
        is_good: where all of them could be read.
        lengths: how many bytes of each text have been read.
    """

    def __init__(self, texts: Bytes, signs: Numbers) -> None:
        self.is_good = np.ones(len(signs), np.bool_)
        self.lengths = np.zeros(len(signs), np.uint8)
        self._texts = texts
        self._places = np.arange(len(signs)) * (BEFORE + WIDTH) + BEFORE
        self._signs = signs
        self._begins = self.lengths

    def read_octets(self, sign: int) -> Numbers:
        """Read the next numbers as parts of addresses; give numbers up to 255 in any case.

        Args:
            sign: what has to stand behind each.
        """
        ends, digits = self._next()
        digits_of = self._words("<u4")[ends - 4] & _OCTET_MASKS.take(digits)
        octets: Numbers = digits_of >> np.uint32(24)
        octets += (digits_of >> np.uint32(16) & np.uint32(15)) * np.uint32(10)
        octets += (digits_of >> np.uint32(8) & np.uint32(15)) * np.uint32(100)
        self.is_good &= octets >= _LEAST_OCTET.take(digits)
        self.is_good &= octets < 256
        self.is_good &= self._texts[ends] == sign
        return octets & np.uint32(255)

    def read_ports(self) -> Numbers:
        """Read the next numbers as ports."""
        ends, digits = self._next()
        words = self._words("<u8")[ends - 8] & _PORT_MASKS.take(digits)
        # Neighbours are put together: first digits to pairs, then pairs to fours, then those.
        words = (words * np.uint64(10) + (words >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
        words = (words * np.uint64(100) + (words >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
        ports: Numbers = (words * np.uint64(10_000) + (words >> np.uint64(32))).astype(np.uint32)
        self.is_good &= ports >= _LEAST_PORT.take(digits)
        self.is_good &= ports <= 0xFFFF
        return ports

    def _next(self) -> tuple[Places, NDArray[np.uint8]]:
        """Find the next sign in each text; give its place, and how many digits stand before it."""
        signs = self._signs
        # Below the lowest bit that is set are as many as the place says; where none is, it is beyond all places.
        self.lengths = np.minimum(np.bitwise_count((signs & -signs) - np.uint32(1)), np.uint8(WIDTH - 1))
        self._signs = signs & (signs - np.uint32(1))
        digits = np.minimum(self.lengths - self._begins, np.uint8(WIDTH))
        self._begins = self.lengths + np.uint8(1)
        return self._places + self.lengths, digits

    def _words(self, kind: str) -> NDArray[Any]:
        """Give the words that begin at each byte."""
        size = np.dtype(kind).itemsize
        return np.ndarray(max(0, len(self._texts) - size + 1), kind, self._texts, strides=(1,))
