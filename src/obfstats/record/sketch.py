"""How many different clients there were, from a bounded sample of their hashes: for the operator's heartbeat.

The hashes of an interval are keyed with S, so to everybody without S they are drawn evenly from all numbers. Of those
that came the 1,024 smallest are kept. While there are fewer, that is everybody, and the count is exact. When there are
more, the smallest 1,024 show how close together the numbers lie, and so how many there are: k - 1 of them in the part
of the range below the k-th smallest, v. That gives (k - 1) / v times the whole range, with a standard error of about 3
per cent, be they thousands or millions (k minimum values: Bar-Yossef and others, 2002; this form of the estimate:
Beyer and others, 2007).

Rules:

- A client who comes again changes nothing, and neither does the order of arrival.
- Memory never grows: one array, made once and never moved, so no copy of a number is left elsewhere when it is wiped.
- Of a digest the first 64 bits are used: that two of a million clients share them has a chance of 1 in 37 million.
- What is kept names nobody without S. It is wiped with S all the same, for what is gone needs no argument.
"""

from __future__ import annotations

import ctypes
from array import array
from bisect import bisect_left

SIZE = 1024
"""k, the numbers kept: 8 KiB."""

_DIGITS = 16
_BITS = 64
# Above every hex digit.
_EVERY_DIGEST = "g"


class Sketch:
    """The smallest hashes of one interval.

    Attributes:
        bound: only digests below this, compared as text, change anything; the others need not be added.
    """

    def __init__(self) -> None:
        self.bound = _EVERY_DIGEST
        self._numbers = array("Q", [0]) * SIZE
        # Through the view numbers move within the array without a copy in between; it also keeps the array in place.
        self._view = memoryview(self._numbers)
        self._count = 0

    def add(self, digest: str) -> str:
        """Take a client in.

        Args:
            digest: its hash, lower-case hex, 16 digits or more.

        Returns:
            The bound from now on.
        """
        number = int(digest[:_DIGITS], 16)
        numbers, count = self._numbers, self._count
        place = bisect_left(numbers, number, 0, count)
        if place == SIZE or (place < count and numbers[place] == number):
            return self.bound
        if count < SIZE:
            self._count = count = count + 1
        self._view[place + 1 : count] = self._view[place : count - 1]
        numbers[place] = number
        if count == SIZE:
            self.bound = f"{numbers[SIZE - 1]:0{_DIGITS}x}"
        return self.bound

    def estimate(self) -> int:
        """Give the number of clients: exact below 1,024, an estimate from there on."""
        if self._count < SIZE:
            return self._count
        return max(SIZE, ((SIZE - 1) << _BITS) // self._numbers[SIZE - 1])

    def wipe(self) -> None:
        """Overwrite every number with zeros, then begin anew."""
        ctypes.memset(self._numbers.buffer_info()[0], 0, self._view.nbytes)
        self._count = 0
        self.bound = _EVERY_DIGEST
