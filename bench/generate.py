"""Statistics logs of any length, as a recorder on a busy bridge would write them; for measurements only.

Ten intervals of 24 hours, fifty countries whose sizes follow Zipf's law, and a third of the lines from clients that
connected before. As the recorder does, lines are written in batches of a hundred, each sorted. The same arguments give
the same bytes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INTERVALS = 10
COUNTRIES = 50
BATCH = 100
REPEATED = 1 / 3
ZIPF_EXPONENT = 1.0

_FIRST_START = datetime(2012, 2, 7, 14, 1, 4)  # noqa: DTZ001 - the log's starts are UTC and do not say so
_AT_ONCE = BATCH * 5_000
_LINE = b"0000-00-00 00:00:00 ?? " + b"0" * 40 + b"\n"
_HEX = np.frombuffer(bytes(range(256)).hex().encode(), np.uint16)


def write_log(path: Path, lines: int, *, seed: int = 5047) -> None:
    """Write one log.

    Args:
        path: the file.
        lines: the number of lines, a multiple of INTERVALS * BATCH.
        seed: seeds everything random.
    """
    random = np.random.default_rng(seed)
    with path.open("wb") as log:
        for number in range(INTERVALS):
            start = f"{_FIRST_START + number * timedelta(days=1)}".encode()
            clients = _Clients(random, round(lines / INTERVALS * (1 - REPEATED)), start)
            order = np.arange(lines // INTERVALS, dtype=np.uint32)
            order[clients.number :] = random.integers(0, clients.number, len(order) - clients.number, np.uint32)
            random.shuffle(order)
            for first in range(0, len(order), _AT_ONCE):
                log.write(clients.lines(order[first : first + _AT_ONCE]))


class _Clients:
    """The clients of one interval."""

    def __init__(self, random: np.random.Generator, number: int, start: bytes) -> None:
        sizes = 1 / np.arange(1, COUNTRIES + 1) ** ZIPF_EXPONENT
        self.number = number
        self._start = start
        self._countries = random.choice(COUNTRIES, number, p=sizes / sizes.sum()).astype(np.uint8)
        self._hashes = random.integers(0, 256, (number, 20), np.uint8)

    def lines(self, connected: NDArray[np.uint32]) -> bytes:
        """Write a line for each client that connected, by number, in sorted batches."""
        leading = self._hashes[connected, :8].copy().view(">u8")[:, 0].astype(np.uint64)
        keys = self._countries[connected].astype(np.uint64) << np.uint64(58) | leading >> np.uint64(6)
        order = keys.reshape(-1, BATCH).argsort(axis=1)
        connected = np.take_along_axis(connected.reshape(-1, BATCH), order, axis=1).ravel()
        lines = np.empty((len(connected), len(_LINE)), np.uint8)
        lines[:] = np.frombuffer(_LINE, np.uint8)
        lines[:, :19] = np.frombuffer(self._start, np.uint8)
        # aa, ab and so on, in the order of their numbers.
        lines[:, 20] = ord("a") + self._countries[connected] // 26
        lines[:, 21] = ord("a") + self._countries[connected] % 26
        lines[:, 23:63] = _HEX[self._hashes[connected]].view(np.uint8).reshape(len(connected), 40)
        return lines.tobytes()
