"""What instances reported in the past, by cell and fortnight: the basis of trust (caps.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow.compute as pc

from obfstats.analyse.caps import UNPROVEN_SIZE, grow_trust, guess_rates
from obfstats.analyse.days import DAY
from obfstats.analyse.panel import BLOCK_DAYS, integers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from obfstats.analyse.fit import Floats, Integers
    from obfstats.analyse.panel import Panel, Query

    Part: TypeAlias = tuple[int, Integers, Integers, Integers]
    """A block, rows of instances, sums of their numbers, and how many of these are above 0."""


@dataclass(frozen=True)
class Past:
    """Sums of each BLOCK_DAYS days since the archive began.

    Attributes:
        first_day: of the archive.
        rows: the row of each instance, named by fingerprint and nickname with a blank between.
        reports: (instance, block) number of reports.
        parts: of each cell, named by line and key.
    """

    first_day: int
    rows: Mapping[str, int]
    reports: Floats
    parts: Mapping[tuple[str, str], list[Part]]

    def find(self, panel: Panel) -> Integers:
        """Give the row of each instance of a panel; that of one without a past is the number of rows."""
        names = map(" ".join, zip(panel.fingerprints, panel.nicknames, strict=True))
        return np.array([self.rows.get(name, len(self.rows)) for name in names], dtype=np.intp)

    def trust(self, line: str, key: str, rows: Integers, day: int) -> Floats:
        """Give the trust in instances before a day, as a multiple of the cell's mean.

        Args:
            line: of the cell: total or requests.
            key: of the cell.
            rows: of the instances.
            day: number since 1970-01-01.
        """
        blocks = min(max((day - self.first_day) // BLOCK_DAYS, 1), self.reports.shape[1])
        reports = self.reports[:, :blocks]
        numbers, count = np.zeros((2, *reports.shape))
        for block, there, sums, above in self.parts.get((line, key), []):
            if block < blocks:
                numbers[there, block], count[there, block] = sums, above
        grown = grow_trust(guess_rates(numbers, count, reports), reports)[:, -1]
        return np.append(grown, UNPROVEN_SIZE)[rows]


def load_past(query: Query, first: int, last: int) -> Past:
    """Sum up what each instance reported.

    Args:
        query: runs SQL over the views `reports` and `cells`.
        first: first day of the archive.
        last: the last day that matters.
    """
    rows: dict[str, int] = {}
    counts: list[tuple[Integers, Integers]] = []
    parts: dict[tuple[str, str], list[Part]] = {}
    for block, start in enumerate(range(first, last + 1, BLOCK_DAYS)):
        end = min(start + BLOCK_DAYS - 1, last)
        # Intervals that do not overlap end on different days. Copies of a report must not add to an instance's trust.
        of_report = (
            "r.report IN (SELECT arg_max(report, published) FROM reports "
            f"WHERE stats_seconds = {DAY} AND ok IS NOT NULL AND day BETWEEN {start} AND {end} "
            "GROUP BY fingerprint, nickname, day)"
        )
        total = "COALESCE(r.served, r.ok)"
        table = query(
            f"SELECT r.fingerprint AS fingerprint, r.nickname AS nickname, COUNT(*) AS reports, "
            f"SUM({total}) AS numbers, SUM(CASE WHEN {total} > 0 THEN 1 ELSE 0 END) AS above "
            f"FROM reports r WHERE {of_report} GROUP BY r.fingerprint, r.nickname"
        )
        row = _number_instances(table, rows)
        counts.append((row, integers(table, "reports")))
        parts.setdefault(("total", ""), []).append((block, row, integers(table, "numbers"), integers(table, "above")))
        table = query(
            "SELECT r.fingerprint AS fingerprint, r.nickname AS nickname, c.key AS key, SUM(c.number) AS numbers, "
            f"COUNT(*) AS above FROM reports r JOIN cells c ON r.report = c.report WHERE {of_report} "
            f"AND c.day BETWEEN {start} AND {end} AND c.number > 0 AND c.line = 'requests' "
            "GROUP BY r.fingerprint, r.nickname, c.key"
        )
        row, numbers, above = _number_instances(table, rows), integers(table, "numbers"), integers(table, "above")
        keys = table["key"].combine_chunks().dictionary_encode()
        codes = keys.indices.to_numpy(zero_copy_only=False)
        order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(codes[order], np.arange(len(keys.dictionary) + 1))
        for key, begin, stop in zip(keys.dictionary.to_pylist(), bounds[:-1], bounds[1:], strict=True):
            part = order[begin:stop]
            parts.setdefault(("requests", key), []).append((block, row[part], numbers[part], above[part]))
    reports = np.zeros((len(rows), len(counts)))
    for block, (row, count) in enumerate(counts):
        reports[row, block] = count
    return Past(first, rows, reports, parts)


def _number_instances(table: pa.Table, rows: dict[str, int]) -> Integers:
    """Give each row's instance its number, and new instances new ones."""
    names = (
        pc.binary_join_element_wise(table["fingerprint"], table["nickname"], " ").combine_chunks().dictionary_encode()
    )
    numbers = np.array([rows.setdefault(name, len(rows)) for name in names.dictionary.to_pylist()], dtype=np.intp)
    return np.asarray(numbers[names.indices.to_numpy(zero_copy_only=False)])
