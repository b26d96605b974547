"""`obfstats page --textfile FILE`: the last interval for Prometheus's node_exporter."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

from obfstats import cli
from peers.prometheus import node_exporter
from tests.show.bridges import publish, write_folder

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_node_exporter_serves_the_textfile(tmp_path: Path) -> None:
    """The real one reads it, and finds no fault in it."""
    published = write_folder(tmp_path / "published", publish([{"TR": 9}, {"IR": 44}]))
    textfiles = tmp_path / "textfiles"
    assert cli.main(["page", "--from", str(published), "--textfile", str(textfiles / "obfstats.prom")]) == 0
    assert [path.name for path in textfiles.iterdir()] == ["obfstats.prom"]
    with node_exporter(textfiles) as (host, port):
        text = urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=30).read().decode()
    assert 'obfstats_interval_addresses{country="IR"} 48' in text
    assert 'obfstats_interval_addresses{country="TR"} 0' in text
    assert "node_textfile_scrape_error 0" in text


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In one line, with status 2."""
    published = write_folder(tmp_path / "published", publish([{"IR": 44}]))
    (tmp_path / "file").write_text("")
    assert cli.main(["page", "--from", str(published), "--textfile", str(tmp_path / "file" / "a.prom")]) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert error.startswith(f"obfstats page: cannot write {tmp_path}/file/a.prom: ")
    assert error.count("\n") == 1
