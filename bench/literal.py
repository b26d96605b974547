"""The ticket's words taken literally, in plain Python: the peer that the recorder is measured against.

It is what a careful programmer would write from the ticket's steps 1 to 6 with SHA-1, `bisect` and `SystemRandom`, and
not slower: addresses are parsed by `inet_pton`, the timestamp's text is kept as long as it is valid, and a batch is
written at once.
"""

from __future__ import annotations

import hashlib
import os
import time
from bisect import bisect_right
from random import SystemRandom
from socket import AF_INET, inet_pton
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400


class LiteralCountries:
    """A GeoIP database: three lists of equal length, in order."""

    def __init__(self, path: Path) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._codes: list[str] = []
        codes: dict[str, str] = {}
        with path.open(encoding="ascii") as lines:
            for line in lines:
                if line.startswith("#"):
                    continue
                first, last, code = line.rstrip("\n").split(",")
                self._firsts.append(int(first))
                self._lasts.append(int(last))
                self._codes.append(codes.setdefault(code, code.lower()))

    def resolve(self, number: int) -> str:
        """Give the country code of an address."""
        index = bisect_right(self._firsts, number) - 1
        if index >= 0 and number <= self._lasts[index]:
            return self._codes[index]
        return "??"


class LiteralRecorder:
    """The ticket's recorder."""

    def __init__(self, path: Path, countries: LiteralCountries, capacity: int = 100) -> None:
        """Step 1: a secret string, a timestamp and a buffer."""
        self._path = path
        self._countries = countries
        self._capacity = capacity
        self._secret = os.urandom(32)
        self._buffer: list[str] = []
        self._random = SystemRandom()
        self._set_timestamp(time.time())

    def record(self, address: str) -> None:
        """Step 2: a client connection."""
        # Step 3.
        now = time.time()
        if now - self._timestamp >= DAY:
            self._flush()
            timestamp = self._timestamp
            while now - timestamp > DAY:
                timestamp += DAY
            self._set_timestamp(timestamp)
        # Step 4.
        if len(self._buffer) >= self._capacity:
            self._flush()
        # Step 5.
        packed = inet_pton(AF_INET, address)
        country = self._countries.resolve(int.from_bytes(packed, "big"))
        digest = hashlib.sha1(packed + self._secret).hexdigest()
        self._buffer.append(f"{self._timestamp_text} {country} {digest}\n")

    def _set_timestamp(self, timestamp: float) -> None:
        self._timestamp = timestamp
        self._timestamp_text = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(timestamp))

    def _flush(self) -> None:
        """Append the buffer's messages to the file in random order."""
        self._random.shuffle(self._buffer)
        with self._path.open("a", encoding="ascii") as log:
            log.writelines(self._buffer)
        self._buffer.clear()
