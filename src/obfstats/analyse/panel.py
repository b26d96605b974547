"""From the tables (store.py) to arrays: who ran, who reported and what, on consecutive UTC days.

Rules:

- An instance is a (fingerprint, nickname): several instances of tor may share a fingerprint.
- Only reports of exactly 86,400 s count, published within a week of their end. Of several descriptors of the same
  interval the last published one counts; an interval that begins before the end of the last kept one is dropped.
- A report with `served=` is counted by that number: it is what `ok` was before tor 0.4.8.22, and what
  `dirreq-v3-reqs` adds up to. So the series does not break where bridges upgrade.
- A bridge that writes no bytes histories is kept like any other.
- Statuses name fingerprints. An instance of several that run at the same time is expected to run from its first report
  to its last while its fingerprint is in the statuses. A fingerprint without a report is one instance of no name.
- A day without any status has no missing reports: what ran is not known. A bridge that is listed in 23 of 24 hours, as
  those that report all day are on average, is taken to have run all day.

Numbers of cells are kept sparse. A cell that a report does not name is 0 there, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from obfstats.analyse.days import DAY
from obfstats.analyse.fit import Window, sum_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pyarrow as pa

    from obfstats.analyse.fit import Booleans, Floats, Integers

    Query = Callable[[str], pa.Table]
    """Runs a query over the tables of the store."""

MAX_REPORT_AGE = 7 * DAY
BLOCK_DAYS = 14
WINDOW_DAYS = 28
_WHOLE = 0.999
_GRACE_DAYS = 2
"""An instance of several is expected to run for so many days around its reports."""


@dataclass(frozen=True)
class SparseNumbers:
    """Numbers of one kind of cell, sorted by cell.

    Attributes:
        reports: the report of each number.
        numbers: as published.
        places: of each cell's name, the slice of both arrays that is its.
    """

    reports: Integers
    numbers: Integers
    places: Mapping[str, slice]

    def largest_first(self) -> list[str]:
        """Give the names of the cells, those of most numbers first."""
        return sorted(self.places, key=lambda name: (self.places[name].start - self.places[name].stop, name))


@dataclass(frozen=True)
class Panel:
    """Reports and statuses of consecutive UTC days.

    Attributes:
        first_day: number of the first day; all days below are counted from it.
        days: their number.
        fingerprints: of each instance.
        nicknames: of each instance, empty for one that never reported.
        instance: of each report.
        day: of each report, the day in which it ends, at least 1; reports are sorted by instance and end.
        share: of each report, the share of its 24 hours in that day; the rest lies in the day before.
        total: of each report, requests that were served, rounded up to a multiple of 8.
        completed: of each report, `ok` where it has `served=`, else -1.
        has_countries: whether the report has `dirreq-v3-reqs`.
        has_transports: whether it has statistics by transport.
        running: (instance, day) share of the hours with a status in which it ran.
        has_status: (day) whether there is any status.
        countries: requests by country.
        transports: unique addresses by transport.
    """

    first_day: int
    days: int
    fingerprints: list[str]
    nicknames: list[str]
    instance: Integers
    day: Integers
    share: Floats
    total: Integers
    completed: Integers
    has_countries: Booleans
    has_transports: Booleans
    running: Floats
    has_status: Booleans
    countries: SparseNumbers
    transports: SparseNumbers

    def window(self, first: int, last: int, mask: Booleans | None = None) -> tuple[Window, Integers]:
        """Give the reports that end in some days, as the model wants them.

        Args:
            first: the window's first day; only a part of it is covered by these reports.
            last: its last day.
            mask: reports to leave out are False.

        Returns:
            The window, and the numbers of its reports in this panel.
        """
        return cut_window(self.instance, self.day, self.share, self.running, first=first, last=last, mask=mask)


def cut_window(
    instance: Integers,
    day: Integers,
    share: Floats,
    running: Floats,
    *,
    first: int,
    last: int,
    mask: Booleans | None = None,
) -> tuple[Window, Integers]:
    """Give the reports that end in some days; see Panel."""
    chosen = (day > first) & (day <= last)
    if mask is not None:
        chosen &= mask
    reports = np.flatnonzero(chosen)
    instance, day, share = instance[reports], day[reports] - first, share[reports]
    covered = add_coverage((len(running), last - first + 1), instance, day, share)
    ran = running[:, first : last + 1]
    # The bridge authority does not reach a running bridge in every hour. Bridges that report all day show how often.
    whole = (covered > _WHOLE) & (ran > 0)
    reachable = float(ran[whole].mean()) if whole.any() else 1.0
    missing = np.maximum(np.minimum(ran / reachable, 1.0) - covered, 0)
    return Window(instance, day, share, covered, missing), reports


@dataclass(frozen=True)
class Block:
    """Days that are estimated together; all are numbers since 1970-01-01.

    Attributes:
        first: the first day to estimate.
        last: the last one.
        window_first: the first day to learn from.
        window_last: the last one.
    """

    first: int
    last: int
    window_first: int
    window_last: int


def plan_blocks(days: Iterable[int], first: int, last: int) -> list[Block]:
    """Plan the blocks that contain some days of an archive.

    Args:
        days: to be estimated.
        first: first day of the archive.
        last: its last day.
    """
    blocks = []
    for number in sorted({day // BLOCK_DAYS for day in days if first <= day <= last}):
        start, end = max(number * BLOCK_DAYS, first), min((number + 1) * BLOCK_DAYS - 1, last)
        window_first = max(end - WINDOW_DAYS + 1, first)
        window_last = min(max(end, window_first + WINDOW_DAYS - 1), last)
        blocks.append(Block(start, end, window_first, window_last))
    return blocks


def affected_days(changed: Iterable[int]) -> set[int]:
    """Say which days to estimate again when rows of some days have changed: those whose windows contain them.

    Caps depend on all of the past, but so little that this is left for the next time a day is estimated.
    """
    blocks = {day // BLOCK_DAYS + step for day in changed for step in (-1, 0, 1, 2)}
    return {day for block in blocks for day in range(block * BLOCK_DAYS, (block + 1) * BLOCK_DAYS)}


def add_coverage(shape: tuple[int, int], instance: Integers, day: Integers, share: Floats) -> Floats:
    """Sum up the shares of each instance's days that reports cover: (instance, day)."""
    index = instance.astype(np.int64) * shape[1] + day
    size = shape[0] * shape[1]
    covered = sum_by(index, share, size) + sum_by(index - 1, 1 - share, size)
    return np.minimum(covered, 1.0).reshape(shape)


def find_span(query: Query, table: str, condition: str) -> tuple[int, int] | None:
    """Find the first and the last day of an archive.

    A few bridges have wrong clocks: a day with less than a hundredth of the reports of the fullest one is not the
    archive's first or last.

    Args:
        query: runs SQL over the view.
        table: `reports` or `documents`.
        condition: which of its rows count.

    Returns:
        Their numbers since 1970-01-01, or None for an empty archive.
    """
    counts = query(f"SELECT day, COUNT(*) AS reports FROM {table} WHERE {condition} GROUP BY day")
    days, reports = integers(counts, "day"), integers(counts, "reports")
    if not len(days):
        return None
    days = days[reports * 100 >= reports.max()]
    return int(days.min()), int(days.max())


def load_panel(query: Query, first_day: int, last_day: int) -> Panel:
    """Read the reports that end after the first day and until the last, and the statuses of these days.

    Args:
        query: runs SQL over the views `reports`, `cells` and `statuses`.
        first_day: number of a day since 1970-01-01.
        last_day: the same.
    """
    days = last_day - first_day + 1
    table = query(
        "SELECT report, fingerprint, nickname, published, stats_end, ok, served, has_requests, bridge_end "
        f"FROM reports WHERE day BETWEEN {first_day} AND {last_day + 1} AND stats_seconds = {DAY} AND ok IS NOT NULL "
        f"AND stats_end > {(first_day + 1) * DAY} AND stats_end <= {(last_day + 1) * DAY} "
        f"AND published - stats_end <= {MAX_REPORT_AGE}"
    )
    statuses = query(f"SELECT day, fingerprint, hours FROM statuses WHERE day BETWEEN {first_day} AND {last_day}")
    names = np.array(
        [f"{one} {other}" for one, other in zip(texts(table, "fingerprint"), texts(table, "nickname"), strict=True)],
        dtype=object,
    )
    names, instance = np.unique(names, return_inverse=True) if len(names) else (names, np.zeros(0, np.intp))
    ends, published = integers(table, "stats_end"), integers(table, "published")
    order = choose_reports(instance, ends, published)
    pairs = [name.split(" ", 1) for name in names]
    fingerprints, nicknames = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    instance, ends = instance[order], ends[order]
    day, share = place_ends(ends, first_day)
    ok, served = integers(table, "ok")[order], integers(table, "served", -1)[order]
    listed, has_status, fingerprints_listed = read_statuses(statuses, first_day, days)
    known = set(fingerprints)
    silent = [name for name in fingerprints_listed if name not in known]
    fingerprints += silent
    nicknames += [""] * len(silent)
    rows = {name: number for number, name in enumerate(fingerprints_listed)}
    covered = add_coverage((len(fingerprints), days), instance, day, share)
    running = share_statuses(fingerprints, covered, listed, rows)
    ids = integers(table, "report")[order]
    return Panel(
        first_day=first_day,
        days=days,
        fingerprints=fingerprints,
        nicknames=nicknames,
        instance=instance.astype(np.int32),
        day=day.astype(np.int32),
        share=share,
        total=np.where(served >= 0, served, ok),
        completed=np.where(served >= 0, ok, -1),
        has_countries=np.asarray(table["has_requests"].to_numpy(zero_copy_only=False))[order].astype(bool),
        has_transports=integers(table, "bridge_end", -1)[order] >= 0,
        running=running,
        has_status=has_status,
        countries=_read_cells(query, "requests", first_day, last_day, ids),
        transports=_read_cells(query, "transports", first_day, last_day, ids),
    )


def place_ends(ends: Integers, first_day: int) -> tuple[Integers, Floats]:
    """Give the day, counted from the first one, in which each 24 hours end, and the share of them in that day.

    What ends at midnight lies in the day before as a whole.
    """
    day = (ends - 1) // DAY - first_day
    return day, (ends - (day + first_day) * DAY) / DAY


def choose_reports(instance: Integers, ends: Integers, published: Integers) -> Integers:
    """Choose one report for each interval, and none that overlaps the one before.

    Returns:
        Their numbers, sorted by instance and end.
    """
    order = np.lexsort((published, ends, instance))
    one, end = instance[order], ends[order]
    is_last = np.ones(len(order), dtype=bool)
    is_last[:-1] = (one[1:] != one[:-1]) | (end[1:] != end[:-1])
    order = order[is_last]
    one, end = instance[order], ends[order]
    kept = np.ones(len(order), dtype=bool)
    for number in np.flatnonzero((one[1:] == one[:-1]) & (np.diff(end) < DAY)) + 1:
        before = number - 1
        while before >= 0 and one[before] == one[number] and not kept[before]:
            before -= 1
        kept[number] = before < 0 or one[before] != one[number] or end[number] - end[before] >= DAY
    return order[kept]


def share_statuses(fingerprints: list[str], covered: Floats, listed: Floats, rows: Mapping[str, int]) -> Floats:
    """Say in which share of each day each instance ran, according to the statuses of its fingerprint.

    Args:
        fingerprints: of each instance.
        covered: (instance, day) what reports cover.
        listed: (fingerprint, day) share of the hours in which it was listed.
        rows: of each listed fingerprint, its row there.
    """
    running = np.zeros_like(covered)
    several: dict[str, list[int]] = {}
    for number, fingerprint in enumerate(fingerprints):
        if fingerprint in rows:
            several.setdefault(fingerprint, []).append(number)
    for fingerprint, instances in several.items():
        row = listed[rows[fingerprint]]
        if len(instances) == 1:
            running[instances[0]] = row
            continue
        reports = covered[instances] > 0
        grace = _GRACE_DAYS if (reports.sum(axis=0) > 1).any() else 0
        days = np.arange(covered.shape[1])
        first, last = reports.argmax(axis=1), covered.shape[1] - 1 - reports[:, ::-1].argmax(axis=1)
        distance = np.maximum(np.maximum(first[:, None] - grace - days, days - last[:, None] - grace), 0)
        # Where none is expected to run, the one nearest in time did.
        expected = distance == 0
        unexplained = np.flatnonzero(~expected.any(axis=0))
        expected[distance[:, unexplained].argmin(axis=0), unexplained] = True
        running[instances] = row * expected
    return running


def read_statuses(table: pa.Table, first_day: int, days: int) -> tuple[Floats, Booleans, list[str]]:
    """Read the share of a day's hours in which each fingerprint was listed, of the hours that have a status."""
    text = np.array(texts(table, "fingerprint"), dtype=object)
    names, number = np.unique(text, return_inverse=True) if len(text) else (text, np.zeros(0, np.intp))
    hours = np.zeros((len(names), days), dtype=np.int64)
    day = integers(table, "day") - first_day
    np.bitwise_or.at(hours, (number, day), integers(table, "hours"))
    observed = np.bitwise_or.reduce(hours, axis=0, initial=0) if len(names) else np.zeros(days, np.int64)
    share = np.bitwise_count(hours) / np.maximum(np.bitwise_count(observed), 1)
    return share, observed > 0, list(names)


def sort_cells(names: pa.Array, owners: Integers, numbers: Integers, ids: Integers) -> SparseNumbers:
    """Sort numbers by the name of their cell, and find their reports.

    Args:
        names: of each number's cell.
        owners: id of the report of each number.
        numbers: as published.
        ids: of the reports that are used, in their order.
    """
    keys = names.dictionary_encode()
    words, codes = keys.dictionary.to_pylist(), keys.indices.to_numpy(zero_copy_only=False)
    if not len(ids) or not len(owners):
        return SparseNumbers(np.zeros(0, np.int32), np.zeros(0, np.int32), {})
    order = np.argsort(ids)
    place = order[np.minimum(np.searchsorted(ids, owners, sorter=order), len(ids) - 1)]
    used = np.flatnonzero(ids[place] == owners)
    used = used[np.argsort(codes[used], kind="stable")]
    bounds = np.searchsorted(codes[used], np.arange(len(words) + 1))
    places = {word: slice(int(bounds[at]), int(bounds[at + 1])) for at, word in enumerate(words)}
    places = {word: where for word, where in sorted(places.items()) if where.start < where.stop}
    return SparseNumbers(place[used].astype(np.int32), numbers[used].astype(np.int32), places)


def _read_cells(query: Query, line: str, first_day: int, last_day: int, ids: Integers) -> SparseNumbers:
    """Read one line's numbers above 0 of the chosen reports."""
    table = query(
        f"SELECT report, key, number FROM cells WHERE line = '{line}' AND number > 0 "
        f"AND day BETWEEN {first_day} AND {last_day + 1}"
    )
    return sort_cells(table["key"].combine_chunks(), integers(table, "report"), integers(table, "number"), ids)


def integers(table: pa.Table, column: str, absent: int = 0) -> Any:
    """Give a column of integers as int64."""
    return table[column].fill_null(absent).combine_chunks().to_numpy(zero_copy_only=False).astype(np.int64)


def texts(table: pa.Table, column: str) -> list[str]:
    """Give a column of text."""
    values: list[str] = table[column].to_pylist()
    return values
