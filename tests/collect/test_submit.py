"""`obfstats submit` and a collector on loopback: what is sent, what is told, what remains."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.client.keys import KEY_NAME
from obfstats.collect.client.spool import MAX_FILES
from obfstats.collect.signing import SigningKey, verify
from obfstats.collect.submission import KeyStatus, write_status
from peers.program import OBFSTATS
from tests.collect import stand_in
from tests.collect.stand_in import document
from tests.publish.programs import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.collect.stand_in import Collector


pytestmark = pytest.mark.usefixtures("key")


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that admits every key."""
    with stand_in.serve() as running:
        yield running


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    """The key in the bridge's folder."""
    return SigningKey.create(tmp_path / KEY_NAME)


def submit(folder: Path, collector: Collector, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run the command."""
    words = ["submit", "--to", collector.url_text, "--data-dir", folder, *arguments]
    return run([OBFSTATS, *map(str, words)])


def write(folder: Path, *texts: bytes) -> Path:
    """Write a file of documents."""
    path = folder / "documents.txt"
    path.write_bytes(b"".join(texts))
    return path


def test_a_document_is_accepted_and_told_when_it_will_be_public(tmp_path: Path, collector: Collector) -> None:
    """One line says what happens next; nothing remains in the spool."""
    result = submit(tmp_path, collector, write(tmp_path, document()))
    assert (result.returncode, result.stderr) == (0, b"")
    end = (stand_in.NOW - timedelta(days=1)).isoformat(" ", "seconds")[:19]
    assert result.stdout.decode() == (
        f"interval that ended {end}: accepted; in the public archive by 2099-11-30 14:09 UTC at "
        f"{collector.url_text}/recent/obfsproxy-stats/2099-11-30-14-09-00-obfsproxy-stats\n"
    )
    assert collector.documents == [document()]
    assert list((tmp_path / "spool").glob("[0-9]*")) == []


def test_a_request_has_the_document_its_signature_and_nothing_else(
    tmp_path: Path, collector: Collector, key: SigningKey
) -> None:
    """No name of a program, no language, no time."""
    submit(tmp_path, collector, write(tmp_path, document()))
    head, _, body = collector.requests[0].partition(b"\r\n\r\n")
    assert head.decode().split("\r\n") == [
        "POST /v1/documents HTTP/1.1",
        f"Host: 127.0.0.1:{collector.address[1]}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    sent = json.loads(body)
    assert sent == {
        "key": key.public,
        "documents": [{"document": document().decode(), "signature": key.sign(document(), "obfstats").decode()}],
    }
    assert verify(document(), sent["documents"][0]["signature"].encode(), key.public)


def test_a_dry_run_prints_every_byte_and_sends_none(tmp_path: Path, collector: Collector) -> None:
    """What it prints is what is sent afterwards, and it keeps nothing."""
    path = write(tmp_path, document(1), document(2))
    printed = submit(tmp_path, collector, "--dry-run", path)
    assert printed.returncode == 0
    assert b"nothing was sent" in printed.stderr
    assert collector.requests == []
    assert not (tmp_path / "spool").exists()
    submit(tmp_path, collector, path)
    assert collector.requests == [printed.stdout]


def test_what_could_not_be_sent_goes_with_the_next_run(tmp_path: Path, collector: Collector) -> None:
    """A collector that is gone is a sentence and status 2, and the document waits."""
    with stand_in.serve() as gone:
        pass
    waiting = run([OBFSTATS, "submit", "--to", gone.url_text, "--data-dir", str(tmp_path), "--through",
                   f"socks5h://127.0.0.1:{gone.address[1]}", str(write(tmp_path, document(2)))])  # fmt: skip
    assert (waiting.returncode, waiting.stdout) == (2, b"")
    assert b"start tor, or name its SOCKS port with --through; 1 document in" in waiting.stderr
    result = submit(tmp_path, collector, write(tmp_path, document(1)))
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.startswith(b"2 intervals that ended ")
    assert collector.documents == [document(2), document(1)]
    again = submit(tmp_path, collector)
    assert (again.returncode, again.stdout) == (0, b"nothing waits to be sent\n")
    assert len(collector.requests) == 1


def test_the_same_document_again_is_the_same_bytes(tmp_path: Path, collector: Collector) -> None:
    """The collector has it already, which is a success."""
    path = write(tmp_path, document())
    submit(tmp_path, collector, path)
    result = submit(tmp_path, collector, path)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.endswith(b": the collector had it already\n")
    assert collector.requests[0] == collector.requests[1]


def test_documents_come_from_a_pipe(tmp_path: Path, collector: Collector) -> None:
    """As they come from `obfstats convert`."""
    (tmp_path / "first").write_bytes(document(1))
    words = [OBFSTATS, "submit", "--to", collector.url_text, "--data-dir", str(tmp_path), "-", str(tmp_path / "first")]
    result = subprocess.run(words, input=document(2) + document(3), capture_output=True, check=False, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")
    assert collector.documents == [document(3), document(2), document(1)]


def test_a_reader_that_goes_away_is_no_error_of_the_spool(tmp_path: Path, collector: Collector) -> None:
    """As with every command: 141, and the document was sent."""
    words = [OBFSTATS, "submit", "--to", collector.url_text, "--data-dir", tmp_path, write(tmp_path, document())]
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(list(map(str, words)), stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")
    assert collector.documents == [document()]


def test_more_than_the_spool_keeps_is_refused_at_once(tmp_path: Path, collector: Collector) -> None:
    """Else the oldest would be dropped unsent."""
    path = write(tmp_path, *(document(number=8 * number) for number in range(MAX_FILES + 1)))
    result = submit(tmp_path, collector, path)
    assert (result.returncode, result.stdout) == (2, b"")
    assert (
        result.stderr
        == b"obfstats submit: more than 400 documents to be sent; nothing was sent; name fewer at a time\n"
    )
    assert collector.requests == []
    assert not (tmp_path / "spool").exists()


def test_a_folder_whose_name_is_no_text_is_shown(tmp_path: Path, collector: Collector) -> None:
    """As escapes, in the columns of the status too."""
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/\xff\x1b"))
    SigningKey.create(folder / KEY_NAME)
    body = write_status("RW", KeyStatus(admitted=True, published=3, last_end=0, quarantined=0, conflicting=0))
    collector.respond = lambda _head, _body: stand_in.answer(200, body)
    result = submit(folder, collector, "--status")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"published      3 documents; the last interval ended 1970-01-01 00:00:00 UTC\n" in result.stdout
    assert result.stdout.endswith(rb"/\udcff\x1b/spool/refused" + b"\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as another user")
def test_root_uses_the_spool_of_a_bridges_user(collector: Collector, tmp_path: Path) -> None:
    """The bridge must be able to send and remove what root could not send."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "pt_state"
        folder.mkdir(mode=0o700)
        os.chown(folder, 65534, 65534)
        assert run([OBFSTATS, "key", "new", "--data-dir", str(folder)]).returncode == 0
        collector.respond = lambda _head, _body: stand_in.answer(404, b"")
        assert submit(folder, collector, write(tmp_path, document())).returncode == 2
        files = [path.stat() for path in (folder / "spool").rglob("*")]
        assert len(files) == 3
        assert {(status.st_uid, status.st_gid) for status in files} == {(65534, 65534)}
