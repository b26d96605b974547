"""The same queries through Spark Connect give the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from obfstats.analyse.engine import EngineError, SparkEngine
from obfstats.analyse.outputs import to_csv
from obfstats.analyse.published import estimate_published
from obfstats.analyse.published_sums import sum_responses
from peers import sail
from peers.missing import need_module
from peers.sums import AGREEMENT, largest_difference
from tests.analyse.stores import GOLDEN, GOLDEN_DAYS, write_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from obfstats.analyse.engine import DuckDbEngine
    from obfstats.analyse.store import Store

pytestmark = sail.needs_spark_client


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkEngine]:
    """A connection to pysail's server."""
    need_module(sail.PACKAGE)
    with sail.sail_server(tmp_path_factory.mktemp("sail")) as (_, url):
        engine = SparkEngine(url)
        yield engine
        engine.close()


def test_sums_agree(spark: SparkEngine, engine: DuckDbEngine, golden_store: Store) -> None:
    """Row for row, before anything is rounded."""
    ours = sum_responses(engine, golden_store, GOLDEN_DAYS)
    theirs = sum_responses(spark, golden_store, GOLDEN_DAYS)
    assert ours.combined.num_rows > 1_000
    assert largest_difference(ours, theirs) <= AGREEMENT


def test_estimates_are_those_of_tor_metrics(spark: SparkEngine, golden_store: Store) -> None:
    """The same files as with DuckDB, in chunks of days too."""
    spark.days_at_once = 10
    tables = estimate_published(spark, golden_store, GOLDEN_DAYS)
    assert to_csv(tables.userstats, empty='""') == (GOLDEN / "estimated.csv").read_bytes()
    assert to_csv(tables.combined) == (GOLDEN / "combined.csv").read_bytes()


def test_an_empty_store_gives_empty_tables(spark: SparkEngine, tmp_path: Path) -> None:
    """Tables without files have columns of the right types."""
    assert estimate_published(spark, write_store(tmp_path), range(3)).userstats.num_rows == 0


def test_rows_come_back_as_they_were_sent(spark: SparkEngine) -> None:
    """With the types of the station's tables, and nulls."""
    columns = {
        "truth": pa.array([True, None], pa.bool_()),
        "short": pa.array([1, None], pa.int32()),
        "long": pa.array([2**40, None], pa.int64()),
        "number": pa.array([0.1, None], pa.float64()),
        "text": pa.array(["<OR>", None], pa.string()),
    }
    rows = pa.table(columns)
    spark.create_table("rows", rows)
    assert spark.query("SELECT * FROM rows").to_pylist() == rows.to_pylist()
    spark.create_table("rows", rows.slice(0, 0))
    assert spark.query("SELECT * FROM rows").schema.types == rows.schema.types


def test_a_missing_file_is_one_sentence(spark: SparkEngine, tmp_path: Path) -> None:
    """A cluster that does not see the store says so."""
    with pytest.raises(EngineError, match="under the same path") as caught:
        spark.open_table("rows", [str(tmp_path / "part.parquet")], pa.schema([("day", pa.int64())]))
    assert "\n" not in str(caught.value)


def test_a_server_that_goes_away_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few attempts, in one sentence; the connection can still be closed."""
    need_module(sail.PACKAGE)
    monkeypatch.setattr("obfstats.analyse.engine._RETRIES", 1)
    with sail.sail_server(tmp_path) as (_, url):
        engine = SparkEngine(url)
    with pytest.raises(EngineError, match="no longer answers"):
        engine.query("SELECT 1 AS number")
    engine.close()
