"""Tables and queries on DuckDB, and what an engine says when it cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import parquet

from obfstats.analyse.engine import DuckDbEngine, EngineError, SparkEngine
from peers import sail
from peers.missing import need_module

if TYPE_CHECKING:
    from pathlib import Path

ROWS = pa.table({"day": pa.array([1, 2, 2], pa.int64())})
COUNT = "SELECT day, count(*) AS number FROM rows GROUP BY day ORDER BY day"


def test_files_are_a_table(engine: DuckDbEngine, tmp_path: Path) -> None:
    """Several files have the rows of all; a folder with a month in its name adds no column."""
    files = [tmp_path / f"month=2026-0{number}" / "part.parquet" for number in (1, 2)]
    for file in files:
        file.parent.mkdir()
        parquet.write_table(ROWS, file)
    engine.open_table("rows", [str(file) for file in files], ROWS.schema)
    assert engine.query("SELECT * FROM rows").column_names == ["day"]
    assert engine.query(COUNT)["number"].to_pylist() == [2, 4]


def test_a_table_without_files_has_no_rows(engine: DuckDbEngine) -> None:
    """An archive may lack a kind of descriptor."""
    engine.open_table("rows", [], ROWS.schema)
    assert engine.query(COUNT).num_rows == 0


def test_a_name_can_be_used_again(engine: DuckDbEngine) -> None:
    """Each chunk of days has tables of the same names."""
    engine.open_table("rows", [], ROWS.schema)
    engine.create_table("rows", ROWS)
    engine.create_table("twice", "SELECT day FROM rows UNION ALL SELECT day FROM rows")
    engine.create_table("rows", "SELECT day FROM twice WHERE day = 2")
    assert engine.query(COUNT).to_pylist() == [{"day": 2, "number": 4}]


def test_what_does_not_fit_into_memory_goes_to_disk(tmp_path: Path) -> None:
    """The limit is kept, and the result is right."""
    engine = DuckDbEngine(tmp_path, memory_limit="40MB", threads=1)
    engine.create_table("numbers", "SELECT number FROM range(12000000) AS r(number)")
    spilled = list(tmp_path.iterdir())
    assert engine.query("SELECT sum(number) AS total FROM numbers")["total"].to_pylist() == [
        12_000_000 * 11_999_999 // 2
    ]
    engine.close()
    assert spilled


def test_a_damaged_file_is_named_in_one_sentence(engine: DuckDbEngine, tmp_path: Path) -> None:
    """The user can remove it."""
    damaged = tmp_path / "part.parquet"
    damaged.write_bytes(b"PAR1")
    with pytest.raises(EngineError, match=r"part\.parquet") as caught:
        engine.open_table("rows", [str(damaged)], ROWS.schema)
    assert "\n" not in str(caught.value)


@sail.needs_spark_client
@pytest.mark.parametrize("url", ["example.com", "http://localhost:15002", "sc://", "sc://localhost:port"])
def test_an_address_has_to_be_one_of_spark_connect(url: str) -> None:
    """The error says how to write it."""
    need_module("pyspark")
    with pytest.raises(EngineError, match="sc://HOST:PORT"):
        SparkEngine(url)


@sail.needs_spark_client
def test_a_server_that_does_not_answer_is_said_at_once() -> None:
    """Spark's own client would try for ten minutes."""
    need_module("pyspark")
    with pytest.raises(EngineError, match=r"cannot connect to 127\.0\.0\.1 port 9"):
        SparkEngine("sc://127.0.0.1:9")
