"""`obfstats collect serve` as operators run it: its start, its mistakes, its end, and what it leaves behind."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.signing import SigningKey
from obfstats.collect.store.database import LEDGER_NAME, open_database
from obfstats.collect.store.ledger import Ledger
from tests import canary
from tests.collect.collectors import NOW, bridge, document, open_collector
from tests.collect.services import KEY, admit, request, serve_arguments, serving

if TYPE_CHECKING:
    from pathlib import Path

GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /v1/documents HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
    b"GET /v1/health HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"GET /" + b"a" * 100_000,
)


def fresh(number: int) -> bytes:
    """A document of an interval that ended an hour ago."""
    return document(number, int(time.time()) - 3600)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program where it must end by itself."""
    return subprocess.run(serve_arguments(folder, *arguments), capture_output=True, text=True, timeout=30, check=False)


def test_a_first_start_makes_everything_and_says_where(tmp_path: Path) -> None:
    """Key, ledger and archive; a document that was taken is in the archive after the publication."""
    folder = tmp_path / "collector"
    with serving(folder, "--admit", KEY.public, "--publish-every", "1") as server:
        server.child.wait_for_line("stdout", rf"^the public archive is in {folder / 'public'}$")
        assert server.post(request(fresh(1))).status == 201
        deadline = time.monotonic() + 30
        while b'-obfsproxy-stats"' not in server.get("/index.json").body:
            assert time.monotonic() < deadline, "it was not published"
        public = server.get("/minisign.pub").body.decode().split()[-1]
        server.child.wait_for_line("stdout", rf"^the collector's public key is {re.escape(public)}$")
        assert server.child.stderr == ""
    assert (folder / "collector.key").stat().st_mode & 0o777 == 0o600
    assert (folder / LEDGER_NAME).stat().st_mode & 0o777 == 0o600


def test_nothing_that_is_left_has_a_clients_address(tmp_path: Path) -> None:
    """Log, ledger, archive and metrics, after documents, garbage, wrong requests and clients that vanish."""
    folder = tmp_path / "collector"
    client = canary.address()
    with serving(folder, "--admit", KEY.public, "--publish-every", "1") as server:
        assert server.post(request(fresh(1)), client).status == 201
        assert server.post(b"{", client).status == 400
        assert server.get("/../ledger.sqlite", client).status == 404
        for garbage in GARBAGE:
            with closing(socket.create_connection(("127.0.0.1", server.port), 30, (client, 0))) as connection:
                connection.sendall(garbage)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        metrics = server.get("/metrics", client).body
        server.child.stop()
        said = server.child.stdout + server.child.stderr
    assert server.child.stderr == ""
    left = [(str(path), path.read_bytes()) for path in folder.rglob("*") if path.is_file()]
    assert len(left) >= 5
    assert not list(canary.findings([("output", said.encode()), ("metrics", metrics), *left]))


def test_sigterm_answers_what_waits_and_ends(tmp_path: Path) -> None:
    """Under load it ends with status 0 within seconds, and every 201 is in the ledger."""
    folder = tmp_path / "collector"
    folder.mkdir()
    texts = [fresh(number) for number in range(2000)]
    admit(str(folder / LEDGER_NAME), KEY, bridges=[bridge(number) for number in range(2000)])
    accepted: set[bytes] = set()
    waiting = iter([(text, request(text)) for text in texts[:90]])

    def send() -> None:
        for text, body in waiting:
            try:
                answer = server.post(body)
            except OSError:
                return
            if answer.status == 201:
                accepted.add(text)

    with serving(folder) as server:
        senders = [threading.Thread(target=send) for _ in range(8)]
        for sender in senders:
            sender.start()
        while len(accepted) < 20:
            assert any(sender.is_alive() for sender in senders), server.child.stderr
            time.sleep(0.001)
        started = time.monotonic()
        server.child.send_signal(signal.SIGTERM)
        assert server.child.wait(10.0) == 0
        assert time.monotonic() - started < 5
        for sender in senders:
            sender.join()
        assert server.child.stderr == ""
    with closing(open_database(str(folder / LEDGER_NAME))) as database:
        ledger = Ledger(database)
        ledger.assign_recent("end")
        names = ledger.unwritten_recent()
        assert accepted <= {each.text for name in names for each in ledger.read_recent(name)} | _published(folder)


def _published(folder: Path) -> set[bytes]:
    """The documents of the files below recent/."""
    whole = b"".join(
        path.read_bytes() for path in (folder / "public").glob("recent/*/*-obfsproxy-stats") if path.is_file()
    )
    return {b"@type" + part for part in whole.split(b"@type")[1:]}


def test_a_port_in_use_is_a_line(tmp_path: Path) -> None:
    """Status 2, what happened, to what."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        ended = run(tmp_path / "collector", "--listen", f"127.0.0.1:{port}")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"obfstats collect serve: cannot listen at 127.0.0.1 port {port}: Address already in use\n"


def test_a_folder_that_cannot_be_used_is_a_line(tmp_path: Path) -> None:
    """A file where the folder should be."""
    (tmp_path / "file").write_text("")
    ended = run(tmp_path / "file" / "collector")
    assert ended.returncode == 2
    assert ended.stderr == (
        f"obfstats collect serve: cannot use the folder {tmp_path}/file/collector: Not a directory\n"
    )


def test_a_database_that_cannot_be_reached_is_a_line(tmp_path: Path) -> None:
    """The URL's password is not repeated."""
    url = f"postgresql://collector:verysecret@/ledger?host={tmp_path}"
    ended = run(tmp_path / "collector", "--database", url)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("obfstats collect serve: ")
    assert "verysecret" not in ended.stderr


def test_a_ledger_of_a_later_version_is_a_line(tmp_path: Path) -> None:
    """Its tables are not touched."""
    path = tmp_path / "later.sqlite"
    open_database(str(path)).close()
    with closing(sqlite3.connect(path)) as later:
        later.execute("UPDATE schema_version SET version = version + 1000")
        later.commit()
    ended = run(tmp_path / "collector", "--database", str(path))
    assert ended.returncode == 2
    assert "the ledger's tables are of version" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "another"])
def test_an_archive_is_never_signed_with_a_second_key(tmp_path: Path, is_lost: bool) -> None:  # noqa: FBT001
    """Mirrors would refuse the old files or the new ones, for ever."""
    with open_collector(tmp_path / "collector", str(tmp_path / "collector" / LEDGER_NAME)) as collector:
        collector.publisher.publish_imported(NOW)
    key = tmp_path / "collector" / "collector.key"
    key.unlink()
    if not is_lost:
        SigningKey.create(key)
    ended = run(tmp_path / "collector")
    assert ended.returncode == 2
    assert "which signs the archive; put" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert key.exists() is not is_lost


@pytest.mark.parametrize("listen", ["8085", "127.0.0.1:x", "127.0.0.1:65536", "::1:8085"])
def test_what_is_not_host_and_port_is_refused(tmp_path: Path, listen: str) -> None:
    """One line that shows the form."""
    ended = run(tmp_path / "collector", "--listen", listen)
    assert ended.returncode == 2
    assert "is not HOST:PORT, such as 127.0.0.1:8085 or [::1]:8085" in ended.stderr
    assert not (tmp_path / "collector").exists()
