"""The sums over bridges that Tor Metrics' estimate is made of: the SQL of published.py, whose rules it follows.

The engine sums whole tenths, so that the sums are exact. Bridges, countries, transports and versions are numbered in
Python: joins on integers are twice as fast as on text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from obfstats.analyse.store import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from obfstats.analyse.engine import Engine
    from obfstats.analyse.store import Store

DIMENSIONS = ("", "country", "transport", "version")
"""What a cell counts by its number in the queries; 0 is a report's total."""

_DEFAULT_KEYS = ("", "??", "<OR>", "v4")
"""What gets all responses of a report that counts nothing beyond 4 in this dimension."""

_INTEGERS = frozenset({"day", "dimension", "key_number", "country", "transport"})
"""Columns that do not hold sums."""

_SHIFT = 100_000_000_000
"""`seconds * _SHIFT + tenths` sorts by the seconds first: `ok` has 32 bits, so there are fewer tenths."""


@dataclass(frozen=True, slots=True)
class PublishedSums:
    """What the engine computes: sums over bridges, not rounded. Responses and bytes are in tenths.

    Attributes:
        bytes: day, hh, nh: of bridges that report bytes, these and the seconds that they cover.
        both: day, hrh, nrh: of bridges that report both, bytes of the time with responses, and seconds with responses
            beyond those with bytes.
        running: day, nn: seconds with the flag Running.
        responses: day, country, transport, version, rrx.
        combined: day, country, transport, low, high.
    """

    bytes: pa.Table
    both: pa.Table
    running: pa.Table
    responses: pa.Table
    combined: pa.Table


def sum_responses(
    engine: Engine, store: Store, days: Iterable[int], advance: Callable[[int], None] = lambda _: None
) -> PublishedSums:
    """Compute the sums of some days, in chunks of as many as the engine takes at once.

    Args:
        engine: runs the queries.
        store: the archive.
        days: which days, as numbers.
        advance: takes the number of days that are done since the last call.
    """
    chunks = []
    for first, last in _runs(days, engine.days_at_once):
        chunks.append(_sum_chunk(engine, store, first, last))
        advance(last - first + 1)
    if not chunks:
        chunks = [_sum_chunk(engine, store, 0, -1)]
    return PublishedSums(*(pa.concat_tables(tables) for tables in zip(*chunks, strict=True)))


def _runs(days: Iterable[int], longest: int) -> Iterator[tuple[int, int]]:
    """Divide days into runs of following days; give the first and the last of each."""
    run: list[int] = []
    for day in sorted(set(days)):
        if run and (day > run[-1] + 1 or len(run) == longest):
            yield run[0], run[-1]
            run = []
        run.append(day)
    if run:
        yield run[0], run[-1]


# A report of day d has pieces of d - 1 and d, so its day is at most one after those that are estimated.
_FINGERPRINTS = """
SELECT DISTINCT fingerprint FROM reports WHERE day BETWEEN {first} AND {last} + 1
UNION SELECT DISTINCT fingerprint FROM histories WHERE day BETWEEN {first} AND {last} + 1
"""

_DIMENSION = "CASE line WHEN 'transports' THEN 2 WHEN 'versions' THEN 3 ELSE 1 END"

_KEYS = "SELECT DISTINCT {dimension} AS dimension, key FROM cells WHERE day BETWEEN {first} AND {last} + 1"

_RESPONSES = """
SELECT r.report, b.bridge, r.has_requests, CAST(r.ok - 4 AS DOUBLE) AS responses,
    r.stats_end // 86400 AS end_day, r.stats_end % 86400 AS end_second
FROM reports r JOIN bridges b ON b.fingerprint = r.fingerprint
WHERE r.day BETWEEN {first} AND {last} + 1 AND r.ok > 4 AND r.stats_seconds = 86400
    AND r.published - r.stats_end <= 604800
"""

# Both pieces have seconds of their own day. A piece ends or begins at midnight, or both.
_PIECES = """
SELECT report, bridge, responses, end_day - 1 AS day, end_second AS start_second, 86400 AS end_second
FROM responses WHERE end_day - 1 BETWEEN {first} AND {last}
UNION ALL
SELECT report, bridge, responses, end_day, 0, end_second
FROM responses WHERE end_second > 0 AND end_day BETWEEN {first} AND {last}
"""

# Where all pieces that begin at midnight end before the others begin, no piece of another instance can overlap.
_OVERLAPPING_DAYS = """
SELECT bridge, day FROM pieces GROUP BY bridge, day
HAVING max(CASE WHEN start_second = 0 THEN end_second END) > min(CASE WHEN start_second > 0 THEN start_second END)
"""

_WEIGHTS = """
SELECT r.report, k.dimension, k.key_number, CAST(c.number - 4 AS DOUBLE) AS weight
FROM cells c JOIN responses r ON r.report = c.report JOIN keys k ON k.key = c.key AND k.dimension = {dimension}
WHERE c.day BETWEEN {first} AND {last} + 1 AND c.number >= 4
    AND c.line <> CASE WHEN r.has_requests THEN 'ips' ELSE 'requests' END
"""

_WEIGHT_SUMS = "SELECT report, dimension, sum(weight) AS total FROM weights GROUP BY report, dimension"

# The first row of a report is its total, the last are the default keys of dimensions without a weight.
_SHARES = """
SELECT report, 0 AS dimension, 0 AS key_number, 1 AS weight, 1 AS total FROM responses
UNION ALL
SELECT w.report, w.dimension, w.key_number, w.weight, greatest(t.total, 1)
FROM weights w JOIN weight_sums t ON t.report = w.report AND t.dimension = w.dimension
JOIN default_keys d ON d.dimension = w.dimension
WHERE t.total > 0 OR w.key_number <> d.key_number
UNION ALL
SELECT r.report, d.dimension, d.key_number, 1, 1
FROM responses r CROSS JOIN default_keys d
LEFT JOIN weight_sums t ON t.report = r.report AND t.dimension = d.dimension
WHERE coalesce(t.total, 0) = 0
"""

_CELL_PIECES = """
SELECT p.bridge, p.day, s.dimension, s.key_number, p.start_second, p.end_second,
    CAST(floor(p.responses * (CAST(p.end_second - p.start_second AS DOUBLE) / 86400) * s.weight / s.total * 10 + 0.5)
        AS BIGINT) AS tenths
FROM pieces p JOIN shares s ON s.report = p.report LEFT JOIN overlapping_days o ON o.bridge = p.bridge AND o.day = p.day
"""

_OVERLAPPING_CELLS = "{cell_pieces} WHERE o.bridge IS NOT NULL"

_MORNINGS = """
SELECT bridge, day, dimension, key_number, min(end_second * {shift} + tenths) AS morning
FROM overlapping_cells WHERE start_second = 0 GROUP BY bridge, day, dimension, key_number
"""

# The merge: of the pieces that begin at midnight, the one that ends first; then the first that begins at its end or
# later. That one ends at midnight, so no other can follow.
_CELLS = """
SELECT bridge, day, dimension, key_number,
    CAST(coalesce(morning // {shift}, 0) + 86400 - coalesce(evening // {shift}, 86400) AS DOUBLE) AS seconds,
    CAST(coalesce(morning % {shift}, 0) + coalesce(evening % {shift}, 0) AS DOUBLE) AS tenths
FROM (
    SELECT bridge, day, dimension, key_number,
        min(CASE WHEN start_second = 0 THEN end_second * {shift} + tenths END) AS morning,
        min(CASE WHEN start_second > 0 THEN start_second * {shift} + tenths END) AS evening
    FROM ({cell_pieces} WHERE o.bridge IS NULL) AS cell_pieces
    GROUP BY bridge, day, dimension, key_number
    UNION ALL
    SELECT c.bridge, c.day, c.dimension, c.key_number, min(m.morning) AS morning,
        min(CASE WHEN c.start_second > 0 AND c.start_second >= coalesce(m.morning // {shift}, 0)
            THEN c.start_second * {shift} + c.tenths END) AS evening
    FROM overlapping_cells c LEFT JOIN mornings m ON m.bridge = c.bridge AND m.day = c.day
        AND m.dimension = c.dimension AND m.key_number = c.key_number
    GROUP BY c.bridge, c.day, c.dimension, c.key_number
) AS merged
"""

# Descriptors repeat a history, so the same interval comes several times.
_BYTE_PIECES = """
SELECT bridge, day, start_second, end_second, min(tenths) AS tenths
FROM (
    SELECT bridge, day, start_second, end_second,
        floor(bytes * (CAST(end_second - start_second AS DOUBLE) / seconds) * 10 + 0.5) AS tenths
    FROM (
        SELECT b.bridge, h.start_time // 86400 AS day, h.start_time % 86400 AS start_second,
            CASE WHEN h.start_time // 86400 < h.end_time // 86400 THEN 86400 ELSE h.end_time % 86400 END AS end_second,
            h.end_time - h.start_time AS seconds, CAST(h.bytes AS DOUBLE) AS bytes
        FROM valid_histories h JOIN bridges b ON b.fingerprint = h.fingerprint
        UNION ALL
        SELECT b.bridge, h.end_time // 86400, 0, h.end_time % 86400, h.end_time - h.start_time, CAST(h.bytes AS DOUBLE)
        FROM valid_histories h JOIN bridges b ON b.fingerprint = h.fingerprint
        WHERE h.start_time // 86400 < h.end_time // 86400
    ) AS intervals
    WHERE day BETWEEN {first} AND {last}
) AS pieces
GROUP BY bridge, day, start_second, end_second
"""

# An interval of tor has 15 minutes, 4 hours or a day. A longer one would have seconds of days that are not read.
_VALID_HISTORIES = """
SELECT fingerprint, start_time, end_time, bytes FROM histories
WHERE day BETWEEN {first} AND {last} + 1 AND published - history_end <= 604800
    AND end_time - start_time BETWEEN 1 AND 86400
"""

_BYTE_OVERLAPS = """
SELECT DISTINCT bridge, day
FROM (
    SELECT bridge, day, start_second,
        lag(end_second) OVER (PARTITION BY bridge, day ORDER BY start_second, end_second) AS last_end
    FROM byte_pieces
) AS pieces
WHERE start_second < last_end
"""

_OVERLAPPING_BYTES = """
SELECT p.bridge, p.day, p.start_second, p.end_second, p.tenths
FROM byte_pieces p JOIN byte_overlaps o ON o.bridge = p.bridge AND o.day = p.day
ORDER BY bridge, day, start_second, end_second
"""

_BYTE_DAYS = """
SELECT p.bridge, p.day, sum(CAST(p.end_second - p.start_second AS DOUBLE)) AS seconds, sum(p.tenths) AS tenths
FROM byte_pieces p LEFT JOIN byte_overlaps o ON o.bridge = p.bridge AND o.day = p.day
WHERE o.bridge IS NULL GROUP BY p.bridge, p.day
UNION ALL
SELECT bridge, day, seconds, tenths FROM merged_bytes
"""

_BYTES = "SELECT day, sum(tenths) AS hh, sum(seconds) AS nh FROM byte_days GROUP BY day"

# A history that ends at midnight has a second piece of 0 s, so `seconds` can be 0.
_BOTH = """
SELECT b.day,
    sum(CASE WHEN b.seconds > 0 THEN least(b.seconds, c.seconds) * b.tenths / b.seconds ELSE 0 END) AS hrh,
    sum(greatest(0, c.seconds - b.seconds)) AS nrh
FROM byte_days b JOIN cells_by_bridge c ON c.bridge = b.bridge AND c.day = b.day
WHERE c.dimension = 0 GROUP BY b.day
"""

_RUNNING = """
SELECT day, sum(bit_count(hours)) * 3600 AS nn
FROM (
    SELECT fingerprint, day, bit_or(hours) AS hours FROM statuses WHERE day BETWEEN {first} AND {last}
    GROUP BY fingerprint, day
) AS bridge_days
GROUP BY day
"""

_RESPONSE_SUMS = """
SELECT day, dimension, key_number, sum(tenths) AS rrx FROM cells_by_bridge GROUP BY day, dimension, key_number
"""

_COMBINED = """
SELECT c.day, c.key_number AS country, t.key_number AS transport,
    sum(greatest(0, c.tenths + t.tenths - s.tenths)) AS low, sum(least(c.tenths, t.tenths)) AS high
FROM cells_by_bridge c
JOIN cells_by_bridge t ON t.bridge = c.bridge AND t.day = c.day
JOIN cells_by_bridge s ON s.bridge = c.bridge AND s.day = c.day
WHERE c.dimension = 1 AND t.dimension = 2 AND s.dimension = 0 AND c.tenths > 0 AND t.tenths > 0 AND s.tenths > 0
GROUP BY c.day, c.key_number, t.key_number
"""


def _sum_chunk(engine: Engine, store: Store, first: int, last: int) -> tuple[pa.Table, ...]:
    """Compute the sums of the days from `first` to `last`; see PublishedSums."""

    def write(sql: str) -> str:
        return sql.format(first=first, last=last, shift=_SHIFT, dimension=_DIMENSION, cell_pieces=_CELL_PIECES)

    def keep(name: str, sql: str) -> None:
        engine.create_table(name, write(sql))

    def fetch(sql: str) -> pa.Table:
        return engine.query(write(sql))

    for name in ("reports", "cells", "histories", "statuses"):
        engine.open_table(name, store.files(name, range(first, last + 2)), SCHEMAS[name])
    keys = _number_keys(fetch(_KEYS))
    engine.create_table("keys", keys)
    engine.create_table("default_keys", keys.slice(1, len(DIMENSIONS) - 1).select(["dimension", "key_number"]))
    engine.create_table("bridges", _number_rows(fetch(_FINGERPRINTS), "bridge"))

    keep("responses", _RESPONSES)
    keep("pieces", _PIECES)
    keep("overlapping_days", _OVERLAPPING_DAYS)
    keep("weights", _WEIGHTS)
    keep("weight_sums", _WEIGHT_SUMS)
    keep("shares", _SHARES)
    keep("overlapping_cells", _OVERLAPPING_CELLS)
    keep("mornings", _MORNINGS)
    keep("cells_by_bridge", _CELLS)

    keep("valid_histories", _VALID_HISTORIES)
    keep("byte_pieces", _BYTE_PIECES)
    keep("byte_overlaps", _BYTE_OVERLAPS)
    engine.create_table("merged_bytes", _merge_pieces(fetch(_OVERLAPPING_BYTES)))
    keep("byte_days", _BYTE_DAYS)

    return (
        _numbers(fetch(_BYTES)),
        _numbers(fetch(_BOTH)),
        _numbers(fetch(_RUNNING)),
        _name_keys(_numbers(fetch(_RESPONSE_SUMS)), keys),
        _name_pairs(_numbers(fetch(_COMBINED)), keys),
    )


def _number_keys(found: pa.Table) -> pa.Table:
    """Number the keys of cells: first the total, then the default keys of each dimension, then all others."""
    keys = list(enumerate(_DEFAULT_KEYS))
    keys += sorted(set(zip(*found.to_pydict().values(), strict=True)) - set(keys))
    return _number_rows(
        pa.table(
            {
                "dimension": pa.array([dimension for dimension, _ in keys], pa.int32()),
                "key": pa.array([key for _, key in keys], pa.string()),
            }
        ),
        "key_number",
    )


def _number_rows(table: pa.Table, name: str) -> pa.Table:
    """Add a column with the numbers of the rows."""
    return table.append_column(name, pa.array(range(table.num_rows), pa.int32()))


def _merge_pieces(pieces: pa.Table) -> pa.Table:
    """Merge pieces of which some overlap; see the rules above.

    Args:
        pieces: bridge, day, start_second, end_second, tenths; sorted.

    Returns:
        bridge, day, seconds, tenths: sums of the pieces that are kept.
    """
    sums: dict[tuple[int, int], tuple[int, float, float]] = {}
    for bridge, day, start, end, tenths in zip(*pieces.to_pydict().values(), strict=True):
        last_end, seconds, total = sums.get((bridge, day), (0, 0.0, 0.0))
        if start >= last_end:
            sums[bridge, day] = end, seconds + end - start, total + tenths
    return pa.table(
        {
            "bridge": pa.array([bridge for bridge, _ in sums], pa.int32()),
            "day": pa.array([day for _, day in sums], pa.int64()),
            "seconds": pa.array([seconds for _, seconds, _ in sums.values()], pa.float64()),
            "tenths": pa.array([tenths for _, _, tenths in sums.values()], pa.float64()),
        }
    )


def _numbers(sums: pa.Table) -> pa.Table:
    """Give the columns the same types, whatever an engine has for a sum."""
    return pa.table(
        {name: sums[name].cast(pa.int32() if name in _INTEGERS else pa.float64()) for name in sums.column_names}
    )


def _name_keys(sums: pa.Table, keys: pa.Table) -> pa.Table:
    """Replace the numbers of keys by their names in columns of country, transport and version."""
    dimensions = sums["dimension"].to_numpy()
    names = keys["key"].take(sums["key_number"]).to_numpy()
    columns = {
        name: pa.array(np.where(dimensions == number, names, ""), pa.string())
        for number, name in enumerate(DIMENSIONS)
        if number
    }
    return pa.table({"day": sums["day"], **columns, "rrx": sums["rrx"]})


def _name_pairs(sums: pa.Table, keys: pa.Table) -> pa.Table:
    """Replace the numbers of a country and a transport by their names."""
    return pa.table(
        {
            "day": sums["day"],
            "country": keys["key"].take(sums["country"]),
            "transport": keys["key"].take(sums["transport"]),
            "low": sums["low"],
            "high": sums["high"],
        }
    )
