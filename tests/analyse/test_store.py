"""The store: parts by month, a manifest that is replaced in one step, one writer."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from obfstats.analyse.store import SCHEMAS, Manifest, Part, Store, StoreError, write_parts

if TYPE_CHECKING:
    from pathlib import Path

# 2026-02-28, 2026-03-01 and 2026-03-31.
DAYS = (20_512, 20_513, 20_543)


def statuses(*days: int) -> pa.Table:
    """Rows of the smallest table."""
    rows = [{"source": 1, "day": day, "fingerprint": f"{day:040X}", "hours": 1} for day in days]
    return pa.Table.from_pylist(rows, SCHEMAS["statuses"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with rows of three days in two months."""
    made = Store(tmp_path / "store")
    with made.lock():
        parts = write_parts(made.folder, "statuses", 1, statuses(DAYS[2], DAYS[0], DAYS[1], DAYS[0]))
        made.commit(Manifest({1: "aa"}, {"/a": 1}, parts, 2, 2, list(DAYS)))
    return made


def test_rows_are_in_parts_of_a_month_sorted_by_day(store: Store) -> None:
    """A part's folder names its month, and every engine reads it."""
    files = store.files("statuses")
    assert [file.removeprefix(f"{store.folder}/") for file in files] == [
        "statuses/month=2026-02/part-000001.parquet",
        "statuses/month=2026-03/part-000001.parquet",
    ]
    assert [pq.read_table(file, partitioning=None)["day"].to_pylist() for file in files] == [
        [DAYS[0]] * 2,
        list(DAYS[1:]),
    ]
    assert pq.read_schema(files[0]).equals(SCHEMAS["statuses"])
    assert duckdb.execute("SELECT count(*), min(month) FROM read_parquet(?)", [files]).fetchall() == [(4, "2026-02")]


def test_files_of_days(store: Store) -> None:
    """Only parts with rows of the days are given."""
    assert store.days() == list(DAYS)
    assert len(store.files("statuses", range(DAYS[0], DAYS[1] + 1))) == 2
    assert [file[-27:-20] for file in store.files("statuses", range(DAYS[1] + 1, DAYS[2] + 1))] == ["2026-03"]
    assert store.files("statuses", range(DAYS[1] + 1, DAYS[2])) == []
    assert store.files("reports") == []


def test_a_store_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """Looking makes nothing."""
    store = Store(tmp_path / "none")
    assert (store.files("reports"), store.days(), store.pending_days()) == ([], [], [])
    assert not store.folder.exists()


def test_the_manifest_comes_back(store: Store) -> None:
    """What is committed is read, names that are not UTF-8 included."""
    manifest = Manifest({3: "", 4: "bb"}, {"/\udcff": 3, "/b": 4}, [Part("cells", "2026-03", 7, 9, (1, 2))], 5, 8, [1])
    for part in manifest.parts:
        (store.folder / part.path).parent.mkdir(parents=True)
    store.commit(manifest)
    assert Store(store.folder).read_manifest() == manifest


def test_pending_days_stay_until_they_are_cleared(store: Store) -> None:
    """They are the days whose estimates are not written yet."""
    assert store.pending_days() == list(DAYS)
    store.clear_pending_days(before=DAYS[2])
    assert Store(store.folder).pending_days() == [DAYS[2]]
    assert store.days() == list(DAYS)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"format": "other"}', '{"format": "obfstats store", "version": 1}']
)
def test_other_files_are_not_a_manifest(store: Store, content: str) -> None:
    """A folder of something else is refused, not overwritten."""
    (store.folder / "manifest.json").write_text(content)
    with pytest.raises(StoreError, match=r"manifest\.json is not a manifest of obfstats; give another folder"):
        store.days()


def test_another_version(store: Store) -> None:
    """A store of another version says what to do."""
    path = store.folder / "manifest.json"
    content: dict[str, Any] = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "version": 99, "parts": "unknown"}))
    with pytest.raises(StoreError, match="was written by another version of obfstats; remove it"):
        store.days()


def test_one_program_writes(store: Store) -> None:
    """Another program that wants to write is refused; after the first one has ended it is not."""
    code = "import sys, pathlib, obfstats.analyse.store as s\nwith s.Store(pathlib.Path(sys.argv[1])).lock(): pass"
    command = [sys.executable, "-c", code, str(store.folder)]
    with store.lock():
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "another program is writing to" in ran.stderr
    subprocess.run(command, check=True)


def test_changed_days_are_forgotten_to_a_day(store: Store) -> None:
    """Later ones stay, because they are not estimated yet."""
    store.clear_pending_days(before=DAYS[1])
    assert store.pending_days() == list(DAYS[1:])


def test_leftovers_are_removed(store: Store) -> None:
    """Parts that the manifest does not name do not count, and go."""
    leftover = write_parts(store.folder, "statuses", 2, statuses(DAYS[1]))
    assert len(store.files("statuses")) == 2
    store.remove_leftovers(store.read_manifest())
    assert not (store.folder / leftover[0].path).exists()
    assert len(list(store.folder.rglob("*.parquet"))) == 2


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """An error is one sentence."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(StoreError, match=r"cannot write to .*: Not a directory; give another folder"),
        Store(tmp_path / "file" / "store").lock(),
    ):
        pass
