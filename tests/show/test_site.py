"""The command `obfstats site`: tables become a folder."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from obfstats import cli
from tests.show.tables import LAST, make_tables

if TYPE_CHECKING:
    from pathlib import Path


def run(source: Path, out: Path, *options: str) -> int:
    """Run the command."""
    return cli.main(["site", "--from", str(source), "--to", str(out), *options])


def list_files(folder: Path) -> set[str]:
    """The files of a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_site_is_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Pages that others may read, and one line that says where they are."""
    results = make_tables(40, sizes={"ir": 50, "de": 10}).write(tmp_path / "results")
    out = tmp_path / "www" / "site"
    assert run(results, out) == 0
    files = list_files(out)
    assert {
        "index.html",
        "country/ir.html",
        "country/ir.csv",
        "transport/no-transport.html",
        "month/2026-11.html",
    } <= files
    assert capfd.readouterr() == (f"{out}/index.html: {len(files)} of {len(files)} files have changed\n", "")


def test_only_changed_files_are_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing where nothing is new; after another day the reports of earlier months stay as they are."""
    out = tmp_path / "site"
    run(make_tables(100, sizes={"ir": 50, "de": 10}).write(tmp_path / "a"), out)
    for path in out.rglob("*.html"):
        os.utime(path, (1, 1))
    capfd.readouterr()
    run(tmp_path / "a", out)
    assert ": 0 of " in capfd.readouterr().out
    later = make_tables(100, sizes={"ir": 50, "de": 10})
    later.add("obfstats-users", str(LAST + timedelta(days=1)), "", "", 60, 55, 65)
    later.add("obfstats-expected", str(LAST + timedelta(days=1)), "", "", 50, 70)
    run(later.write(tmp_path / "b"), out)
    written = {str(path.relative_to(out)) for path in out.rglob("*.html") if path.stat().st_mtime > 1}
    assert "month/2026-11.html" in written
    assert "index.html" in written
    assert not written & {"month/2026-08.html", "month/2026-09.html", "month/2026-10.html"}


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    """The folder may have a robots.txt, or a page of a bridge."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "robots.txt").write_text("mine")
    run(make_tables(40, sizes={"ir": 50}).write(tmp_path / "results"), tmp_path / "site")
    assert (tmp_path / "site" / "robots.txt").read_text() == "mine"


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No tables, a folder that cannot be written, an address that is none: status 2. Damaged rows: 1."""
    assert run(tmp_path, tmp_path / "site") == 2
    assert capfd.readouterr().err == (
        f"obfstats site: {tmp_path}/obfstats-users.csv is missing; "
        "give --from the folder that --to of obfstats analyse named\n"
    )
    tables = make_tables(40, sizes={"ir": 50})
    results = tables.write(tmp_path / "results")
    (tmp_path / "file").write_text("")
    assert run(results, tmp_path / "file") == 2
    assert "cannot write to" in capfd.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run(results, tmp_path / "site", "--url", "javascript:alert(1)")
    assert "--url" in capfd.readouterr().err
    tables.add("obfstats-users", "yesterday", "ir", "", 1, 1, 1)
    assert run(tables.write(results), tmp_path / "site") == 1
    assert "1 rows" in capfd.readouterr().err


def test_tables_of_analyse_become_a_site(tmp_path: Path) -> None:
    """The whole way: simulated bridges, analyse, site. Nothing is damaged, and every table is used."""
    simulated, results = (str(tmp_path / name) for name in ("simulated", "results"))
    block = "ir:2026-03-25:14:0.9"
    assert (
        cli.main(
            ["simulate", "--bridges", "15", "--days", "40", "--users", "2000", "--block", block, "--to", simulated]
        )
        == 0
    )
    annotations = f"{simulated}/events.csv"
    analyse = ["analyse", simulated, "--to", results, "--annotations", annotations, "--as-of", "2026-04-12"]
    assert cli.main(analyse) == 0
    assert run(tmp_path / "results", tmp_path / "site") == 0
    page = (tmp_path / "site" / "country" / "ir.html").read_text()
    assert 'class="expected"' in page
    assert 'class="mark fall"' in page
    assert "simulated loss of 90% of the requests" in page
    assert "Addresses" in page
