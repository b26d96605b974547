"""The transport dummy: everything around a transport, with bytes that a test can read."""

from __future__ import annotations

import hashlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

from obfstats.wire.endpoint import parse_endpoint
from peers import managed, program, socks
from peers.destinations import digest, echo, serve, speak_first
from tests import canary
from tests.proxy import running
from tests.proxy.visiting import HELLO, SECONDS, countries, greet, visit
from tests.record.surroundings import Bench

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    NewLoop = Callable[[], asyncio.AbstractEventLoop]

BOTH_LOOPS = pytest.mark.parametrize("new_loop", running.LOOPS, ids=["uvloop", "asyncio"])


@BOTH_LOOPS
def test_a_clients_bytes_arrive_unchanged(new_loop: NewLoop) -> None:
    """No handshake before it, nothing added, a half-close kept: five megabytes from a plain socket."""
    sent = os.urandom(5_000_000)
    with (
        serve(digest) as destination,
        running.server(destination, name="dummy", new_loop=new_loop) as address,
        socket.create_connection(address, SECONDS) as client,
    ):
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: client.recv(100), b""))
    assert received == hashlib.sha256(sent).digest()


@BOTH_LOOPS
def test_a_destination_that_speaks_first_is_heard(new_loop: NewLoop) -> None:
    """By a client that has not sent a byte."""
    with (
        serve(speak_first) as destination,
        running.server(destination, name="dummy", new_loop=new_loop) as address,
        socket.create_connection(address, SECONDS) as client,
    ):
        assert client.recv(100) == b"220 welcome\r\n"


@BOTH_LOOPS
def test_every_connection_is_a_client(tmp_path: Path, new_loop: NewLoop) -> None:
    """There is no handshake: each connection counts once the destination has accepted it."""
    bench = Bench(tmp_path / "log", buffer=1)
    with (
        serve(echo) as destination,
        running.server(destination, name="dummy", recorder=bench.recorder, new_loop=new_loop) as address,
    ):
        for _ in range(3):
            with socket.create_connection(address, SECONDS, (canary.address(), 0)) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert client.recv(100) == b"GET / HTTP/1.0\r\n\r\n"
    assert len(bench.lines()) == 2


def test_by_hand_it_serves_at_both_ends(tmp_path: Path, geoip: Path) -> None:
    """A server that counts, and a client in front of it."""
    log = tmp_path / "log"
    with (
        serve(echo) as destination,
        program.obfsproxy("--stats-log", str(log), "--stats-buffer", "1", "--geoip", str(geoip), "dummy", "--dest",
                          destination, "server", "127.0.0.1:0") as server,
        program.obfsproxy("dummy", "--dest", "{}:{}".format(*server.address), "client", "127.0.0.1:0") as client,
    ):  # fmt: skip
        assert greet(socket.create_connection(client.address, SECONDS)) == HELLO
        for country in ("de", "tr"):
            assert visit(server.address, "dummy", source=canary.address(country)) == HELLO
    assert countries(log) == ["??", "de"]


def test_tor_may_ask_for_it_at_both_ends(tmp_path: Path) -> None:
    """The bytes between both are the client's."""
    with (
        serve(echo) as destination,
        managed.server(tmp_path, parse_endpoint(destination), transports=["dummy"]) as server,
        managed.client(tmp_path, transports=["dummy"]) as client,
    ):
        assert greet(socks.connect(client.methods["dummy"], server.methods["dummy"])) == HELLO
        assert greet(socks.connect(client.methods["dummy"], parse_endpoint(destination))) == HELLO


def test_it_takes_no_option(tmp_path: Path) -> None:
    """Tor gets an error line, and the other transport is served."""
    environment = {"TOR_PT_SERVER_TRANSPORT_OPTIONS": "dummy:shared-secret=hunter2"}
    with (
        serve(echo) as destination,
        managed.server(tmp_path, parse_endpoint(destination), transports=["dummy", "obfs3"], failing=["dummy"],
                       environment=environment) as proxy,
    ):  # fmt: skip
        assert proxy.errors["dummy"].startswith("dummy does not take the option shared-secret")
        assert visit(proxy.methods["obfs3"]) == HELLO
