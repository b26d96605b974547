"""Tor Metrics' published estimate of daily bridge users, exactly as its own code computes it.

Its "users" is a number of concurrent clients, averaged over a day: directory requests divided by 10. It is computed in
four steps. Rules of metrics-web (2020-12-17), which wrote tests/analyse/golden/:

Import
    A report counts if it has dirreq-v3-resp with more than 4 `ok` answers over exactly 86,400 s and was published at
    most 7 days after their end. The interval is cut at the UTC midnight before its end; each piece gets a share of
    `ok - 4` by its seconds. Countries, transports and versions get shares of a piece by what they count beyond 4.
    Values of dirreq-write-history are cut in the same way. An hour with a status that has the flag Running counts as
    3,600 s. Each value is rounded half up to one decimal.
Merge
    For each bridge, UTC day of the start, and country, transport or version: pieces are taken in the order of start,
    end and value; one that begins before the end of the last that was taken is dropped.
Aggregate
    For each day, over bridges. `frac` is the share of the bridges' time that the responses cover, weighted with bytes:
    (hrh * nh + hh * nrh) / (hh * nn), as in Tor's tech report 2012-10-001; users = responses / (10 * frac).
Combine
    For each day, country and transport: how many responses a bridge has at least and at most for both.

published_sums.py does the first three with SQL and the sums of the fourth; here they become numbers, rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from obfstats.analyse.published_sums import DIMENSIONS, sum_responses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from obfstats.analyse.engine import Engine
    from obfstats.analyse.published_sums import PublishedSums
    from obfstats.analyse.store import Store

USERSTATS_ORDER = (
    ("date", "descending"),
    ("version", "ascending"),
    ("transport", "ascending"),
    ("country", "ascending"),
)
COMBINED_ORDER = (("date", "ascending"), ("country", "ascending"), ("transport", "ascending"))

_MIN_FRAC = 0.1
_MAX_FRAC = 1.1
_MAX_COMBINED_FRAC = 1.0
_TENTHS = 10
_REQUESTS = 10
"""Directory requests of a client in a day."""


@dataclass(frozen=True, slots=True)
class PublishedTables:
    """The estimate.

    Attributes:
        userstats: date, node, country, transport, version, frac (percent), users. Latest date first.
        combined: date, node, country, transport, version (empty), frac, low, high.
    """

    userstats: pa.Table
    combined: pa.Table


def estimate_published(
    engine: Engine,
    store: Store,
    days: Iterable[int],
    advance: Callable[[int], None] = lambda _: None,
) -> PublishedTables:
    """Estimate the users of some UTC days.

    Args:
        engine: runs the queries.
        store: the archive.
        days: which days to estimate, as numbers.
        advance: takes the number of days that are done since the last call.

    Returns:
        The rows of those days whose `frac` is within the limits.
    """
    return round_estimates(sum_responses(engine, store, days, advance))


def affected_days(changed: Iterable[int]) -> set[int]:
    """Name the UTC days whose estimate may depend on rows of the store with these days.

    Args:
        changed: values of the column `day`, which is that of an interval's end. Intervals have at most 24 hours.
    """
    return {day - before for day in changed for before in (0, 1)}


def round_estimates(sums: PublishedSums) -> PublishedTables:
    """Make estimates of sums: the only place where they are rounded.

    Args:
        sums: of any days.
    """
    fracs = compute_fracs(sums)
    userstats = _estimate(sums.responses, {"users": "rrx"}, fracs, _MAX_FRAC)
    combined = _estimate(sums.combined, {"low": "low", "high": "high"}, fracs, _MAX_COMBINED_FRAC)
    combined = combined.add_column(4, "version", pa.array([""] * combined.num_rows, pa.string()))
    return PublishedTables(userstats.sort_by(USERSTATS_ORDER), combined.sort_by(COMBINED_ORDER))


def compute_fracs(sums: PublishedSums) -> dict[int, float]:
    """Compute `frac` for each day that has bytes and running bridges."""
    both = {day: (hrh, nrh) for day, hrh, nrh in zip(*sums.both.to_pydict().values(), strict=True)}
    running = dict(zip(*sums.running.to_pydict().values(), strict=True))
    fracs = {}
    for day, hh, nh in zip(*sums.bytes.to_pydict().values(), strict=True):
        hrh, nrh = both.get(day, (0.0, 0.0))
        if hh * running.get(day, 0.0) > 0:
            fracs[day] = (hrh * nh + hh * nrh) / (hh * running[day])
    return fracs


def _estimate(sums: pa.Table, results: dict[str, str], fracs: dict[int, float], max_frac: float) -> pa.Table:
    """Divide sums by `frac`, and round them half to even as PostgreSQL does.

    Args:
        sums: with a day, names of cells, and the columns that `results` names.
        results: the name of each result and of the column of `sums` that it is made of.
        fracs: by day.
        max_frac: rows of days above it are left out.
    """
    frac_of_rows = np.array([fracs.get(day, 0.0) for day in sums["day"].to_pylist()])
    published = (frac_of_rows >= _MIN_FRAC) & (frac_of_rows <= max_frac)
    sums = sums.filter(pa.array(published))
    fracs_kept = frac_of_rows[published]
    columns = {
        "date": sums["day"].cast(pa.date32()),
        "node": pa.array(["bridge"] * sums.num_rows, pa.string()),
        **{name: sums[name] for name in sums.column_names if name in DIMENSIONS},
        "frac": np.rint(fracs_kept * 100).astype(np.int64),
    }
    for name, source in results.items():
        responses = sums[source].to_numpy() / _TENTHS
        columns[name] = np.rint(responses / (fracs_kept * _REQUESTS)).astype(np.int64)
    return pa.table(columns)
