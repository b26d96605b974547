"""Debian's obfs4proxy in the wrap: a program that was not written for it."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING

import pytest

from obfstats.wire.endpoint import Endpoint, parse_endpoint
from peers import extended, managed, obfs4proxy, socks, wrapped
from peers.missing import need
from tests.proxy.honest import Visitors, is_served, lines
from tests.proxy.visiting import HELLO

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def program() -> str:
    """Its path, for torrc."""
    need(obfs4proxy.PACKAGE, obfs4proxy.PROGRAM)
    return shutil.which(obfs4proxy.PROGRAM) or ""


def test_its_clients_are_introduced_to_tor_and_counted(tmp_path: Path, program: str) -> None:
    """obfs2 and obfs3, from the clients' own addresses."""
    log = tmp_path / "log"
    argv = wrapped.argv("--stats-columns", "transport", *managed.counting(log), program=[program])
    with extended.orport(tmp_path) as tor, managed.server(tmp_path / "pt_state", tor, argv=argv) as bridge:
        for name in ("obfs3", "obfs2", "obfs3"):
            Visitors(bridge.methods[name], name).visit()
        with Visitors(bridge.methods["obfs3"], "obfs3").connect("tr") as staying:
            told = tor.visits[-1]
            assert (told.address, told.transport) == (str(Endpoint(*staying.socket.getsockname()[:2])), "obfs3")
            assert is_served(staying)
        assert bridge.child.stop() == 0
        assert wrapped.folders(tmp_path / "pt_state") == []
    assert [(line.country, line.transport) for line in lines(log)] == [
        ("de", "obfs3"),
        ("de", "obfs2"),
        ("de", "obfs3"),
    ]


def test_obfs4_passes_from_end_to_end(tmp_path: Path, program: str) -> None:
    """Its arguments for bridge lines reach tor, and its own client connects: a wrap at both ends."""
    argv = wrapped.argv("--no-stats", program=[program])
    with (
        extended.orport(tmp_path) as tor,
        managed.server(tmp_path / "server", tor, argv=argv, transports=["obfs4"]) as bridge,
        managed.client(tmp_path / "client", argv=argv, transports=["obfs4"]) as client,
    ):
        (method,) = (line for line in bridge.said() if line.startswith("SMETHOD "))
        arguments = method.partition(" ARGS:")[2].replace(",", ";")
        assert arguments.startswith("cert=")
        with socks.connect(client.methods["obfs4"], bridge.methods["obfs4"], arguments) as connection:
            assert isinstance(connection, socket.socket)
            connection.sendall(HELLO)
            assert connection.recv(1 << 10) == HELLO
        assert [told.transport for told in tor.visits] == ["obfs4"]
        assert parse_endpoint(tor.visits[0].address or "").host == "127.0.0.1"
