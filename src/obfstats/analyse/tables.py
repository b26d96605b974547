"""Columns of text become the typed rows of the store's tables (store.py); DuckDB interprets a whole batch at once.

Rules:

- A descriptor of which one known line is not of the grammar is damaged and left out as a whole.
- The grammar is that of dir-spec; further arguments on a line are ignored, as dir-spec asks. Nicknames may be longer
  than tor's.
- Times are valid dates of the years 2000 to 2099, numbers have at most nine digits (bytes 18) and no sign, so every
  number fits its column.
- Country codes are two characters; transports and versions up to 100 printable characters but `=`, `,` and blank. A
  name that a line has twice makes two rows.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from obfstats.analyse.cells import COUNTRIES, NAMES, explode
from obfstats.analyse.days import DAY
from obfstats.analyse.descriptors import DOCUMENT, EXTRA_INFO, EXTRA_INFO_KEYWORDS, SERVER, STATUS, Damage
from obfstats.analyse.store import SCHEMAS
from obfstats.formats.document import DocumentError, read_documents, split_documents
from obfstats.formats.interval import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from obfstats.analyse.cells import Cells
    from obfstats.analyse.descriptors import DocumentText, TextColumns
    from obfstats.formats.document import Document

_LISTS = ("requests", "ips", "transports", "versions", "responses")

_TIME = "20[0-9]{2}-[0-9]{2}-[0-9]{2} (?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}"
_END = rf"{_TIME} \([0-9]{{1,9}} s\)"
_REST = "(?: .*)?"
_HISTORY = f"{_END}(?: (?:[0-9]{{1,18}}(?:,[0-9]{{1,18}})*)?{_REST})?"
_MAX_HISTORY_DAYS = 32
"""Tor keeps five. Every day of a history is estimated again, so one of years would cost minutes in each run."""

_EARLIEST = 946_684_800
"""2000-01-01."""

_LATEST = 4_102_444_800
"""2100-01-01."""


def _seconds(text: str) -> str:
    """Give the SQL for the seconds since 1970 of a time that a text begins with; null where there is no such date."""
    return f"epoch_us(try_cast(left({text}, 19) AS TIMESTAMP)) // 1000000"


def _length(text: str) -> str:
    """Give the SQL for N of `YYYY-MM-DD HH:MM:SS (N s)`; null where a line of the descriptor is wrong."""
    return f"CASE WHEN problem IS NULL THEN CAST(split_part(substr({text}, 22), ' ', 1) AS INTEGER) END"


def _is_wrong(column: str, grammar: str) -> str:
    return f"NOT regexp_full_match({column}, '{grammar}')"


_EXTRA_INFOS = f"""
CREATE OR REPLACE TEMP TABLE typed AS
WITH checked AS (
    SELECT *, CASE
        WHEN {_is_wrong("head", "[A-Za-z0-9]+ [0-9A-Fa-f]{40}" + _REST)} THEN 'extra-info'
        WHEN published IS NULL OR {_is_wrong("published", _TIME + _REST)} THEN 'published'
        WHEN {_is_wrong("stats_end", _END + _REST)} THEN 'dirreq-stats-end'
        WHEN {_is_wrong("bridge_end", _END + _REST)} THEN 'bridge-stats-end'
        WHEN {_is_wrong("history", _HISTORY)} THEN 'dirreq-write-history'
        ELSE wrong_list
    END AS problem FROM extra_infos
), valued AS (
    SELECT "row", line, source, "offset", problem, ok, served, has_requests,
        split_part(head, ' ', 1) AS nickname,
        upper(split_part(head, ' ', 2)) AS fingerprint,
        {_seconds("published")} AS published,
        stats_end IS NOT NULL AS has_stats_end,
        {_seconds("stats_end")} AS stats_end,
        {_length("stats_end")} AS stats_seconds,
        bridge_end IS NOT NULL AS has_bridge_end,
        {_seconds("bridge_end")} AS bridge_end,
        {_length("bridge_end")} AS bridge_seconds,
        history IS NOT NULL AS has_history,
        {_seconds("history")} AS history_end,
        {_length("history")} AS history_seconds,
        CASE WHEN problem IS NULL THEN string_split(nullif(split_part(history, ' ', 5), ''), ',') END AS history
    FROM checked
)
SELECT * REPLACE (CASE
        WHEN problem IS NOT NULL THEN problem
        WHEN published IS NULL THEN 'published'
        WHEN has_stats_end AND (stats_end IS NULL OR stats_seconds = 0) THEN 'dirreq-stats-end'
        WHEN has_bridge_end AND (bridge_end IS NULL OR bridge_seconds = 0) THEN 'bridge-stats-end'
        WHEN has_history AND (history_end IS NULL OR history_seconds NOT BETWEEN 1 AND {DAY}
            OR coalesce(len(history), 0) * CAST(history_seconds AS BIGINT) > {_MAX_HISTORY_DAYS * DAY})
            THEN 'dirreq-write-history'
    END AS problem)
FROM valued
"""

_REPORTS = """
SELECT "row", (CAST(source AS BIGINT) << 40) + "offset" AS report, source,
    CAST(coalesce(stats_end, bridge_end, published) // 86400 AS INTEGER) AS day,
    fingerprint, nickname, published, stats_end, stats_seconds, ok, served, has_requests, bridge_end, bridge_seconds
FROM typed WHERE problem IS NULL
"""

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
    nullif(regexp_extract(platform, '^Tor ([!-~]+)', 1), '') AS tor
FROM typed WHERE problem IS NULL
"""


class TableMaker:
    """Makes typed tables of batches, with one DuckDB."""

    def __init__(self) -> None:
        self._duckdb = duckdb.connect(config={"threads": 1, "temp_directory": ""})

    def close(self) -> None:
        """Free DuckDB's memory."""
        self._duckdb.close()

    def make(self, columns: TextColumns) -> tuple[dict[str, pa.Table], Counter[str], list[Damage]]:
        """Interpret a batch.

        Returns:
            The rows by table (SCHEMAS), how many descriptors were read by kind, and the damaged ones, those of the
            split included.
        """
        tables: dict[str, pa.Table] = {}
        read: Counter[str] = Counter()
        damaged = list(columns.damaged)
        if columns.extra_infos.num_rows:
            self._make_reports(columns.extra_infos, tables, damaged)
            read[EXTRA_INFO] = tables["reports"].num_rows
        if columns.statuses.num_rows:
            inputs = {"statuses": columns.statuses, "entries": columns.entries}
            read[STATUS] = columns.statuses.num_rows - self._check(STATUS, _STATUSES, inputs, damaged)
            tables["statuses"] = self._query(_RUNNING).cast(SCHEMAS["statuses"])
        if columns.servers.num_rows:
            self._check(SERVER, _SERVERS, {"servers": columns.servers}, damaged)
            tables["servers"] = self._query(_VERSIONS).cast(SCHEMAS["servers"])
            read[SERVER] = tables["servers"].num_rows
        if columns.documents:
            tables |= _make_documents(columns.documents, damaged)
            read[DOCUMENT] = tables["documents"].num_rows
        return tables, read, damaged

    def _make_reports(self, texts: pa.Table, tables: dict[str, pa.Table], damaged: list[Damage]) -> None:
        size = texts.num_rows
        lists = {
            name: explode(texts[name].combine_chunks(), COUNTRIES if name in {"requests", "ips"} else NAMES)
            for name in _LISTS
        }
        wrong_list = np.full(size, None)
        for name, cells in lists.items():
            wrong_list[cells.wrong] = EXTRA_INFO_KEYWORDS[name]
        inputs = texts.drop_columns(list(_LISTS))
        for name, values in (
            ("row", np.arange(size)),
            ("wrong_list", pa.array(wrong_list, pa.string())),
            ("ok", _value_of("ok", lists["responses"], size)),
            ("served", _value_of("served", lists["responses"], size)),
            ("has_requests", texts["requests"].is_valid()),
        ):
            inputs = inputs.append_column(name, values if isinstance(values, pa.ChunkedArray) else pa.array(values))
        self._check(EXTRA_INFO, _EXTRA_INFOS, {"extra_infos": inputs}, damaged)
        reports = self._query(_REPORTS)
        rows = reports["row"].to_numpy()
        tables["reports"] = reports.drop_columns("row").cast(SCHEMAS["reports"])
        tables["cells"] = _make_cells(lists, rows, size, tables["reports"])
        tables["histories"] = self._query(_HISTORIES).cast(SCHEMAS["histories"])

    def _check(self, kind: str, typing: str, inputs: Mapping[str, pa.Table], damaged: list[Damage]) -> int:
        """Make the table `typed`; add the descriptors with a problem to the damaged ones and give their number."""
        for name, table in inputs.items():
            self._duckdb.register(name, table)
        self._duckdb.execute(typing)
        problems = self._duckdb.execute("SELECT problem, line FROM typed WHERE problem IS NOT NULL ORDER BY line")
        found = [Damage(kind, f"wrong {keyword} line", line, keyword) for keyword, line in problems.fetchall()]
        damaged += found
        return len(found)

    def _query(self, query: str) -> pa.Table:
        return self._duckdb.sql(query).to_arrow_table()

    def merge_statuses(self, rows: pa.Table) -> pa.Table:
        """Merge rows of `statuses` so that there is one for each source, day and bridge."""
        self._duckdb.register("rows", rows)
        query = "SELECT source, day, fingerprint, bit_or(hours) AS hours FROM rows GROUP BY ALL"
        return self._query(query).cast(SCHEMAS["statuses"])


def _value_of(key: str, cells: Cells, size: int) -> pa.Array:
    """Give the number of a key in each of so many lists; null where it is not there."""
    is_key = cells.key.indices.to_numpy() == pc.index(cells.key.dictionary, key).as_py()
    values, is_missing = np.zeros(size, np.int32), np.ones(size, np.bool_)
    values[cells.row[is_key]] = cells.number[is_key]
    is_missing[cells.row[is_key]] = False
    return pa.array(values, mask=is_missing)


def _make_cells(lists: Mapping[str, Cells], rows: NDArray[np.int64], size: int, reports: pa.Table) -> pa.Table:
    """Make the cells of reports; `rows` are the reports' places among so many descriptors."""
    report_of_row = np.full(size, -1)
    report_of_row[rows] = np.arange(len(rows))
    tables = []
    for name in _LISTS:
        if name == "responses":
            continue
        cells = lists[name]
        report = report_of_row[cells.row]
        is_kept = report >= 0
        report = report[is_kept]
        columns = {column: reports[column].to_numpy()[report] for column in ("report", "source", "day")}
        columns["line"] = pa.DictionaryArray.from_arrays(np.zeros(len(report), np.int32), pa.array([name]))
        columns["key"] = cells.key.filter(pa.array(is_kept))
        columns["number"] = cells.number[is_kept]
        tables.append(pa.table(columns))
    return pa.concat_tables(tables).unify_dictionaries()


def _make_documents(texts: Iterable[DocumentText], damaged: list[Damage]) -> Mapping[str, pa.Table]:
    documents: list[tuple[object, ...]] = []
    cells: list[tuple[object, ...]] = []
    for text in texts:
        offset = text.offset
        for first, content in split_documents(text.content):
            try:
                (document,) = read_documents(content, keep_unknown=True)
                end = _end_of(document)
            except DocumentError as error:
                damaged.append(Damage(DOCUMENT, error.reason, text.line + first + error.line - 1))
                continue
            keys = ((text.source << 40) + offset, text.source, end // 86_400)
            offset += len(content)
            epsilon = None if document.epsilon is None else float(document.epsilon)
            bridge = (document.fingerprint or "").upper(), document.instance or ""
            documents.append((*keys, *bridge, end, document.seconds, epsilon))
            cells += [(*keys, *cell) for cell in _cells_of(document)]
    return {name: _table_of(name, rows) for name, rows in (("documents", documents), ("document_cells", cells))}


def _end_of(document: Document) -> int:
    end = int(parse_time(document.end).timestamp())
    if not _EARLIEST <= end < _LATEST:
        raise DocumentError(1, "not a time from 2000 to 2099")
    return end


def _cells_of(document: Document) -> Iterator[tuple[str, str, str, int]]:
    """Give line, country, key and number of a document's cells."""
    for country, number in (document.ips or {}).items():
        yield "ips", country.lower(), "", number
    for country, number in (document.requests or {}).items():
        yield "requests", country.lower(), "", number
    for version, number in (document.ip_versions or {}).items():
        yield "versions", "", version, number
    for transport, number in (document.ip_transports or {}).items():
        yield "transports", "", transport, number
    for (country, transport), number in (document.ip_country_transports or {}).items():
        yield "country_transports", country.lower(), transport, number


def _table_of(name: str, rows: list[tuple[object, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([] for _ in SCHEMAS[name])
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, SCHEMAS[name], strict=True)], SCHEMAS[name]
    )
