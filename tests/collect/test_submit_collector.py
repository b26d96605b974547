"""`obfstats submit` and a real `obfstats collect serve`: what an operator sees of admission, conflicts and limits."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.client.keys import KEY_NAME
from obfstats.collect.client.outgoing import MAX_BATCH
from obfstats.collect.client.route import parse_collector_url
from obfstats.collect.client.spool import Spool
from obfstats.collect.client.submitter import Submitter
from obfstats.collect.signing import SigningKey
from obfstats.formats.interval import format_time
from peers.program import OBFSTATS
from tests.collect.services import serving
from tests.collect.stand_in import NOW, document
from tests.publish.programs import run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.collect.services import Served

FIRST, SECOND = "7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e", "b0bafe77a9e2f1d0c3b4a5968778695a4b3c2d1e"


class Collector:
    """A running collector, and the commands of its operators and of a bridge's operator.

    Attributes:
        server: the collector.
        folder: its folder.
    """

    def __init__(self, server: Served, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def admit(self, key: str) -> None:
        """Admit a key."""
        admitted = run([OBFSTATS, "collect", "admit", key, "--dir", str(self.folder)])
        assert admitted.returncode == 0, admitted.stderr

    def submit(self, home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        """Submit documents from a bridge's folder."""
        return run([OBFSTATS, "submit", "--to", self.server.url, "--data-dir", str(home), *map(str, arguments)])

    def status(self, home: Path) -> dict[str, str]:
        """Ask for the status, and read the columns."""
        result = self.submit(home, "--status")
        assert (result.returncode, result.stderr) == (0, b"")
        rows = (re.split(" {2,}", line, maxsplit=1) for line in result.stdout.decode().splitlines())
        return {row[0]: row[1] for row in rows}


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A collector that has admitted no key."""
    folder = tmp_path_factory.mktemp("collector")
    with serving(folder, "--publish-every", "1") as server:
        yield Collector(server, folder)


def test_an_operators_first_day(collector: Collector, tmp_path: Path) -> None:
    """Unknown at first, then admitted: what waited is published, and the next document is accepted at once."""
    public = SigningKey.create(tmp_path / KEY_NAME).public
    path = tmp_path / "document"
    path.write_bytes(document(2, fingerprint=FIRST))
    held = collector.submit(tmp_path, path)
    assert (held.returncode, held.stderr) == (0, b"")
    expected = rb"^interval that ended [-0-9]{10} [:0-9]{8}: not published yet: quarantined: the key is not .*\n$"
    assert re.search(expected, held.stdout)
    status = collector.status(tmp_path)
    assert (status["key"], status["admitted"]) == (public, "no; send the key to the collector's operators")
    assert status["in quarantine"].startswith("1 document;")
    collector.admit(public)
    path.write_bytes(document(1, fingerprint=FIRST))
    accepted = collector.submit(tmp_path, path)
    assert (accepted.returncode, accepted.stderr) == (0, b"")
    assert re.search(
        rb": accepted; in the public archive by .* UTC at http://127\.0\.0\.1:\d+/recent/", accepted.stdout
    )
    status = collector.status(tmp_path)
    assert status["admitted"] == "yes"
    assert status["in quarantine"].startswith("0 documents;")
    assert status["waiting here"] == f"0 documents in {tmp_path / 'spool'}"


def test_other_numbers_of_a_published_interval_are_refused(collector: Collector, tmp_path: Path) -> None:
    """The line says so, the status is 1, and the document is set aside with the reason; the good one is accepted."""
    collector.admit(SigningKey.create(tmp_path / KEY_NAME).public)
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(document(2, fingerprint=SECOND))
    assert collector.submit(tmp_path, first).returncode == 0
    second.write_bytes(document(2, fingerprint=SECOND, number=16) + document(1, fingerprint=SECOND))
    result = collector.submit(tmp_path, second)
    assert result.returncode == 1
    assert b": accepted; " in result.stdout
    assert re.search(rb": refused: .*; set aside in .*/refused\n$", result.stderr)
    (reason,) = (tmp_path / "spool" / "refused").glob("*.reason")
    assert reason.read_text().startswith("409 ")
    assert collector.status(tmp_path)["refused"].startswith("1 document in ")


def test_an_old_document_is_refused(collector: Collector, tmp_path: Path) -> None:
    """Whatever the key: a collector takes thirty days."""
    SigningKey.create(tmp_path / KEY_NAME)
    path = tmp_path / "document"
    path.write_bytes(document(31))
    result = collector.submit(tmp_path, path)
    assert result.returncode == 1
    assert b": refused: the interval ended more than 30 days ago; set aside in " in result.stderr


def test_more_than_a_collector_takes_at_once_is_sent_in_time(collector: Collector, tmp_path: Path) -> None:
    """It is told to wait, waits, and every document is taken once."""
    key = SigningKey.create(tmp_path / KEY_NAME)
    collector.admit(key.public)
    spool = Spool(tmp_path / "spool")
    count = 2 * MAX_BATCH + 10
    for number in range(count):
        end = format_time(NOW - timedelta(days=3, minutes=number))
        text = document(3, fingerprint="c0" * 20).replace(format_time(NOW - timedelta(days=3)).encode(), end.encode())
        spool.add(text.replace(b"(86400 s)", b"(60 s)"), end)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        # A second is enough for the next request: the collector would take fewer than five.
        waits.append(seconds)
        time.sleep(1.2)

    report = Submitter(parse_collector_url(collector.server.url), None, key, spool, sleep=wait).submit_all()
    assert report.problem is None
    assert [delivery.result.status for delivery in report.delivered] == [201] * count
    assert waits == [5]
    deadline = time.monotonic() + 30
    while not collector.status(tmp_path)["published"].startswith(f"{count} documents"):
        assert time.monotonic() < deadline, "not all are published"
