"""Columns of text become the typed rows of the store's tables (store.py); DuckDB interprets a whole batch at once.

Rules:

- A descriptor of which one known line is not of the grammar is damaged and left out as a whole.
- The grammar is that of dir-spec; further arguments on a line are ignored, as dir-spec asks.
- Times are valid dates of the years 2000 to 2099, numbers have at most nine digits (bytes 18) and no sign, so every
  number fits its column.
- Country codes are two characters; transports and versions any printable characters but `=`, `,` and blank. A name
  that a line has twice makes two rows.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from obfstats.analyse.descriptors import DOCUMENT, EXTRA_INFO, SERVER, STATUS, Damage
from obfstats.analyse.store import SCHEMAS
from obfstats.formats.document import DocumentError, read_documents
from obfstats.formats.interval import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from obfstats.analyse.descriptors import DocumentText, TextColumns

_TIME = "20[0-9]{2}-[0-9]{2}-[0-9]{2} (?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}"
_END = rf"{_TIME} \([0-9]{{1,9}} s\)"
_REST = "(?: .*)?"
_KEY = "[!-+--<>-~]"
_EARLIEST = 946_684_800
"""2000-01-01."""


def _numbers(key: str) -> str:
    """Give the grammar of a line of `KEY=N` cells."""
    return f"(?:{key}=[0-9]{{1,9}}(?:,{key}=[0-9]{{1,9}})*)?{_REST}"


def _seconds(text: str) -> str:
    """Give the SQL for the seconds since 1970 of a time that a text begins with; null where there is no such date."""
    return f"epoch_us(try_cast(left({text}, 19) AS TIMESTAMP)) // 1000000"


def _length(text: str) -> str:
    """Give the SQL for N of `YYYY-MM-DD HH:MM:SS (N s)`."""
    return f"CAST(split_part(substr({text}, 22), ' ', 1) AS INTEGER)"


def _is_wrong(column: str, grammar: str) -> str:
    return f"NOT regexp_full_match({column}, '{grammar}')"


_EXTRA_INFOS = f"""
CREATE OR REPLACE TEMP TABLE typed AS
WITH checked AS (
    SELECT *, CASE
        WHEN {_is_wrong("head", "[A-Za-z0-9]+ [0-9A-Fa-f]{40}" + _REST)} THEN 'extra-info'
        WHEN published IS NULL OR {_is_wrong("published", _TIME + _REST)} THEN 'published'
        WHEN {_is_wrong("stats_end", _END + _REST)} THEN 'dirreq-stats-end'
        WHEN {_is_wrong("responses", _numbers("[a-z0-9-]+"))} THEN 'dirreq-v3-resp'
        WHEN {_is_wrong("requests", _numbers("[A-Za-z0-9?]{2}"))} THEN 'dirreq-v3-reqs'
        WHEN {_is_wrong("bridge_end", _END + _REST)} THEN 'bridge-stats-end'
        WHEN {_is_wrong("ips", _numbers("[A-Za-z0-9?]{2}"))} THEN 'bridge-ips'
        WHEN {_is_wrong("transports", _numbers(_KEY + "+"))} THEN 'bridge-ip-transports'
        WHEN {_is_wrong("versions", _numbers(_KEY + "+"))} THEN 'bridge-ip-versions'
        WHEN {_is_wrong("history", _END + "(?: (?:[0-9]{1,18}(?:,[0-9]{1,18})*)?)?" + _REST)}
            THEN 'dirreq-write-history'
    END AS problem FROM extra_infos
), valued AS (
    SELECT line, source, problem, requests, ips, transports, versions,
        (CAST(source AS BIGINT) << 40) + "offset" AS report,
        upper(substr(head, strpos(head, ' ') + 1, 40)) AS fingerprint,
        split_part(head, ' ', 1) AS nickname,
        {_seconds("published")} AS published,
        stats_end IS NOT NULL AS has_stats_end,
        {_seconds("stats_end")} AS stats_end,
        CASE WHEN problem IS NULL THEN {_length("stats_end")} END AS stats_seconds,
        CASE WHEN problem IS NULL
            THEN ',' || split_part(responses, ' ', 1) END AS responses,
        bridge_end IS NOT NULL AS has_bridge_end,
        {_seconds("bridge_end")} AS bridge_end,
        CASE WHEN problem IS NULL THEN {_length("bridge_end")} END AS bridge_seconds,
        history IS NOT NULL AS has_history,
        {_seconds("history")} AS history_end,
        CASE WHEN problem IS NULL THEN {_length("history")} END AS history_seconds,
        CASE WHEN problem IS NULL THEN string_split(nullif(split_part(history, ' ', 5), ''), ',') END AS history
    FROM checked
)
SELECT * REPLACE (CASE
        WHEN problem IS NOT NULL THEN problem
        WHEN published IS NULL THEN 'published'
        WHEN has_stats_end AND (stats_end IS NULL OR stats_seconds = 0) THEN 'dirreq-stats-end'
        WHEN has_bridge_end AND (bridge_end IS NULL OR bridge_seconds = 0) THEN 'bridge-stats-end'
        WHEN has_history AND (history_end IS NULL OR history_seconds = 0
            OR history_end - coalesce(len(history), 0) * CAST(history_seconds AS BIGINT) < {_EARLIEST})
            THEN 'dirreq-write-history'
    END AS problem),
    CAST(coalesce(stats_end, bridge_end, published) // 86400 AS INTEGER) AS day
FROM valued
"""

_REPORTS = """
SELECT report, source, day, fingerprint, nickname, published, stats_end, stats_seconds,
    CAST(nullif(split_part(split_part(responses, ',ok=', 2), ',', 1), '') AS INTEGER) AS ok,
    CAST(nullif(split_part(split_part(responses, ',served=', 2), ',', 1), '') AS INTEGER) AS served,
    requests IS NOT NULL AS has_requests, bridge_end, bridge_seconds
FROM typed WHERE problem IS NULL
"""

_CELLS = " UNION ALL ".join(
    f"""
SELECT report, source, day, '{line}' AS line, {key} AS key, CAST(split_part(cell, '=', 2) AS INTEGER) AS number
FROM (
    SELECT report, source, day, unnest(string_split(nullif(split_part({line}, ' ', 1), ''), ',')) AS cell
    FROM typed WHERE problem IS NULL
)"""
    for line, key in (
        ("requests", "lower(split_part(cell, '=', 1))"),
        ("ips", "lower(split_part(cell, '=', 1))"),
        ("transports", "split_part(cell, '=', 1)"),
        ("versions", "split_part(cell, '=', 1)"),
    )
)

# Values are in the order of time; the last ends at the history's end (dir-spec, dirreq-write-history).
_HISTORIES = """
SELECT source, CAST(end_time // 86400 AS INTEGER) AS day, fingerprint, nickname, published, history_end,
    end_time - history_seconds AS start_time, end_time, CAST(value AS BIGINT) AS bytes
FROM (
    SELECT source, fingerprint, nickname, published, history_end, history_seconds, value,
        history_end - (length - number) * CAST(history_seconds AS BIGINT) AS end_time
    FROM (
        SELECT *, len(history) AS length, unnest(history) AS value, generate_subscripts(history, 1) AS number
        FROM typed WHERE problem IS NULL
    )
)
"""

_STATUSES = f"""
CREATE OR REPLACE TEMP TABLE typed AS
WITH bad AS (
    SELECT DISTINCT status FROM entries
    WHERE {_is_wrong("entry", "[A-Za-z0-9]+ [A-Za-z0-9+/]{27} .*")}
)
SELECT line, source, {_seconds("published")} AS time, CASE
    WHEN published IS NULL OR {_is_wrong("published", _TIME + _REST)} OR time IS NULL THEN 'published'
    WHEN line IN (SELECT status FROM bad) THEN 'r'
END AS problem
FROM statuses
"""

_RUNNING = """
SELECT source, CAST(time // 86400 AS INTEGER) AS day,
    hex(from_base64(split_part(entry, ' ', 2) || '=')) AS fingerprint,
    CAST(bit_or(1 << CAST(time % 86400 // 3600 AS INTEGER)) AS INTEGER) AS hours
FROM entries JOIN typed ON status = line
WHERE problem IS NULL
GROUP BY ALL
"""

_SERVERS = f"""
CREATE OR REPLACE TEMP TABLE typed AS
SELECT line, source, split_part(head, ' ', 1) AS nickname, replace(identity, ' ', '') AS identity, platform,
    {_seconds("published")} AS time, CASE
        WHEN {_is_wrong("head", "[A-Za-z0-9]+ .*")} THEN 'router'
        WHEN published IS NULL OR {_is_wrong("published", _TIME + _REST)} OR time IS NULL THEN 'published'
        WHEN identity IS NULL OR {_is_wrong("replace(identity, ' ', '')", "[0-9A-Fa-f]{40}")} THEN 'fingerprint'
    END AS problem
FROM servers
"""

_VERSIONS = """
SELECT source, CAST(time // 86400 AS INTEGER) AS day, upper(identity) AS fingerprint, nickname, time AS published,
    CASE WHEN starts_with(platform, 'Tor ') THEN nullif(split_part(platform, ' ', 2), '') END AS tor
FROM typed WHERE problem IS NULL
"""


class TableMaker:
    """Makes typed tables of batches, with one DuckDB."""

    def __init__(self, memory_limit: str = "256MB") -> None:
        self._duckdb = duckdb.connect(config={"threads": 1, "memory_limit": memory_limit})

    def close(self) -> None:
        """Free DuckDB's memory."""
        self._duckdb.close()

    def make(self, columns: TextColumns) -> tuple[dict[str, pa.Table], Counter[str], list[Damage]]:
        """Interpret a batch.

        Returns:
            The rows by table (SCHEMAS), how many descriptors were read by kind, and the damaged ones, those of the
            split included.
        """
        read: Counter[str] = Counter()
        damaged = list(columns.damaged)
        tables = {}
        for kind, names, typing, queries in (
            (
                EXTRA_INFO,
                {"extra_infos": columns.extra_infos},
                _EXTRA_INFOS,
                {"reports": _REPORTS, "cells": _CELLS, "histories": _HISTORIES},
            ),
            (STATUS, {"statuses": columns.statuses, "entries": columns.entries}, _STATUSES, {"statuses": _RUNNING}),
            (SERVER, {"servers": columns.servers}, _SERVERS, {"servers": _VERSIONS}),
        ):
            count = next(iter(names.values())).num_rows
            if not count:
                continue
            for name, table in names.items():
                self._duckdb.register(name, table)
            self._duckdb.execute(typing)
            problems = self._duckdb.execute(
                "SELECT problem, line FROM typed WHERE problem IS NOT NULL ORDER BY line"
            ).fetchall()
            damaged += [Damage(kind, f"wrong {keyword} line", line) for keyword, line in problems]
            read[kind] += count - len(problems)
            for table, query in queries.items():
                tables[table] = self._duckdb.sql(query).to_arrow_table().cast(SCHEMAS[table])
        if columns.documents:
            tables |= _make_documents(columns.documents, read, damaged)
        return tables, read, damaged

    def merge_statuses(self, rows: pa.Table) -> pa.Table:
        """Merge rows of `statuses` so that there is one for each source, day and bridge."""
        self._duckdb.register("rows", rows)
        query = "SELECT source, day, fingerprint, bit_or(hours) AS hours FROM rows GROUP BY ALL"
        return self._duckdb.sql(query).to_arrow_table().cast(SCHEMAS["statuses"])


def _make_documents(texts: Iterable[DocumentText], read: Counter[str], damaged: list[Damage]) -> Mapping[str, pa.Table]:
    documents, cells = [], []
    for text in texts:
        try:
            found = read_documents(text.content, keep_unknown=True)
        except DocumentError as error:
            damaged.append(Damage(DOCUMENT, error.reason, text.line + error.line - 1))
            continue
        for index, document in enumerate(found):
            end = int(parse_time(document.end).timestamp())
            number = (text.source << 40) + text.offset + index
            keys = {"document": number, "source": text.source, "day": end // 86_400}
            read[DOCUMENT] += 1
            documents.append(
                {
                    **keys,
                    "fingerprint": (document.fingerprint or "").upper(),
                    "instance": "",
                    "end_time": end,
                    "seconds": document.seconds,
                    "epsilon": None if document.epsilon is None else float(document.epsilon),
                }
            )
            lines: tuple[tuple[str, Mapping[tuple[str, str], int]], ...] = (
                ("ips", {(country, ""): number for country, number in (document.ips or {}).items()}),
                ("requests", {(country, ""): number for country, number in (document.requests or {}).items()}),
                ("versions", {("", key): number for key, number in (document.ip_versions or {}).items()}),
                ("transports", {("", key): number for key, number in (document.ip_transports or {}).items()}),
                ("country_transports", document.ip_country_transports or {}),
            )
            cells += [
                {**keys, "line": line, "country": country.lower(), "key": key, "number": count}
                for line, counts in lines
                for (country, key), count in counts.items()
            ]
    return {
        "documents": pa.Table.from_pylist(documents, SCHEMAS["documents"]),
        "document_cells": pa.Table.from_pylist(cells, SCHEMAS["document_cells"]),
    }
