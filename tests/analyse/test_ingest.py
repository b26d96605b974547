"""Input files become the rows of the store, once each, whatever happens in between."""

from __future__ import annotations

import json
import lzma
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq
import pytest

from obfstats.analyse.archives import InputError
from obfstats.analyse.ingest import IngestResult, ingest
from obfstats.analyse.store import SCHEMAS, Store, StoreError
from tests.analyse.texts import DOCUMENT, EXTRA_INFO, FINGERPRINT, STATUS, tar_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SAMPLES = Path(__file__).parent / "samples"
DAY = 20_520
"""2026-03-08, the day of EXTRA_INFO."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store, locked."""
    made = Store(tmp_path / "out" / "store")
    with made.lock():
        yield made


def read(
    store: Store, *inputs: Path, workers: int = 1, advance: Callable[[int], None] = lambda _: None
) -> IngestResult:
    """Ingest."""
    return ingest(inputs, store, workers=workers, advance=advance)


def rows(store: Store, table: str, columns: str = "*", where: str = "true") -> list[Any]:
    """Rows of a table."""
    files = store.files(table)
    query = f"SELECT {columns} FROM read_parquet(?, hive_partitioning = false) WHERE {where} ORDER BY ALL"
    return duckdb.execute(query, [files]).fetchall() if files else []


def all_rows(store: Store) -> dict[str, list[Any]]:
    """All rows of a store, without the numbers that depend on the order of the inputs."""
    numbers = {"reports": "(report, source)", "cells": "(report, source)", "documents": "(document, source)",
               "document_cells": "(document, source)"}  # fmt: skip
    return {table: rows(store, table, f"* EXCLUDE {numbers.get(table, '(source)')}") for table in SCHEMAS}


def bridge(number: int) -> str:
    """EXTRA_INFO of another bridge."""
    return EXTRA_INFO.replace(FINGERPRINT, f"{number:040X}")


def test_samples_are_read_whole(store: Store) -> None:
    """CollecTor's archives of bridges become rows; relay descriptors among them are counted and left out."""
    result = read(store, SAMPLES)
    assert result.read == {
        "bridge-extra-info": 6, "bridge-network-status": 2, "bridge-server-descriptor": 4,
    }  # fmt: skip
    assert result.skipped == {"@type extra-info 1.0": 7}
    assert result.damaged == {}
    assert [len(rows(store, table)) for table in ("reports", "histories", "servers", "statuses")] == [6, 15, 4, 993]
    assert result.changed_days == set(store.days()) == set(store.pending_days())


def test_cells_belong_to_their_reports(store: Store, tmp_path: Path) -> None:
    """A report's number is its own, and its cells have it."""
    path = tmp_path / "in"
    path.write_text("".join(bridge(number).replace("ir=16", f"ir={8 * number}") for number in range(1, 40)))
    read(store, path)
    files = [store.files("reports"), store.files("cells")]
    query = """
        SELECT fingerprint, number FROM read_parquet(?) AS r JOIN read_parquet(?) AS c USING (report, source, day)
        WHERE line = 'ips' AND key = 'ir' ORDER BY report
    """
    assert duckdb.execute(query, files).fetchall() == [(f"{number:040X}", 8 * number) for number in range(1, 40)]


def test_statuses_are_merged_within_a_source(store: Store, tmp_path: Path) -> None:
    """A day of statuses in one archive makes one row a bridge; another archive has rows of its own."""
    for name, hours in (("a.tar", (0, 1, 5)), ("b.tar", (5, 23))):
        members = {f"{hour}": STATUS.replace("08:58:57", f"{hour:02}:28:57", 1).encode() for hour in hours}
        (tmp_path / name).write_bytes(tar_of(members))
    read(store, tmp_path / "a.tar", tmp_path / "b.tar")
    merged = 2 * [(1, 0b100011)] + 2 * [(2, 1 << 5 | 1 << 23)]
    assert rows(store, "statuses", "source, hours") == merged


def test_known_files_are_not_read_again(store: Store, tmp_path: Path) -> None:
    """The second time nothing changes, under whatever path the same bytes are."""
    first = read(store, SAMPLES)
    manifest = (store.folder / "manifest.json").stat().st_mtime_ns
    again = read(store, SAMPLES)
    assert (first.files, first.known) == (4, 0)
    assert (again.files, again.known, again.changed_days) == (0, 4, set())
    assert (store.folder / "manifest.json").stat().st_mtime_ns == manifest
    for path in SAMPLES.iterdir():
        (tmp_path / f"copy-{path.name}").write_bytes(path.read_bytes())
    before = all_rows(store)
    moved = read(store, tmp_path)
    assert (moved.files, moved.known) == (0, 4)
    assert all_rows(store) == before


def test_a_changed_file_replaces_its_rows(store: Store, tmp_path: Path) -> None:
    """The rows of the old content go, those of other files stay, and both days count as changed."""
    path, other = tmp_path / "in", tmp_path / "other"
    path.write_text(bridge(1) + bridge(2))
    other.write_text(bridge(3))
    read(store, path, other)
    store.clear_pending_days(before=99_999)
    path.write_text(bridge(1).replace("2026-03-0", "2026-04-0"))
    result = read(store, path, other)
    assert rows(store, "reports", "fingerprint, day") == [(f"{1:040X}", DAY + 31), (f"{3:040X}", DAY)]
    assert (result.files, result.known) == (1, 1)
    assert {DAY, DAY + 31} <= result.changed_days == set(store.pending_days())
    assert {row[0] for row in rows(store, "cells", "source")} == {row[0] for row in rows(store, "reports", "source")}


def test_files_that_are_gone_stay_read(store: Store, tmp_path: Path) -> None:
    """CollecTor's `recent` keeps files for three days only; their rows stay."""
    path = tmp_path / "in"
    path.write_text(bridge(1))
    read(store, path)
    path.unlink()
    (tmp_path / "later").write_text(bridge(2))
    read(store, tmp_path / "later")
    assert len(rows(store, "reports")) == 2


def test_a_path_of_two_that_changes(store: Store, tmp_path: Path) -> None:
    """Rows stay while another path has the same content."""
    a, b = tmp_path / "a", tmp_path / "b"
    for path in (a, b):
        path.write_text(bridge(1))
    read(store, a, b)
    assert len(rows(store, "reports")) == 1
    a.write_text(bridge(2))
    read(store, a)
    assert rows(store, "reports", "fingerprint") == [(f"{1:040X}",), (f"{2:040X}",)]
    b.write_text(bridge(3))
    read(store, b)
    assert rows(store, "reports", "fingerprint") == [(f"{2:040X}",), (f"{3:040X}",)]


def test_a_file_that_grows_while_it_is_read(store: Store, tmp_path: Path) -> None:
    """It counts as it was read, and is read again next time."""
    path = tmp_path / "in"
    path.write_text(bridge(1))

    def append(size: int) -> None:
        if size and path.read_text().count("@type") == 1:
            with path.open("a") as file:
                file.write(bridge(2))

    read(store, path, advance=append)
    grown = read(store, path)
    assert (grown.files, grown.known) == (1, 0)
    assert rows(store, "reports", "fingerprint") == [(f"{1:040X}",), (f"{2:040X}",)]


KILLED = """
import os, sys
from pathlib import Path
from obfstats.analyse.ingest import ingest
from obfstats.analyse.store import Store

def advance(size):
    if list(Path(sys.argv[2]).glob("*/*/part-*")) and "kill" in sys.argv:
        os.kill(os.getpid(), 9)

if __name__ == "__main__":
    ingest([Path(sys.argv[1])], Store(Path(sys.argv[2])), workers=1, advance=advance)
"""


def test_a_killed_ingest_leaves_the_old_state(store: Store, tmp_path: Path) -> None:
    """Parts that were written before the manifest are not counted, and the next run is as if there had been none."""
    folder = tmp_path / "in"
    folder.mkdir()
    # Two tasks: the first one's parts are on disk when the second one begins.
    for number in (1, 2):
        (folder / f"{number}").write_text(bridge(number) * 2)
    command = [sys.executable, "-c", KILLED, str(folder), str(store.folder)]
    assert subprocess.run([*command, "kill"], check=False).returncode == -signal.SIGKILL
    assert list(store.folder.glob("*/*/part-*"))
    assert store.days() == []
    subprocess.run(command, check=True)
    assert [count for (count,) in rows(store, "reports", "count(*)")] == [4]
    assert {str(path) for path in store.folder.glob("*/*/part-*")} == {
        file for table in SCHEMAS for file in store.files(table)
    }


def many(folder: Path) -> Path:
    """More files than one process reads alone, plain and compressed, with everything in them."""
    folder.mkdir()
    for file in range(6):
        texts = [bridge(10_000 * file + number) for number in range(2600)]
        (folder / f"{file}").write_text("".join(texts))
    (folder / "statuses.tar.xz").write_bytes(lzma.compress(tar_of({"a": STATUS.encode(), "b": DOCUMENT.encode()})))
    (folder / "damaged").write_text(bridge(1).replace("us=8", "us") * 3)
    return folder


def test_processes_read_the_same(store: Store, tmp_path: Path) -> None:
    """Two processes make the same rows and counts as one, and tell the same progress."""
    folder = many(tmp_path / "in")
    one, two = Store(tmp_path / "one"), store
    told: dict[int, list[int]] = {1: [], 2: []}
    results = [read(used, folder, workers=n, advance=told[n].append) for n, used in ((1, one), (2, two))]
    assert all_rows(one) == all_rows(two)
    assert results[0] == results[1]
    assert results[0].read["bridge-extra-info"] == 6 * 2600
    assert sum(told[1]) == sum(told[2]) == sum(path.stat().st_size for path in folder.iterdir())
    (what,) = results[1].damaged
    assert what == "bridge-extra-info: wrong bridge-ips line"
    assert results[1].damaged[what].count == 3
    assert results[1].damaged[what].first == f"{folder / 'damaged'}, line 11"


def test_a_process_that_is_killed(store: Store, tmp_path: Path) -> None:
    """The system may end a process that reads, for its memory: an error that says so, and the store is as before."""
    folder = many(tmp_path / "in")

    def kill(_size: int) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(StoreError, match="a process that read files was ended by the system"):
        read(store, folder, workers=2, advance=kill)
    assert store.days() == []


def test_an_interrupt_ends_all_processes(store: Store, tmp_path: Path) -> None:
    """Control-C in the first process is passed on, and the store is as before."""
    folder = many(tmp_path / "in")

    def interrupt(size: int) -> None:
        if size:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(store, folder, workers=2, advance=interrupt)
    assert multiprocessing.active_children() == []
    assert store.days() == []


FULL = """
import resource, sys
from pathlib import Path
from obfstats.analyse.ingest import ingest
from obfstats.analyse.store import Store, StoreError

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    ingest([Path(sys.argv[1])], Store(Path(sys.argv[2])), workers=1, advance=lambda _: None)
except StoreError as error:
    print(error)
"""


def test_a_full_disk(store: Store, tmp_path: Path) -> None:
    """Rows that cannot be written are an error of the store."""
    (tmp_path / "in").write_text(bridge(1))
    command = [sys.executable, "-c", FULL, str(tmp_path / "in"), str(store.folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stdout == f"cannot write to {store.folder}: File too large; free some space there\n"
    assert store.days() == []


def test_an_input_is_read_to_its_damage(store: Store, tmp_path: Path) -> None:
    """Of a truncated archive what was whole counts, and where it ends is said once."""
    archive = tar_of({"a": bridge(1).encode(), "b": bridge(2).encode()})
    (tmp_path / "in\n.tar").write_bytes(archive[:3000])
    (tmp_path / "in.tar.xz").write_bytes(lzma.compress(archive)[:-8])
    result = read(store, tmp_path / "in\n.tar", tmp_path / "in.tar.xz")
    assert rows(store, "reports", "source, fingerprint") == [
        (1, f"{1:040X}"), (2, f"{1:040X}"), (2, f"{2:040X}"),
    ]  # fmt: skip
    assert {what: (damage.count, damage.first) for what, damage in result.damaged.items()} == {
        "file: tar archive is truncated": (1, f"{tmp_path}/in\\n.tar, byte 3,000"),
        "file: xz data is truncated": (1, f"{tmp_path}/in.tar.xz"),
    }


def test_types_are_counted_within_bounds(store: Store, tmp_path: Path) -> None:
    """A file that names thousands of types does not fill the memory, or the terminal."""
    (tmp_path / "in").write_text("".join(f"@type x{number}\x1b 1.0\n" for number in range(1000)))
    result = read(store, tmp_path / "in")
    assert len(result.skipped) <= 101
    assert sum(result.skipped.values()) == 1000
    assert all(name.isprintable() for name in result.skipped)


def test_many_small_runs_do_not_make_many_files(store: Store, tmp_path: Path) -> None:
    """Hourly files are merged from time to time, and no row is lost."""
    for number in range(30):
        (tmp_path / f"{number}").write_text(bridge(number))
        read(store, tmp_path / f"{number}")
    assert len(store.files("reports")) <= 10
    assert [fingerprint for (fingerprint,) in rows(store, "reports", "fingerprint")] == [
        f"{number:040X}" for number in range(30)
    ]
    assert pq.read_schema(store.files("cells")[0]).names == SCHEMAS["cells"].names


def test_the_store_is_not_its_own_input(store: Store, tmp_path: Path) -> None:
    """A folder of inputs may hold the results."""
    (tmp_path / "in").write_text(bridge(1))
    read(store, tmp_path)
    again = read(store, tmp_path)
    assert (again.files, again.known, again.skipped) == (0, 1, {})


def test_errors_are_sentences(store: Store, tmp_path: Path) -> None:
    """What cannot be read is one sentence."""
    with pytest.raises(InputError, match="no-such: No such file or directory"):
        read(store, tmp_path / "no-such")


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_a_damaged_part_is_said(store: Store, tmp_path: Path, content: bytes | None) -> None:
    """A file's old rows cannot be taken out of it."""
    (tmp_path / "in").write_text(bridge(1))
    read(store, tmp_path / "in")
    part = Path(store.files("reports")[0])
    part.unlink()
    if content is not None:
        part.write_bytes(content)
    (tmp_path / "in").write_text(bridge(2))
    with pytest.raises(StoreError, match=r"part-000001\.parquet; remove .*store, and its inputs are read again"):
        read(store, tmp_path / "in")


def test_the_manifest_names_files_and_digests(store: Store, tmp_path: Path) -> None:
    """What a store is made of can be looked up."""
    (tmp_path / "in").write_text(bridge(1))
    read(store, Path(os.path.relpath(tmp_path / "in")))
    content = json.loads((store.folder / "manifest.json").read_text())
    assert content["paths"] == {str(tmp_path / "in"): 1}
    assert len(content["digests"]["1"]) == 64
