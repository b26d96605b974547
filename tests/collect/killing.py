"""Collectors that are killed under load: the real `collect serve`, forked by a process that has imported everything.

    python -m tests.collect.killing kill FOLDER DATABASE SEED TIMES
    python -m tests.collect.killing together FOLDER DATABASE SEED TIMES
    python -m tests.collect.killing fill FOLDER DATABASE SEED TIMES

The forking process has one thread, so a fork copies no lock that is held. It is a client as well: it notes what
was answered, and compares the archive with that in the end.
"""

from __future__ import annotations

import asyncio
import ctypes
import http.client
import os
import random
import re
import signal
import sys
import tarfile
import time
import traceback
from collections import Counter
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from obfstats.cli import parse
from obfstats.collect.archive.publishing import PUBLIC
from obfstats.collect.index import parse_index
from obfstats.collect.server.limits import Rate, SubmissionLimits
from obfstats.collect.server.serve import run_serve
from obfstats.collect.signing import SIGNATURE_SUFFIX, SigningKey, verify
from obfstats.collect.store.database import open_database
from obfstats.collect.store.ledger import Ledger
from obfstats.collect.submission import (
    CONTENT_TYPE,
    DOCUMENTS_PATH,
    TRUSTED_COMMENT,
    SignedText,
    read_response,
    write_request,
)
from peers.child import is_readable
from peers.disk import Disk
from tests.collect.collectors import bridge, document

with suppress(ImportError):
    # What a collector imports as it starts is here before the fork.
    import psycopg  # noqa: F401
    import uvloop  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS, BRIDGES_PER_KEY = 4, 10
CONNECTIONS = 8
NEW_PER_COLLECTOR = 25
"""Documents that are sent for the first time while one collector runs; the load beside that is documents sent again."""

_UNLIMITED = Rate(10**9, 10**9)
_PR_SET_PDEATHSIG = 1


class Sent(NamedTuple):
    """A signed document, and the request that sends it."""

    digest: str
    body: bytes


@dataclass
class Load:
    """What is sent, and what was answered.

    Attributes:
        rng: chooses.
        unsent: documents that were never sent.
        unanswered: documents that were sent, and may or may not have arrived.
        answers: by digest, how often which status was the answer.
    """

    rng: random.Random
    unsent: list[Sent]
    unanswered: list[Sent] = field(default_factory=list)
    answered: list[Sent] = field(default_factory=list)
    answers: dict[str, Counter[int]] = field(default_factory=dict)

    def choose(self, new: list[Sent]) -> Sent | None:
        """Give a document to send: a new one, one without an answer, or one again."""
        if new and self.rng.random() < 0.5:
            sent = new.pop()
            self.unanswered.append(sent)
            return sent
        again = self.unanswered if self.unanswered and self.rng.random() < 0.7 else self.answered
        return self.rng.choice(again) if again else None

    def note(self, sent: Sent, status: int) -> None:
        """Note an answer."""
        counts = self.answers.setdefault(sent.digest, Counter())
        counts[status] += 1
        if status in (200, 201) and sent in self.unanswered:
            self.unanswered.remove(sent)
            self.answered.append(sent)


class Running(NamedTuple):
    """A collector that runs."""

    pid: int
    output: int

    def wait_for_port(self, seconds: float) -> int | None:
        """Give the port where it listens; None if it does not yet after so many seconds."""
        deadline = time.monotonic() + seconds
        text = b""
        while (left := deadline - time.monotonic()) > 0 and is_readable(self.output, left):
            chunk = os.read(self.output, 4096)
            assert chunk, f"the collector ended before it listened: {text!r}"
            text += chunk
            if found := re.search(rb"listening at http://127\.0\.0\.1:([0-9]+)\n", text):
                return int(found[1])
        return None

    def stop(self, port: int) -> None:
        """End it as an operator does, once it answers."""
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("GET", "/v1/openapi.json")
            assert connection.getresponse().status == 200
        self.end(signal.SIGTERM)

    def end(self, number: int) -> None:
        """Send it a signal, and wait for its end."""
        os.kill(self.pid, number)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.output)
        if number == signal.SIGTERM:
            assert status == 0, f"wait status {status}"


def start(folder: Path, database: str, *, log: Path) -> Running:
    """Fork a collector that publishes once a second."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return Running(pid, ours)
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.dup2(theirs, 1)
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        words = ["collect", "serve", "--dir", str(folder), "--database", database, "--listen", "127.0.0.1:0"]
        options = parse([*words, "--publish-every", "1"])
        status = run_serve(options, SubmissionLimits(time.monotonic, _UNLIMITED, _UNLIMITED))
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        os._exit(status)


def wait_for_port(running: Running) -> int:
    """Give the port of a collector that is not killed before it listens."""
    port = running.wait_for_port(30)
    assert port is not None, "a collector does not listen"
    return port


def wait_until_healthy(port: int) -> None:
    """Wait until a collector's ledger works again."""
    deadline = time.monotonic() + 30
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        while True:
            connection.request("GET", "/v1/health")
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                return
            assert time.monotonic() < deadline, "the ledger does not work again"
            time.sleep(0.05)


def log_of(folder: Path) -> Path:
    """Give the file of the collectors' log: not on the disk that is filled."""
    return folder.parent.parent / "log"


def prepare(database: str, count: int) -> list[Sent]:
    """Admit keys, and sign so many documents of their bridges."""
    keys = [SigningKey.generate() for _ in range(KEYS)]
    with closing(open_database(database)) as opened:
        ledger = Ledger(opened)
        for number, key in enumerate(keys):
            ledger.admit(key.public, [bridge(number * BRIDGES_PER_KEY + one) for one in range(BRIDGES_PER_KEY)])
    now = int(time.time())
    sent = []
    for number in range(count):
        one = number % (KEYS * BRIDGES_PER_KEY)
        # From a minute ago to 29 days ago.
        text = document(one, now - 60 - number * 29 * 86_400 // count)
        key = keys[one // BRIDGES_PER_KEY]
        body = write_request(key.public, [SignedText(text, key.sign(text, TRUSTED_COMMENT))])
        sent.append(Sent(sha256(text).hexdigest(), body))
    return sent


async def send(port: int, sent: Sent, streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> int:
    """Send a document over a connection that stays open; give the document's status, or that of the refusal."""
    if not streams:
        streams.append(await asyncio.open_connection("127.0.0.1", port))
    reader, writer = streams[0]
    writer.write(
        b"POST %s HTTP/1.1\r\nHost: collector\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
        % (DOCUMENTS_PATH.encode(), CONTENT_TYPE.encode(), len(sent.body), sent.body)
    )
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)\r\n", head)
    assert length is not None
    body = await reader.readexactly(int(length[1]))
    status = int(head.split(b" ", 2)[1])
    return status if status == 503 else read_response(body, 1)[0].status


async def send_until(deadline: float, ports: list[int], load: Load, new: list[Sent]) -> None:
    """Send documents over several connections until a moment of the monotonic clock, or until no collector answers."""

    async def send_on(port: int) -> None:
        streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        while (sent := load.choose(new)) is not None:
            status = await send(port, sent, streams)
            load.note(sent, status)
            if status == 503:
                await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(send_on(ports[number % len(ports)])) for number in range(CONNECTIONS)]
        await asyncio.sleep(max(0.0, deadline - time.monotonic()))
        for task in tasks:
            task.cancel()


def kill_collectors(folder: Path, database: str, rng: random.Random, times: int) -> Load:
    """Run collectors one after the other, and kill each at a random moment of its life."""
    load = Load(rng, prepare(database, times * NEW_PER_COLLECTOR))
    reached = 0
    for _ in range(times):
        # Most soon, while they open the ledger, finish what is left, write and pack; some after publications.
        lifetime = rng.uniform(0, 0.4) if rng.random() < 0.95 else rng.uniform(0.4, 1.6)
        deadline = time.monotonic() + lifetime
        running = start(folder, database, log=log_of(folder))
        port = running.wait_for_port(lifetime)
        if port is not None:
            reached += 1
            new, load.unsent = load.unsent[-NEW_PER_COLLECTOR:], load.unsent[:-NEW_PER_COLLECTOR]
            asyncio.run(send_until(deadline, [port], load, new))
            load.unsent += new
        running.end(signal.SIGKILL)
    print(f"{reached} of {times} collectors listened before they were killed")
    return load


def run_together(folder: Path, database: str, rng: random.Random, times: int) -> Load:
    """Run two collectors at once, on one ledger and one folder; kill one of them so many times."""
    load = Load(rng, prepare(database, 1000))
    running = [start(folder, database, log=log_of(folder)) for _ in range(2)]
    ports = [wait_for_port(one) for one in running]
    for _ in range(times):
        new, load.unsent = load.unsent[-200:], load.unsent[:-200]
        asyncio.run(send_until(time.monotonic() + rng.uniform(0.5, 1.5), ports, load, new))
        load.unsent += new
        killed = rng.randrange(2)
        running[killed].end(signal.SIGKILL)
        running[killed] = start(folder, database, log=log_of(folder))
        ports[killed] = wait_for_port(running[killed])
    for one, port in zip(running, ports, strict=True):
        one.stop(port)
    return load


def fill_disk(folder: Path, database: str, rng: random.Random, times: int) -> Load:
    """Run a collector in a folder of a small disk, and fill that so many times; sometimes kill it then."""
    load = Load(rng, prepare(database, 1000))
    disk = Disk(folder.parent)
    running = start(folder, database, log=log_of(folder))
    port = wait_for_port(running)
    for _ in range(times):
        for fill in (False, True):
            if fill:
                disk.fill()
            new, load.unsent = load.unsent[-NEW_PER_COLLECTOR:], load.unsent[:-NEW_PER_COLLECTOR]
            # A full disk must be met by a publication, of which there is one a second.
            seconds = rng.uniform(0.5, 1.5) if fill else rng.uniform(0.3, 1.2)
            asyncio.run(send_until(time.monotonic() + seconds, [port], load, new))
            load.unsent += new
        if rng.random() < 0.5:
            running.end(signal.SIGKILL)
            disk.clear()
            running = start(folder, database, log=log_of(folder))
            port = wait_for_port(running)
        else:
            disk.clear()
            wait_until_healthy(port)
    running.stop(port)
    refused = sum(counts[503] for counts in load.answers.values())
    print(f"{refused} requests were refused for want of space")
    return load


def finish(folder: Path, database: str) -> None:
    """Run collectors that are not killed, until everything is published and packed."""
    index = folder / PUBLIC / "index.json"
    for _ in range(2):
        # The first one writes what no file has, the second one packs it.
        before = index.stat().st_mtime_ns if index.exists() else 0
        running = start(folder, database, log=log_of(folder))
        port = wait_for_port(running)
        deadline = time.monotonic() + 60
        while count_unwritten(database) or not index.exists() or index.stat().st_mtime_ns == before:
            assert time.monotonic() < deadline, "the last collector does not publish"
            time.sleep(0.05)
        running.stop(port)


def count_unwritten(database: str) -> int:
    """Count the documents that no file has yet."""
    with closing(open_database(database)) as opened:
        ((count,),) = opened.run(
            lambda: opened.execute("SELECT count(*) FROM documents WHERE status = 'published' AND recent_written = 0")
        )
        return int(count)


def check(folder: Path, database: str, load: Load) -> None:
    """Compare the archive with the ledger, and both with what was answered."""
    public = folder / PUBLIC
    key = (public / "minisign.pub").read_text().splitlines()[1]
    in_months = Counter(member for path in (public / "archive").glob("*.tar.xz") for member in digests_of_month(path))
    with closing(open_database(database)) as opened:
        rows = opened.run(
            lambda: opened.execute("SELECT digest, status, packed, recent_written, text IS NULL FROM documents")
        )
    recent: Counter[str] = Counter()
    for path in (public / "recent" / "obfsproxy-stats").glob("*-obfsproxy-stats"):
        recent.update(sha256(b"@type " + text).hexdigest() for text in path.read_bytes().split(b"@type ")[1:])
    accepted = {digest for digest, counts in load.answers.items() if counts[201] or counts[200]}
    assert {status for counts in load.answers.values() for status in counts} <= {200, 201, 503}
    assert all(counts[201] <= 1 for counts in load.answers.values()), "a document was new twice"
    assert accepted <= in_months.keys(), f"{len(accepted - in_months.keys())} documents that were answered are lost"
    assert set(in_months.values()) == {1}, "a document is in an archive twice"
    assert recent == in_months, "recent files and archives differ"
    assert sorted(row[0] for row in rows) == sorted(in_months), "the ledger and the archive differ"
    assert {row[1:] for row in rows} == {("published", 1, 1, True)}
    names = {entry.path for entry in parse_index((public / "index.json").read_bytes()).files}
    files = {path for path in public.rglob("*") if path.is_file() and not path.is_symlink()}
    assert not [path for path in files if path.name.startswith(".")], "an unfinished file is left"
    for path in files:
        name = str(path.relative_to(public))
        assert name in names or name.startswith("index.json"), name
        if path.suffix != SIGNATURE_SUFFIX:
            verify(path.read_bytes(), path.with_name(path.name + SIGNATURE_SUFFIX).read_bytes(), key)
    print(f"{len(accepted)} documents were answered, {len(in_months)} are in the archive, {len(files)} files verify")


def digests_of_month(path: Path) -> Iterator[str]:
    """Give the digests of a month's documents; each has the signature that it came with."""
    with tarfile.open(path) as tar:
        texts = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
        names = [member.name for member in tar if member.isfile()]
    assert len(names) == len(texts)
    for name in names:
        if not name.endswith(SIGNATURE_SUFFIX):
            signature = texts[name + SIGNATURE_SUFFIX]
            signer = signature.split(b"\n", 1)[0].rpartition(b" ")[2].decode()
            verify(texts[name], signature, signer)
            yield sha256(texts[name]).hexdigest()


@contextmanager
def explained(log: Path) -> Iterator[None]:
    """Print the collectors' log after a failure."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            print(log.read_text()[-5000:], file=sys.stderr)
        raise


def main(words: list[str]) -> None:
    """Run one of the three; print what happened."""
    how, folder, database, seed, times = words
    print(f"seed {seed}")
    started = time.monotonic()
    with explained(log_of(Path(folder))):
        run = {"kill": kill_collectors, "together": run_together, "fill": fill_disk}[how]
        load = run(Path(folder), database, random.Random(int(seed)), int(times))
        print(f"{sum(sum(counts.values()) for counts in load.answers.values())} answers in ", end="")
        print(f"{time.monotonic() - started:.1f} s")
        finish(Path(folder), database)
        check(Path(folder), database, load)
    print(f"{time.monotonic() - started:.1f} s in all")


if __name__ == "__main__":
    main(sys.argv[1:])
