"""Result files: what people's scripts and spreadsheets read."""

from __future__ import annotations

import csv
import io
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.analyse.outputs import read_table, replace_days, to_csv, write_published, write_table
from obfstats.analyse.published import PublishedTables, estimate_published
from tests.analyse.stores import GOLDEN, GOLDEN_DAYS

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.analyse.engine import DuckDbEngine
    from obfstats.analyse.store import Store

MONDAY = date(2026, 3, 2)
TUESDAY = date(2026, 3, 3)


def make_userstats(*rows: tuple[str, str, str, int]) -> Any:
    """Rows of one day: country, transport, version, users."""
    return pa.Table.from_pylist(
        [
            {
                "date": MONDAY,
                "node": "bridge",
                "country": country,
                "transport": transport,
                "version": version,
                "frac": 74,
                "users": users,
            }
            for country, transport, version, users in rows
        ]
    )


def make_combined(country: str, transport: str) -> Any:
    """One row."""
    names = {"date": MONDAY, "node": "bridge", "country": country, "transport": transport, "version": ""}
    return pa.Table.from_pylist([{**names, "frac": 74, "low": 1, "high": 5}])


TABLES = PublishedTables(
    make_userstats(
        ("", "", "", 100), ("??", "", "", 10), ("ir", "", "", 90), ("", "<??>", "", 5), ("", "<OR>", "", 60),
        ("", "obfs4", "", 35), ("", "", "v4", 92), ("", "", "v6", 8),
    ),
    make_combined("ir", "obfs4"),
)  # fmt: skip


def graph_lines(folder: Path, name: str) -> list[str]:
    """The lines of a per-graph file without its comments."""
    return [line for line in (folder / f"{name}.csv").read_text().splitlines() if not line.startswith("#")]


def test_the_estimate_is_written_as_tor_metrics_writes_it(
    tmp_path: Path, engine: DuckDbEngine, golden_store: Store
) -> None:
    """The files are those that its database exports."""
    write_published(tmp_path, estimate_published(engine, golden_store, GOLDEN_DAYS))
    assert (tmp_path / "userstats.csv").read_bytes() == (GOLDEN / "estimated.csv").read_bytes()
    assert (tmp_path / "userstats-combined.csv").read_bytes() == (GOLDEN / "combined.csv").read_bytes()


def test_a_graph_of_countries_has_the_total_without_a_name(tmp_path: Path) -> None:
    """An empty country means all."""
    write_published(tmp_path, TABLES)
    assert graph_lines(tmp_path, "userstats-bridge-country") == [
        "date,country,users,frac",
        "2026-03-02,,100,74",
        "2026-03-02,??,10,74",
        "2026-03-02,ir,90,74",
    ]


def test_a_graph_of_transports_has_the_sum_of_pluggable_ones(tmp_path: Path) -> None:
    """`!<OR>` is any transport but `<OR>`; there is no row for all."""
    write_published(tmp_path, TABLES)
    assert graph_lines(tmp_path, "userstats-bridge-transport") == [
        "date,transport,users,frac",
        "2026-03-02,!<OR>,40,74",
        "2026-03-02,<??>,5,74",
        "2026-03-02,<OR>,60,74",
        "2026-03-02,obfs4,35,74",
    ]


def test_graphs_of_versions_and_of_both(tmp_path: Path) -> None:
    """They have the columns of Tor Metrics' files."""
    write_published(tmp_path, TABLES)
    assert graph_lines(tmp_path, "userstats-bridge-version") == [
        "date,version,users,frac",
        "2026-03-02,,100,74",
        "2026-03-02,v4,92,74",
        "2026-03-02,v6,8,74",
    ]
    assert graph_lines(tmp_path, "userstats-bridge-combined") == [
        "date,country,transport,low,high,frac",
        "2026-03-02,ir,obfs4,1,5,74",
    ]


def test_five_comment_lines_come_first(tmp_path: Path) -> None:
    """Scripts skip that many."""
    write_published(tmp_path, TABLES)
    lines = (tmp_path / "userstats-bridge-country.csv").read_text().splitlines()
    assert [line[0] for line in lines[:6]] == ["#", "#", "#", "#", "#", "d"]


@pytest.mark.parametrize("name", ['=HYPERLINK("http://example.com")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_field_starts_a_formula(name: str) -> None:
    """A forged transport is text in a spreadsheet."""
    text = to_csv(make_combined("ir", name)).decode()
    assert list(csv.reader(io.StringIO(text, newline="")))[1][3] == f"'{name}"


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1))
def test_text_is_read_back(names: list[str]) -> None:
    """Commas, quotation marks and line ends do not break a row."""
    content = to_csv(pa.table({"number": range(len(names)), "name": names})).decode()
    rows = list(csv.reader(io.StringIO(content, newline="")))
    assert [row[0] for row in rows] == ["number", *map(str, range(len(names)))]
    assert [row[1] for row in rows[1:]] == [f"'{name}" if name[:1] in set("=+-@\t\r") else name for name in names]


def test_numbers_are_short() -> None:
    """Three decimals at most, none that are zero; what is missing is empty."""
    columns = {
        "users": pa.array([1.0, 0.12345, -0.0001, float("nan"), None]),
        "breaks": pa.array([True, False, True, None, True]),
    }
    assert to_csv(pa.table(columns)) == b"users,breaks\n1,true\n0.123,false\n0,true\n,\n,true\n"


def test_a_table_is_also_parquet(tmp_path: Path) -> None:
    """With dates and numbers that need no parsing."""
    assert read_table(tmp_path, "userstats") is None
    write_table(tmp_path, "userstats", TABLES.userstats)
    assert read_table(tmp_path, "userstats") == TABLES.userstats
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["userstats.csv", "userstats.parquet"]


def test_days_are_replaced() -> None:
    """An incremental run computes some days; the others keep their rows."""
    earlier = pa.table({"date": [MONDAY, TUESDAY, TUESDAY], "users": [1, 2, 3]})
    rows = pa.table({"date": [TUESDAY], "users": [4]})
    assert replace_days(earlier, rows, [TUESDAY])["users"].to_pylist() == [1, 4]
    assert replace_days(None, rows, [TUESDAY]) == rows
    assert replace_days(earlier, rows.slice(0, 0), [TUESDAY])["users"].to_pylist() == [1]
