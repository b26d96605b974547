"""`obfstats analyse`: from descriptors to tables with one command, and only what changed the next time."""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import tarfile
import threading
from typing import TYPE_CHECKING

import duckdb
import pytest

from obfstats.analyse.analysis import pass_interrupts
from obfstats.analyse.ingest import ingest
from obfstats.analyse.store import Store
from peers.program import OBFSTATS
from tests.analyse.stores import GOLDEN
from tests.publish.programs import run

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

ARCHIVE = GOLDEN / "descriptors.tar.xz"
SAMPLES = GOLDEN.parent / "samples"


def analyse(*arguments: str | Path) -> CompletedProcess[bytes]:
    """Run the command."""
    return run([OBFSTATS, "analyse", *map(str, arguments)])


def read_results(folder: Path) -> dict[str, bytes]:
    """All tables in CSV."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}


@pytest.fixture(scope="module")
def golden_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Golden's archive, analysed once. Do not write to it."""
    folder = tmp_path_factory.mktemp("analysed") / "results"
    assert analyse(ARCHIVE, "--to", folder).returncode == 0
    return folder


@pytest.fixture
def halves(tmp_path: Path) -> tuple[Path, Path]:
    """Golden's files in two folders, by their dates."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path / "all", filter="data")
    folders = tmp_path / "first", tmp_path / "second"
    for path in sorted((tmp_path / "all").rglob("2026*")):
        if path.is_file():
            later = path.name.replace("-", "")[:8] > "20260308"
            target = folders[later] / path.parent.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target / path.name)
    return folders


def test_golden_gives_the_files_of_tor_metrics(golden_results: Path) -> None:
    """One command, and the published numbers are there with the same bytes."""
    assert (golden_results / "userstats.csv").read_bytes() == (GOLDEN / "estimated.csv").read_bytes()
    assert (golden_results / "userstats-combined.csv").read_bytes() == (GOLDEN / "combined.csv").read_bytes()


def test_our_estimate_is_beside_it_with_its_interval(golden_results: Path) -> None:
    """Every number of ours lies in its interval, and the total is there on every published day."""
    with (golden_results / "obfstats-users.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["lower"]) <= float(row["users"]) <= float(row["upper"]) for row in rows)
    totals = {row["date"] for row in rows if row["country"] == row["transport"] == ""}
    assert totals == {row["date"] for row in csv.DictReader(io.StringIO((GOLDEN / "estimated.csv").read_text()))}


def test_two_runs_give_what_one_gives(golden_results: Path, halves: tuple[Path, Path], tmp_path: Path) -> None:
    """Days that the second half changes are estimated again; the published tables do not differ by a byte."""
    for half in halves:
        assert analyse(half, "--to", tmp_path / "results").returncode == 0
    found, expected = read_results(tmp_path / "results"), read_results(golden_results)
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


def test_known_files_are_not_read_again(golden_results: Path, tmp_path: Path) -> None:
    """A second run says so, and changes nothing."""
    shutil.copytree(golden_results, tmp_path / "results")
    result = analyse(ARCHIVE, "--to", tmp_path / "results")
    assert result.stderr.startswith(b"obfstats analyse: read 0 new files of 1: no descriptors\n")
    assert read_results(tmp_path / "results") == read_results(golden_results)


def test_a_run_that_was_killed_after_reading_is_made_up_for(golden_results: Path, tmp_path: Path) -> None:
    """The next run estimates what the store has, though it reads nothing new."""
    ingest([ARCHIVE], Store(tmp_path / "results" / "store"), workers=1, advance=lambda _: None)
    assert analyse(ARCHIVE, "--to", tmp_path / "results").returncode == 0
    assert read_results(tmp_path / "results") == read_results(golden_results)


def test_one_run_at_a_time(golden_results: Path, tmp_path: Path) -> None:
    """A run that still estimates keeps others from writing: each would take the other's changed days for done."""
    shutil.copytree(golden_results, tmp_path / "results")
    with Store(tmp_path / "results" / "store").lock():
        result = analyse(ARCHIVE, "--to", tmp_path / "results")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"another program is writing to" in result.stderr
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("content", [None, b"", b"PAR1 but not much more PAR1"])
def test_a_table_that_is_lost_is_made_anew(golden_results: Path, tmp_path: Path, content: bytes | None) -> None:
    """Though no input is new: the store has everything."""
    shutil.copytree(golden_results, tmp_path / "results")
    table = tmp_path / "results" / "tables" / "userstats.parquet"
    table.unlink()
    if content is not None:
        table.write_bytes(content)
    assert analyse(ARCHIVE, "--to", tmp_path / "results").returncode == 0
    assert read_results(tmp_path / "results") == read_results(golden_results)


def test_first_days_that_are_taken_back_go(halves: tuple[Path, Path], tmp_path: Path) -> None:
    """A file's new content begins later; the numbers of the days before it were of the old content."""
    archive = tmp_path / "archive.tar"
    for contents in (halves, halves[1:]):
        with tarfile.open(archive, "w") as tar:
            for folder in contents:
                tar.add(folder)
        assert analyse(archive, "--to", tmp_path / "results").returncode == 0
    assert analyse(archive, "--to", tmp_path / "expected").returncode == 0
    assert read_results(tmp_path / "results") == read_results(tmp_path / "expected")


def test_what_a_killed_run_left_goes(golden_results: Path, tmp_path: Path) -> None:
    """DuckDB's files can be large."""
    shutil.copytree(golden_results, tmp_path / "results")
    (tmp_path / "results" / ".duckdb").mkdir()
    (tmp_path / "results" / ".duckdb" / "duckdb_temp_storage_DEFAULT-0.tmp").touch()
    assert analyse(ARCHIVE, "--to", tmp_path / "results").returncode == 0
    assert not (tmp_path / "results" / ".duckdb").exists()


def test_control_c_ends_a_query() -> None:
    """As it ends everything else: with KeyboardInterrupt, which is exit status 130."""
    interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt), pass_interrupts():
        duckdb.sql("SELECT sum(hash(range)) FROM range(1000000000)").fetchall()  # type: ignore[union-attr]
    interrupt.join()


def test_the_last_two_days_wait(golden_results: Path, tmp_path: Path) -> None:
    """As of a day, it and the day before are left out; a later run estimates them though nothing changed."""
    assert analyse(ARCHIVE, "--to", tmp_path / "results", "--as-of", "2026-03-10").returncode == 0
    for name in ("userstats", "obfstats-users", "obfstats-bridges"):
        text = (tmp_path / "results" / f"{name}.csv").read_text()
        assert "2026-03-08" in text
        assert "2026-03-09" not in text
    assert analyse(ARCHIVE, "--to", tmp_path / "results").returncode == 0
    assert read_results(tmp_path / "results") == read_results(golden_results)


def test_the_real_samples_become_a_table(tmp_path: Path) -> None:
    """Four tarballs of three years' descriptors: numbers where there are reports, and a word on what is left out."""
    result = analyse(*sorted(SAMPLES.glob("*.tar")), "--to", tmp_path / "results")
    assert result.returncode == 0
    assert b"6 bridge-extra-info, 2 bridge-network-status, 4 bridge-server-descriptor" in result.stderr
    assert b"7 @type extra-info 1.0" in result.stderr
    assert b"users" in result.stdout
    with (tmp_path / "results" / "obfstats-users.csv").open() as file:
        totals = {row["date"]: float(row["users"]) for row in csv.DictReader(file) if row["country"] == ""}
    # The six reports cover these days; between them there is no number.
    assert sorted(totals) == [f"2019-03-{day}" for day in ("01", "07", "08", "13", "14", "19", "20")]
    assert totals["2019-03-14"] == pytest.approx(0.95 * 44 / 10, rel=0.1)


def test_years_without_descriptors(tmp_path: Path) -> None:
    """Seven years lie between the samples and golden's archive: they have no numbers, and change none."""
    assert analyse(ARCHIVE, SAMPLES, "--to", tmp_path / "results").returncode == 0
    assert (tmp_path / "results" / "userstats.csv").read_bytes() == (GOLDEN / "estimated.csv").read_bytes()
    dates = {line.partition(",")[0] for line in (tmp_path / "results" / "obfstats-users.csv").read_text().splitlines()}
    # A day with statuses of 2019-05 has no reports in its four weeks. The first reports of 2026 begin on 2026-02-28.
    assert {date[:7] for date in dates} == {"date", "2019-03", "2026-02", "2026-03"}


def test_what_is_no_descriptor_is_said(tmp_path: Path) -> None:
    """Bad data is exit status 1, and says what can be read."""
    (tmp_path / "notes.txt").write_text("hello\n")
    result = analyse(tmp_path / "notes.txt", "--to", tmp_path / "results")
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"none of this is a descriptor of bridges or a document; see docs/analyse.md" in result.stderr


def test_an_input_that_is_not_there_is_said(tmp_path: Path) -> None:
    """One line, exit status 2, and no folder is left."""
    result = analyse(tmp_path / "missing", "--to", tmp_path / "results")
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.count(b"\n") == 1
    assert b"missing: No such file or directory" in result.stderr
    assert not (tmp_path / "results").exists()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A file in the place of the folder."""
    (tmp_path / "results").write_text("")
    result = analyse(ARCHIVE, "--to", tmp_path / "results")
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("options", [["--engine", "spark"], ["--spark", "sc://127.0.0.1:1"]])
def test_the_options_of_a_cluster_go_together(options: list[str], tmp_path: Path) -> None:
    """Bad usage is exit status 2."""
    result = analyse(ARCHIVE, "--to", tmp_path / "results", *options)
    assert result.returncode == 2
    assert b"--engine spark and --spark sc://HOST:PORT go together" in result.stderr


def test_a_cluster_that_does_not_answer_is_said(tmp_path: Path) -> None:
    """Nothing listens on port 1."""
    pytest.importorskip("pyspark")
    result = analyse(ARCHIVE, "--to", tmp_path / "results", "--engine", "spark", "--spark", "sc://127.0.0.1:1")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"cannot connect to 127.0.0.1 port 1: Connection refused" in result.stderr


def test_annotations_that_cannot_be_read_end_the_run(tmp_path: Path) -> None:
    """Before anything is written."""
    result = analyse(ARCHIVE, "--to", tmp_path / "results", "--annotations", tmp_path / "missing.csv")
    assert (result.returncode, result.stdout) == (2, b"")
    assert not (tmp_path / "results").exists()
