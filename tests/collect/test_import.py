"""`obfstats collect import`: old documents from local files, once, marked as imported."""

from __future__ import annotations

import tarfile
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from obfstats.cli import main
from obfstats.collect.archive.importing import publish_when_free
from obfstats.collect.index import parse_index
from obfstats.collect.signing import verify
from obfstats.lockedfile import LockedFile
from tests.collect.collectors import DAY, bridge, document, open_collector

if TYPE_CHECKING:
    from pathlib import Path

OLD = 1_370_000_000
"""2013-05-31 11:33:20 UTC."""

MONTHS = ["archive/obfsproxy-stats-imported-2013-05.tar.xz", "archive/obfsproxy-stats-imported-2013-06.tar.xz"]


class Importer:
    """A collector into which files are imported."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.database = database

    def run(self, *paths: Path) -> int:
        """Import files; give the exit status."""
        return main(["collect", "import", "--dir", str(self.folder), "--database", self.database, *map(str, paths)])

    def files(self) -> dict[str, bytes]:
        """Give the public files."""
        with open_collector(self.folder, self.database) as collector:
            return collector.files()


def make_importer(folder: Path, database: str) -> Importer:
    """Make a collector that has published, and whose index says where the archive is."""
    with open_collector(folder, database) as collector:
        at_home = replace(collector.publication, url="https://collector.example")
        at_home.open_publisher(collector.ledger).publish(OLD)
    return Importer(folder, database)


@pytest.fixture
def importer(tmp_path: Path, database_url: str) -> Importer:
    """A new collector, on both databases."""
    return make_importer(tmp_path / "collector", database_url)


@pytest.fixture
def importer_on_sqlite(tmp_path: Path) -> Importer:
    """A new collector, for what the database does not matter for."""
    return make_importer(tmp_path / "collector", str(tmp_path / "ledger.sqlite"))


def write(path: Path, *texts: bytes) -> Path:
    """Write a file of documents."""
    path.write_bytes(b"".join(texts))
    return path


def test_old_documents_are_in_archives_that_the_index_marks_as_imported(
    importer: Importer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each in its month, as canonical text, signed by the collector; the index keeps its URL."""
    # As log2stats writes them: without @type.
    first = document(1, OLD).removeprefix(b"@type obfsproxy-stats 1.0\n")
    assert (
        importer.run(write(tmp_path / "a", first, document(1, OLD + DAY)), write(tmp_path / "b", document(2, OLD))) == 0
    )
    assert capsys.readouterr() == ("imported: 3; in the archive already: 0\n", "")
    index = parse_index((importer.folder / "public" / "index.json").read_bytes())
    assert index.url == "https://collector.example"
    imported = [entry for entry in index.files if entry.imported]
    assert [entry.path for entry in imported] == MONTHS
    assert {entry.types for entry in imported} == {("obfsproxy-stats 1.0",)}
    with open_collector(importer.folder, importer.database) as collector:
        assert collector.documents() == sorted([document(1, OLD), document(1, OLD + DAY), document(2, OLD)])
        with tarfile.open(importer.folder / "public" / MONTHS[1]) as tar:
            text, signature = (tar.extractfile(member).read() for member in tar)  # type: ignore[union-attr]
        assert verify(text, signature, collector.key.public) == signature


def test_the_same_import_once_more_changes_nothing(
    importer: Importer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not a byte of the files."""
    path = write(tmp_path / "documents", document(1, OLD), document(2, OLD))
    assert importer.run(path) == 0
    before = importer.files()
    assert importer.run(path, path) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "imported: 0; in the archive already: 4"
    assert importer.files() == before


def test_a_document_that_contradicts_the_archive_is_left_out(
    importer: Importer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first one stays; the others of the file are imported."""
    importer.run(write(tmp_path / "first", document(1, OLD)))
    capsys.readouterr()
    path = write(tmp_path / "second", document(1, OLD, clients=16), document(2, OLD))
    assert importer.run(path) == 1
    out, err = capsys.readouterr()
    assert out == "imported: 1; in the archive already: 0\n"
    assert err == (
        f"obfstats collect import: {path}, line 1: not imported: another document of this interval is published\n"
    )
    with open_collector(importer.folder, importer.database) as collector:
        assert collector.documents() == sorted([document(1, OLD), document(2, OLD)])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (document(1, OLD).replace(b"DE=8", b"DE=eight", 1), "line 9: not a number after a name"),
        (
            document(1, OLD).replace(b"hashed-fingerprint " + bridge(1).encode() + b"\n", b""),
            "line 6: a document without",
        ),
        (document(1, int(time.time()) // DAY * DAY), "line 6: the interval ended less than 30 days ago; send it with"),
        (document(1, OLD).replace(b"86400 s", b"86401 s"), "line 6: the interval is longer than 86400 seconds"),
        (document(1, -DAY), "line 6: the interval ended before 2012, when obfsproxy was released"),
        (b"2013-05-31 11:33:20 de 0123\n", "line 6: unknown keyword"),
    ],
    ids=["number", "bridge", "young", "long", "1969", "log"],
)
def test_bad_input_is_one_line_and_nothing_is_imported(
    importer_on_sqlite: Importer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    wrong: bytes,
    sentence: str,
) -> None:
    """The file and the line, also where good documents precede it."""
    path = write(tmp_path / "documents", document(3, OLD), wrong)
    before = importer_on_sqlite.files()
    assert importer_on_sqlite.run(write(tmp_path / "good", document(4, OLD)), path) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"obfstats collect import: {path}, {sentence}")
    assert line.endswith("; nothing was imported")
    assert importer_on_sqlite.files() == before


def test_a_file_or_folder_that_is_not_there_is_one_line(
    importer_on_sqlite: Importer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, and what is missing; no collector is made by mistake."""
    assert importer_on_sqlite.run(tmp_path / "nothing") == 2
    assert (
        capsys.readouterr().err
        == f"obfstats collect import: cannot read {tmp_path}/nothing: No such file or directory\n"
    )
    path = write(tmp_path / "documents", document(1, OLD))
    assert main(["collect", "import", "--dir", str(tmp_path / "none"), str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"obfstats collect import: there is no folder {tmp_path}/none; ")
    assert not (tmp_path / "none").exists()


def test_an_import_waits_for_a_running_publication(tmp_path: Path) -> None:
    """And says so once."""
    with open_collector(tmp_path / "collector", str(tmp_path / "ledger.sqlite")) as collector:
        held = LockedFile.open(tmp_path / "collector" / ".publishing", "lock", "")
        reports: list[str] = []
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                held.close()

        publish_when_free(collector.publisher, OLD, reports.append, pause)
        assert reports == ["the collector is publishing; waiting for it"]
        assert pauses == [1, 1]
        assert (collector.public / "index.json").exists()
