"""The number of different clients, from a bounded sample of their hashes: for the operator's heartbeat.

Without S, an interval's hashes cannot be told from numbers drawn at random. Of those that occurred the 1,024 smallest
are kept. While there are fewer, the count is exact. When there are more, it is estimated: with k = 1,024 and v the k-th
smallest as a part of the whole range, k - 1 hashes are below v, so there are (k - 1) / v in all, with a standard error
of about 3 per cent, whether they are thousands or millions (k minimum values: Bar-Yossef and others, 2002; this form of
the estimate: Beyer and others, 2007).

Rules:

- Neither repeated connections of a client nor the order of connections changes anything.
- Memory never grows: one array, created once and never moved, so no copy of a number is left when it is wiped.
- The first 64 bits of a hash are used: that two of a million clients share them has a probability of 1 in 37 million.
- What is kept identifies no client without S. It is wiped with S all the same.
"""

from __future__ import annotations

import ctypes
from array import array
from bisect import bisect_left

SIZE = 1024
"""k, the numbers kept: 8 KiB."""

_BITS = 64
_DIGITS = _BITS // 4
# Greater than every hex digit.
_NO_BOUND = "g"


class Sketch:
    """The smallest hashes of one interval.

    Attributes:
        bound: only hashes below this, compared as text, change anything; the others need not be added.
    """

    def __init__(self) -> None:
        self.bound = _NO_BOUND
        self._numbers = array("Q", [0]) * SIZE
        # The view moves numbers within the array without a temporary copy, and keeps the array from being moved.
        self._view = memoryview(self._numbers)
        self._count = 0

    def add(self, hash_hex: str) -> str:
        """Add a client.

        Args:
            hash_hex: its hash, lower-case hex, 16 digits or more.

        Returns:
            The bound from now on.
        """
        number = int(hash_hex[:_DIGITS], 16)
        numbers, count = self._numbers, self._count
        index = bisect_left(numbers, number, 0, count)
        if index == SIZE or (index < count and numbers[index] == number):
            return self.bound
        if count < SIZE:
            self._count = count = count + 1
        self._view[index + 1 : count] = self._view[index : count - 1]
        numbers[index] = number
        if count == SIZE:
            self.bound = f"{numbers[SIZE - 1]:0{_DIGITS}x}"
        return self.bound

    def estimate(self) -> int:
        """Give the number of clients: exact below 1,024, an estimate from there on."""
        if self._count < SIZE:
            return self._count
        return max(SIZE, ((SIZE - 1) << _BITS) // self._numbers[SIZE - 1])

    def wipe(self) -> None:
        """Overwrite every number with zeros and start empty again."""
        ctypes.memset(self._numbers.buffer_info()[0], 0, self._view.nbytes)
        self._count = 0
        self.bound = _NO_BOUND
