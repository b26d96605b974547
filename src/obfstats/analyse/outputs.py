"""Result tables become files: CSV for people and their scripts, Parquet for programs and for the next run.

    DIR/userstats.csv
    DIR/tables/userstats.parquet

Rules:

- A file is replaced at once, so a reader sees the old rows or the new ones.
- A program reads a column by its name. Dates are UTC. An empty country, transport or version means all of them; in a
  column of numbers an empty field means that there is none.
- Names come from outside: no text is a formula for a spreadsheet (formats/spreadsheet.py).
- userstats.csv and userstats-combined.csv are byte for byte what Tor Metrics' database exports, and the per-graph files
  have the columns of those on its website (metrics-web, stats.jsp), with five comment lines first.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from obfstats import __version__
from obfstats.formats.spreadsheet import escape_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import date
    from pathlib import Path

    from obfstats.analyse.published import PublishedTables

TABLES_FOLDER = "tables"

_DECIMALS = 3
_NO_TRANSPORT = "<OR>"
_ANY_TRANSPORT = "!<OR>"


def write_published(folder: Path, tables: PublishedTables) -> None:
    """Write the published estimate: userstats.csv, userstats-combined.csv, and Tor Metrics' per-graph files.

    Args:
        folder: of the results.
        tables: all days of the archive.
    """
    write_table(folder, "userstats", tables.userstats, empty='""')
    write_table(folder, "userstats-combined", tables.combined)
    for name, table in make_graph_tables(tables).items():
        comments = ("", f"Computed by obfstats {__version__} as Tor Metrics does", "", f"FILE: {name}.csv", "")
        _replace(folder / f"{name}.csv", to_csv(table, comments=comments))


def write_table(folder: Path, name: str, table: pa.Table, *, empty: str = "") -> None:
    """Write a table as NAME.csv and as tables/NAME.parquet.

    Args:
        folder: of the results.
        name: of the table.
        table: its rows, in the order to write.
        empty: how an empty text is written in CSV.
    """
    _replace(folder / f"{name}.csv", to_csv(table, empty=empty))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    _replace(folder / TABLES_FOLDER / f"{name}.parquet", sink.getvalue())


def read_table(folder: Path, name: str) -> pa.Table | None:
    """Read a table that `write_table` has written; give None if it is missing or damaged."""
    try:
        return pq.read_table(folder / TABLES_FOLDER / f"{name}.parquet", partitioning=None)
    except (FileNotFoundError, pa.ArrowInvalid):
        return None


def replace_days(earlier: pa.Table | None, rows: pa.Table, days: Collection[date]) -> pa.Table:
    """Replace the rows of some days, in an unsorted table.

    Args:
        earlier: the table, with a column `date`; None if there is none.
        rows: the new rows of these days.
        days: which days. Those without new rows lose their rows.
    """
    if earlier is None:
        return rows
    is_replaced = pc.is_in(earlier["date"], value_set=pa.array(days, pa.date32()))
    return pa.concat_tables([earlier.filter(pc.invert(is_replaced)), rows])


def make_graph_tables(tables: PublishedTables) -> dict[str, pa.Table]:
    """Make the tables behind Tor Metrics' graphs of bridge users.

    Args:
        tables: the published estimate.

    Returns:
        Tables by their names, sorted by date. The transport `!<OR>` is the sum of all but `<OR>`.
    """
    userstats = tables.userstats
    transports = _filter(userstats, country="", version="")
    transports = transports.filter(pc.not_equal(transports["transport"], ""))
    pluggable = transports.filter(pc.not_equal(transports["transport"], _NO_TRANSPORT))
    sums = pluggable.group_by("date").aggregate([("users", "sum"), ("frac", "min")])
    any_transport = pa.table(
        {
            "date": sums["date"],
            "transport": pa.array([_ANY_TRANSPORT] * sums.num_rows, pa.string()),
            "users": sums["users_sum"],
            "frac": sums["frac_min"],
        }
    )
    columns = ["date", "transport", "users", "frac"]
    by_transport = pa.concat_tables([transports.select(columns), any_transport])
    by_country = _filter(userstats, transport="", version="").select(["date", "country", "users", "frac"])
    by_version = _filter(userstats, country="", transport="").select(["date", "version", "users", "frac"])
    combined = tables.combined.select(["date", "country", "transport", "low", "high", "frac"])
    return {
        "userstats-bridge-country": by_country.sort_by([("date", "ascending"), ("country", "ascending")]),
        "userstats-bridge-transport": by_transport.sort_by([("date", "ascending"), ("transport", "ascending")]),
        "userstats-bridge-version": by_version.sort_by([("date", "ascending"), ("version", "ascending")]),
        "userstats-bridge-combined": combined,
    }


def _filter(table: pa.Table, **values: str) -> pa.Table:
    for name, value in values.items():
        table = table.filter(pc.equal(table[name], value))
    return table


def to_csv(table: pa.Table, *, empty: str = "", comments: Collection[str] = ()) -> bytes:
    """Write a table as CSV.

    Args:
        table: columns of dates, text, whole numbers, floats (at most three decimals are written) or truth values.
        empty: how an empty text is written.
        comments: lines before the columns' names.
    """
    columns = [_to_text(column, empty) for column in table.columns]
    lines = [f"# {comment}".rstrip() for comment in comments]
    lines.append(",".join(table.column_names))
    lines += map(",".join, zip(*columns, strict=True))
    return "".join(f"{line}\n" for line in lines).encode()


def _to_text(column: pa.ChunkedArray, empty: str) -> list[str]:
    """Write the values of a column. Each different value is written once: most repeat."""
    if pa.types.is_string(column.type):
        write: Callable[..., str] = lambda value: escape_text(value) or empty  # noqa: E731
    elif pa.types.is_floating(column.type):
        write = _write_float
    elif pa.types.is_boolean(column.type):
        write = lambda value: str(value).lower()  # noqa: E731
    else:
        write = str
    encoded = column.combine_chunks().dictionary_encode()
    texts = ["" if value is None else write(value) for value in encoded.dictionary.to_pylist()]
    return ["" if index is None else texts[index] for index in encoded.indices.to_pylist()]


def _write_float(value: float) -> str:
    """Write a number without zeros at its end; one that is not a number as an empty field."""
    if value != value:  # noqa: PLR0124 - NaN
        return ""
    text = f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _replace(path: Path, content: bytes | pa.Buffer) -> None:
    """Replace a file at once, also if the machine fails meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
