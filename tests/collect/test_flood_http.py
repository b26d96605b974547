"""What is not HTTP, or only nearly, sent to the program that operators run: it goes on, and shows nothing of it."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import time
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.signing import SigningKey
from obfstats.collect.submission import DOCUMENTS_PATH
from peers.child import is_readable
from tests.collect.collectors import DAY, document
from tests.collect.services import KEY, Served, request, serving
from tests.proxy.honest import resident

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUNDS = 10
SECONDS = 30.0

MEMORY = 32 << 20
"""Bytes by which the program may grow between the second round and the last."""

IDLE = 200
"""Connections that are opened and never used."""

POST = (
    f"POST {DOCUMENTS_PATH} HTTP/1.1\r\nHost: collector\r\nConnection: close\r\nContent-Type: application/json\r\n"
).encode()
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = b'{"key":"RW","documents":[]}'

REFUSED = [
    POST + b"Content-Length: 1000000000000\r\n\r\n",
    POST + b"Content-Length: 2000000\r\n\r\n" + bytes(65_536),
    POST + b"Content-Length: -1\r\n\r\n" + BODY,
    POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + BODY,
    POST + b"Content-Length: 99999999999999999999999999\r\n\r\n" + BODY,
    POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    # The rest of the body is no request.
    POST + b"Content-Length: 5\r\n\r\n" + BODY,
    CHUNKED + b"x\r\n",
    CHUNKED + b"-5\r\n" + BODY,
    CHUNKED + b"10000\r\n" + bytes(65_536) + b"\r\n" + b"100000\r\n" + bytes(1 << 20),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    b"\0" * 1000,
]
"""What is answered with an error at once, or not at all, and the connection closed."""

LEFT = [
    # h11, where httptools is missing, waits for more of these two.
    CHUNKED + b"ffffffffffffffffff\r\n" + BODY,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    POST + b"Content-Length: 1000\r\n\r\n" + BODY,
    CHUNKED + b"1000\r\n" + BODY,
    CHUNKED,
    POST,
    POST + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n",
    b"G",
]
"""What is never finished: its sender hangs up."""

ANSWERED = [
    b"POST / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: collector\r\nA: b\n c\r\n\r\n",
    b"GET /v1/health HTTP/1.1\r\nHost: collector\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"TRACE /v1/documents HTTP/1.1\r\nHost: collector\r\n\r\n",
    b"DELETE / HTTP/1.1\r\nHost: collector\r\n\r\n",
    b"GET /v1/documents HTTP/1.0\r\n\r\n",
    b"GET /index.json HTTP/1.1\r\nHost: collector\r\nRange: bytes="
    + b",".join([b"0-", *[b"1-2"] * 5000])
    + b"\r\n\r\n",
    b"GET /" + b"a/" * 10_000 + b" HTTP/1.1\r\nHost: collector\r\n\r\n",
    b"GET /%00 HTTP/1.1\r\nHost: collector\r\n\r\n",
    b"GET /v1/status?key=" + b"%f0" * 1000 + b" HTTP/1.1\r\nHost: collector\r\n\r\n",
    POST + b"Content-Length: 27\r\n\r\n" + BODY,
]
"""What gets an answer."""

SECRET_PATHS = [
    "/../ledger.sqlite", "/../collector.key", "/%2e%2e/collector.key", "/..%2fcollector.key", "/.%2e/ledger.sqlite",
    "/recent/../../ledger.sqlite", "//ledger.sqlite", "/..%5ccollector.key", "/recent%2f..%2f..%2fcollector.key",
    "/%252e%252e/collector.key", "/index/../../collector.key", "/../.publishing", "/./../ledger.sqlite-wal",
]  # fmt: skip
"""What lies beside the public folder, by several names."""


@contextlib.contextmanager
def sending(server: Served, data: bytes) -> Iterator[socket.socket]:
    """Connect and send; the server may hang up meanwhile."""
    with socket.create_connection(("127.0.0.1", server.port), SECONDS) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """Read until the server hangs up."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while more := connection.recv(65_536):
            received += more
    return received


def flip(data: bytes, draw: random.Random) -> bytes:
    """Change some bytes."""
    changed = bytearray(data)
    for _ in range(draw.randrange(1, 6)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def test_a_flood_of_broken_requests_stops_no_honest_bridge(tmp_path: Path) -> None:
    """Between them documents are accepted; memory is bounded; nothing is logged; the program ends as it should."""
    draw = random.Random(22)
    now = int(time.time())
    sizes = []
    with serving(tmp_path / "collector", "--admit", KEY.public) as server, contextlib.ExitStack() as idle:
        for _ in range(IDLE):
            idle.enter_context(socket.create_connection(("127.0.0.1", server.port), SECONDS))
        for number in range(ROUNDS):
            for data in REFUSED:
                with sending(server, data) as connection:
                    assert not re.match(rb"HTTP/1.1 [23]", read_all(connection)), data[:200]
            for data in LEFT:
                with sending(server, data):
                    pass
            for data in ANSWERED:
                with sending(server, data) as connection:
                    assert connection.recv(65_536).startswith(b"HTTP/1.1 "), data[:200]
            valid = request(document(1, now - DAY - number))
            for _ in range(10):
                whole = POST + b"Content-Length: %d\r\n\r\n" % len(valid) + valid
                with sending(server, flip(whole, draw)) as connection:
                    is_readable(connection, 0.01)
            assert server.post(request(document(1, now - number - 60))).status == 201
            sizes.append(resident(server.child.pid))
        assert max(sizes) - sizes[1] < MEMORY
    assert server.child.wait() == 0
    assert server.child.stderr == ""


@pytest.mark.parametrize("path", SECRET_PATHS)
def test_no_path_leads_out_of_the_public_folder(server: Served, path: str) -> None:
    """404, and nothing of the ledger or the key."""
    with sending(server, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()) as connection:
        answer = read_all(connection)
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))
    assert b"SQLite" not in answer
    assert b"minisign" not in answer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A collector that has files beside its public folder."""
    folder = tmp_path_factory.mktemp("collector")
    with serving(folder) as running:
        SigningKey.read(folder / "collector.key")
        assert (folder / "ledger.sqlite").exists()
        yield running
