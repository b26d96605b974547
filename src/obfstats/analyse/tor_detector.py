"""Tor Metrics' detector of possible censorship events, exactly as its own code computes it.

G. Danezis, "An anomaly-based censorship-detection system for Tor", Tor Tech Report 2011-09-001. A country's users are
compared with those of the same country seven days before; the ratios that the largest countries had on that day tell
how much change is normal.

- Largest countries: the 50 with the most users on the last day. So later days may change the ranges of earlier ones.
- Normal ratios of a day: those of the largest countries within median +- 4 interquartile ranges. With fewer than eight
  of them the day has no ranges.
- Range of a country: quantiles of the ratio's normal distribution times quantiles of a Poisson distribution around the
  number seven days before. Outside of it is an event.

Tor Metrics looks at relay users only. Here every node type is looked at on its own, so bridge users get ranges as well.
"""

from __future__ import annotations

from functools import lru_cache
from math import isqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEEK_DAYS: Final = 7
LARGEST: Final = 50
MIN_RATIOS: Final = 8
TAIL: Final = 0.0001
"""Probability of a number below the range, and of one above it."""

CLIENTS_CSV_SCHEMA: Final = pa.schema(
    [
        pa.field("date", pa.date32()),
        pa.field("node", pa.string()),
        pa.field("country", pa.string()),
        pa.field("transport", pa.string()),
        pa.field("version", pa.string()),
        pa.field("lower", pa.int64()),  # null where there is no range
        pa.field("upper", pa.int64()),
        pa.field("clients", pa.int64()),
        pa.field("frac", pa.int64()),
    ]
)
"""The columns of Tor Metrics' clients.csv."""

_NOT_A_COUNTRY = ("", "??")
_SORT_ORDER = [(name, "ascending") for name in ("date", "node", "country", "transport", "version")]


class Ranges(NamedTuple):
    """The ranges of one kind of node.

    Attributes:
        lower: [day, country], the smallest normal number; NaN where there is no range.
        upper: [day, country], the largest one.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


def add_ranges(userstats: pa.Table) -> pa.Table:
    """Add the range of normal numbers to the published estimate.

    Args:
        userstats: date, node, country, transport, version, frac, users; several rows never have the same first five.

    Returns:
        The same rows with the columns of `CLIENTS_CSV_SCHEMA`, sorted.
    """
    table = userstats.sort_by(_SORT_ORDER)
    lower = np.full(len(table), np.nan)
    upper = np.full(len(table), np.nan)
    is_country = pc.and_(
        pc.and_(pc.equal(table["transport"], ""), pc.equal(table["version"], "")),
        pc.invert(pc.is_in(table["country"], value_set=pa.array(_NOT_A_COUNTRY))),
    )
    for node in pc.unique(table["node"]):
        rows = np.flatnonzero(pc.and_(is_country, pc.equal(table["node"], node)))
        if not len(rows):
            continue
        part = table.take(rows)
        days = part["date"].cast(pa.int32()).to_numpy()
        first = days.min()
        countries = part["country"].combine_chunks().dictionary_encode()
        columns = countries.indices.to_numpy()
        users = np.full((days.max() - first + 1, len(countries.dictionary)), np.nan)
        users[days - first, columns] = part["users"].to_numpy()
        ranges = compute_ranges(users)
        lower[rows] = ranges.lower[days - first, columns]
        upper[rows] = ranges.upper[days - first, columns]
    columns = {name: table[name] for name in ("date", "node", "country", "transport", "version", "frac")}
    columns |= {"lower": _to_integers(lower), "upper": _to_integers(upper), "clients": table["users"]}
    return pa.table({field.name: columns[field.name] for field in CLIENTS_CSV_SCHEMA}).cast(CLIENTS_CSV_SCHEMA)


def _to_integers(values: NDArray[np.float64]) -> pa.Array:
    return pa.array(np.nan_to_num(values).astype(np.int64), mask=np.isnan(values))


def compute_ranges(users: NDArray[np.float64]) -> Ranges:
    """Compute the range of every number.

    Args:
        users: [day, country], whole numbers; NaN where there is none. Consecutive days, without `` and `??`.

    Returns:
        The ranges, NaN where the country has no number seven days before, or where the day has too few ratios.
    """
    lower = np.full_like(users, np.nan)
    upper = np.full_like(users, np.nan)
    largest = np.argsort(np.nan_to_num(-users[-1], nan=0), kind="stable")[:LARGEST]
    for day in range(WEEK_DAYS, len(users)):
        before = users[day - WEEK_DAYS]
        has_ratio = (before[largest] > 0) & ~np.isnan(users[day, largest])
        ratios = (users[day, largest] / np.where(before[largest] > 0, before[largest], 1))[has_ratio]
        if len(ratios) < MIN_RATIOS:
            continue
        low, middle, high = np.percentile(ratios, (25, 50, 75))
        normal = ratios[(ratios > middle - 4 * (high - low)) & (ratios < middle + 4 * (high - low))]
        if len(normal) < MIN_RATIOS:
            continue
        mean, deviation = float(normal.mean()), float(normal.std())
        distance = NormalDist().inv_cdf(1 - TAIL) * deviation
        for country in np.flatnonzero(before > 0):
            fewest, most = poisson_range(int(before[country]))
            lower[day, country] = max(0, int((mean - distance) * fewest))
            upper[day, country] = int((mean + distance) * most)
    return Ranges(lower, upper)


@lru_cache(maxsize=1 << 17)
def poisson_range(mean: int) -> tuple[int, int]:
    """Give two quantiles of a Poisson distribution.

    Args:
        mean: its mean, at least 1.

    Returns:
        The smallest numbers up to which its probability is at least `TAIL`, and at least 1 - `TAIL`.
    """
    # Less than 1e-14 is beyond eight standard deviations.
    width = 8 * isqrt(mean) + 20
    lowest = max(0, mean - width)
    logarithms = np.cumsum(np.log(mean / np.arange(lowest + 1, mean + width)))
    probabilities = np.exp(np.concatenate(([0.0], logarithms)) - logarithms.max())
    probabilities /= probabilities.sum()
    # Summed from above: next to 1 a double cannot tell small tails apart.
    beyond = np.cumsum(probabilities[::-1])[::-1]
    lower = np.searchsorted(np.cumsum(probabilities), TAIL)
    upper = len(beyond) - 1 - np.searchsorted(beyond[::-1], TAIL, side="right")
    return lowest + int(lower), lowest + int(upper)
