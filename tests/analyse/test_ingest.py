"""Input files become the rows of the store, once each."""

from __future__ import annotations

from pathlib import Path

import duckdb

from obfstats.analyse.ingest import ingest
from obfstats.analyse.store import Store

SAMPLES = Path(__file__).parent / "samples"


def rows(store: Store, table: str) -> int:
    """How many rows a table has."""
    files = store.files(table)
    query = "SELECT count(*) FROM read_parquet(?, hive_partitioning = false)"
    return duckdb.execute(query, [files]).fetchall()[0][0] if files else 0


def test_samples_are_read_whole(tmp_path: Path) -> None:
    """CollecTor's archives of bridges become rows; relay descriptors among them are counted and left out."""
    store = Store(tmp_path / "store")
    result = ingest([SAMPLES], store, workers=1, advance=lambda _: None)
    assert result.read == {
        "bridge-extra-info": 6, "bridge-network-status": 2, "bridge-server-descriptor": 4,
    }  # fmt: skip
    assert result.skipped == {"@type extra-info 1.0": 7}
    assert result.damaged == {}
    assert [rows(store, table) for table in ("reports", "histories", "servers")] == [6, 15, 4]


def test_known_files_are_not_read_again(tmp_path: Path) -> None:
    """The second time nothing changes."""
    store = Store(tmp_path / "store")
    first = ingest([SAMPLES], store, workers=1, advance=lambda _: None)
    again = ingest([SAMPLES], store, workers=1, advance=lambda _: None)
    assert first.changed_days == set(store.days())
    assert (again.known, again.files, again.changed_days) == (4, 0, set())
