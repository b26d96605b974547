"""Debian's obfs4proxy at the other end: a megabyte each way, both roles, both transports."""

from __future__ import annotations

import hashlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

from obfstats.formats.logline import parse_line
from peers import obfs4proxy, socks
from peers.destinations import echo, serve
from peers.missing import need
from peers.program import obfsproxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def _peer() -> None:
    need(obfs4proxy.PACKAGE, obfs4proxy.PROGRAM)


@pytest.fixture
def destination() -> Iterator[str]:
    """An echo server."""
    with serve(echo) as address:
        yield address


def fetch_megabyte(connection: socket.socket) -> tuple[str, str]:
    """Send a megabyte while it is echoed; return both digests."""
    sent = os.urandom(MEGABYTE)
    received = hashlib.sha256()
    left = MEGABYTE
    with connection:
        connection.settimeout(30)
        for start in range(0, MEGABYTE, 1 << 16):
            connection.sendall(sent[start : start + (1 << 16)])
            wanted = min(1 << 16, left)
            while wanted:
                chunk = connection.recv(wanted)
                assert chunk
                received.update(chunk)
                wanted -= len(chunk)
                left -= len(chunk)
    return hashlib.sha256(sent).hexdigest(), received.hexdigest()


@pytest.mark.parametrize("name", ["obfs2", "obfs3"])
def test_obfs4proxy_as_client_gets_a_megabyte_through_our_server(tmp_path: Path, destination: str, name: str) -> None:
    """Five connections, each counted once."""
    log = tmp_path / "log"
    with (
        obfsproxy("--stats-log", str(log), "--stats-buffer", "1", name, "--dest", destination, "server",
                  "127.0.0.1:0") as server,
        obfs4proxy.client(tmp_path / "state", transports=[name]) as client,
    ):  # fmt: skip
        for _ in range(5):
            sent, received = fetch_megabyte(socks.connect(client.methods[name], server.address))
            assert received == sent
    assert [parse_line(line).country for line in log.read_bytes().splitlines()] == ["??"] * 4


@pytest.mark.parametrize("name", ["obfs2", "obfs3"])
def test_our_client_gets_a_megabyte_through_obfs4proxys_server(tmp_path: Path, destination: str, name: str) -> None:
    """Five connections."""
    host, _, port = destination.partition(":")
    with (
        obfs4proxy.server(tmp_path / "state", (host, int(port)), transports=[name]) as server,
        obfsproxy(name, "--dest", "{}:{}".format(*server.methods[name]), "client", "127.0.0.1:0") as client,
    ):
        for _ in range(5):
            sent, received = fetch_megabyte(socket.create_connection(client.address, 30))
            assert received == sent
