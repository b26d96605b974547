"""Countries of IPv6 addresses, looked up by bisection. Pure; a look-up never raises."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING

from obfstats.formats.logline import UNKNOWN_COUNTRY
from obfstats.record.errors import OutOfOrderError

if TYPE_CHECKING:
    from collections.abc import Iterable

_HALVES = struct.Struct(">QQ").unpack


class V6Table:
    """Countries of IPv6 addresses: 276,626 ranges take 11 MB.

    An address is two 64-bit halves. The search runs over the upper halves; only where ranges share one do the lower
    halves decide.

    Attributes:
        skipped: ranges that were left out.
    """

    def __init__(self, ranges: Iterable[tuple[bytes, bytes, str]]) -> None:
        """Take (first, last, lower-case code) with both ends packed, 16 bytes each.

        Raises:
            OutOfOrderError: at a range that begins before the one in front of it has ended.
        """
        self.skipped = 0
        self._firsts = array("Q"), array("Q")
        self._lasts = array("Q"), array("Q")
        self._countries: list[str] = []
        end = b""
        for first, last, country in ranges:
            if first > last:
                self.skipped += 1
                continue
            if first <= end:
                raise OutOfOrderError
            for halves, packed in ((self._firsts, first), (self._lasts, last)):
                upper, lower = _HALVES(packed)
                halves[0].append(upper)
                halves[1].append(lower)
            self._countries.append(country)
            end = last

    def __len__(self) -> int:
        return len(self._countries)

    @property
    def codes(self) -> frozenset[str]:
        """Every country code that is in it."""
        return frozenset(self._countries)

    def country(self, packed: bytes) -> str:
        """Give the country of a packed IPv6 address (16 bytes), or `??`."""
        upper, lower = _HALVES(packed)
        index = bisect_right(self._firsts[0], upper) - 1
        while index >= 0 and self._firsts[0][index] == upper and self._firsts[1][index] > lower:
            index -= 1
        if index < 0 or (upper, lower) > (self._lasts[0][index], self._lasts[1][index]):
            return UNKNOWN_COUNTRY
        return self._countries[index]
