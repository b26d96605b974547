"""A store of any length, written without descriptors; for measurements of estimates only.

Every bridge reports every day, at its own second, with a number for each of 50 countries, 8 transports and 2 versions:
60 cells. A third of the reports is there twice, as in CollecTor's archives: tor publishes a descriptor every 18 hours.
Histories have five days, as today's tor writes them. Every bridge runs in every hour. The same arguments give the same
rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from obfstats.analyse.store import SCHEMAS, Manifest, Store, write_parts

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FIRST_DAY = 20_089
"""2025-01-01."""

COUNTRIES = 50
TRANSPORTS = ("<OR>", "obfs4", "snowflake", "webtunnel", "meek", "obfs3", "scramblesuit", "conjure")
VERSIONS = ("v4", "v6")
CELLS = COUNTRIES + len(TRANSPORTS) + len(VERSIONS)
REPEATED = 1 / 3

_DAY = 86_400
_HISTORY_DAYS = 5
_DAYS_AT_ONCE = 10
_NICKNAME = "Unnamed"


def write_archive(folder: Path, bridges: int, days: int, *, seed: int = 5047) -> Store:
    """Write a store.

    Args:
        folder: the store's, which is made.
        bridges: the number of bridges.
        days: the number of days, from FIRST_DAY on.
        seed: seeds everything random.
    """
    generator = np.random.default_rng(seed)
    archive = _Archive(generator, bridges)
    store = Store(folder)
    folder.mkdir(parents=True)
    parts = []
    for number, first in enumerate(range(FIRST_DAY, FIRST_DAY + days, _DAYS_AT_ONCE), 1):
        tables: dict[str, list[Any]] = {name: [] for name in ("reports", "cells", "histories", "statuses")}
        for day in range(first, min(first + _DAYS_AT_ONCE, FIRST_DAY + days)):
            for name, columns in archive.make_day(generator, day).items():
                tables[name].append(pa.table(columns).select(SCHEMAS[name].names).cast(SCHEMAS[name]))
        for name, found in tables.items():
            parts += write_parts(folder, name, number, pa.concat_tables(found))
    store.commit(Manifest(parts=parts))
    return store


class _Archive:
    """What does not change from day to day."""

    def __init__(self, generator: np.random.Generator, bridges: int) -> None:
        self._fingerprints = pa.array([generator.bytes(20).hex().upper() for _ in range(bridges)])
        self._seconds = generator.integers(0, _DAY, bridges)
        self._sizes = generator.lognormal(4, 1.5, bridges)
        self._bytes = generator.lognormal(18, 1, bridges)
        self._countries = generator.dirichlet(np.full(COUNTRIES, 0.5))
        self._transports = generator.dirichlet(np.full(len(TRANSPORTS), 0.5))
        names = [f"{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(COUNTRIES)]
        self._keys = pa.array([*names, *TRANSPORTS, *VERSIONS])
        counts = [COUNTRIES, len(TRANSPORTS), len(VERSIONS)]
        self._lines = pa.array(np.repeat(["ips", "transports", "versions"], counts))
        self._next_report = 0

    def make_day(self, generator: np.random.Generator, day: int) -> dict[str, dict[str, Any]]:
        """Make the rows of all tables that are of reports that end on a day."""
        count = len(self._sizes)
        bridges = np.concatenate([np.arange(count), np.flatnonzero(generator.random(count) < REPEATED)])
        ends = day * _DAY + self._seconds[bridges]
        reports = np.arange(self._next_report, self._next_report + len(bridges))
        self._next_report += len(bridges)
        shares = np.concatenate([self._countries, self._transports, [0.95, 0.05]])
        means = self._sizes[:, None] * shares * generator.lognormal(0, 0.3, (count, CELLS))
        numbers = _round_up(np.maximum(means, 0.5))[bridges]
        return {
            "reports": {
                **self._name(bridges, day),
                "report": reports,
                "published": ends + 3_600,
                "stats_end": ends,
                "stats_seconds": np.full(len(bridges), _DAY),
                "ok": _round_up(self._sizes[bridges] * 10) + 8,
                "served": pa.nulls(len(bridges), pa.int32()),
                "has_requests": np.zeros(len(bridges), bool),
                "bridge_end": ends,
                "bridge_seconds": np.full(len(bridges), _DAY),
            },
            "cells": {
                "report": np.repeat(reports, CELLS),
                "source": np.zeros(numbers.size, np.int32),
                "day": np.full(numbers.size, day, np.int32),
                "line": self._lines.take(pa.array(np.tile(np.arange(CELLS), len(bridges)))),
                "key": self._keys.take(pa.array(np.tile(np.arange(CELLS), len(bridges)))),
                "number": numbers.ravel(),
            },
            "histories": self._make_histories(bridges, ends),
            "statuses": {
                "source": np.zeros(count, np.int32),
                "day": np.full(count, day, np.int32),
                "fingerprint": self._fingerprints,
                "hours": np.full(count, (1 << 24) - 1, np.int32),
            },
        }

    def _name(self, bridges: NDArray[np.int64], day: int) -> dict[str, Any]:
        """Make the columns that name the bridges and the day of rows."""
        return {
            "source": np.zeros(len(bridges), np.int32),
            "day": np.full(len(bridges), day, np.int32),
            "fingerprint": self._fingerprints.take(pa.array(bridges)),
            "nickname": pa.array([_NICKNAME] * len(bridges)),
        }

    def _make_histories(self, bridges: NDArray[np.int64], ends: NDArray[np.int64]) -> dict[str, Any]:
        """Make the rows of histories that end ten minutes before the reports."""
        back = np.tile(np.arange(_HISTORY_DAYS)[::-1], len(bridges))
        repeated = np.repeat(bridges, _HISTORY_DAYS)
        history_ends = np.repeat(ends - 600, _HISTORY_DAYS)
        value_ends = history_ends - back * _DAY
        days = value_ends // _DAY
        # Every descriptor has the same value for the same interval.
        written = self._bytes[repeated] * (1 + (repeated * 7_919 + days * 104_729) % 1_000 / 1_000)
        return {
            **self._name(repeated, 0),
            "day": days.astype(np.int32),
            "published": np.repeat(ends + 3_600, _HISTORY_DAYS),
            "history_end": history_ends,
            "start_time": value_ends - _DAY,
            "end_time": value_ends,
            "bytes": written.astype(np.int64) // 1_024 * 1_024,
        }


def _round_up(numbers: NDArray[np.float64]) -> NDArray[np.int32]:
    """Round as tor does: up to multiples of 8."""
    return (np.ceil(numbers / 8) * 8).astype(np.int32)
