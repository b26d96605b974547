"""Probes: they get no answer, are not counted, and other clients notice nothing."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from obfstats.formats.logline import parse_line
from obfstats.proxy.limits import Limits
from obfstats.wire.transports import make_transport
from peers.destinations import echo, serve
from peers.obfuscated import ObfuscatedClient
from tests import canary
from tests.proxy import running
from tests.record.surroundings import Bench

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path


def _silence(probe: socket.socket) -> None:
    """No byte at all."""


def _noise(probe: socket.socket) -> None:
    probe.sendall(os.urandom(64))


def _much_noise(probe: socket.socket) -> None:
    probe.sendall(os.urandom(50_000))


def _words(probe: socket.socket) -> None:
    probe.sendall(b"GET / HTTP/1.1\r\nHost: bridge\r\n\r\n")


def _hang_up_halfway(probe: socket.socket) -> None:
    probe.sendall(os.urandom(100))
    probe.shutdown(socket.SHUT_WR)


def _replayed_obfs2_head(probe: socket.socket) -> None:
    """A valid seed, and then a head that does not match it."""
    probe.sendall(bytes(24) + os.urandom(8192))


PROBES = [_silence, _noise, _much_noise, _words, _hang_up_halfway, _replayed_obfs2_head]


def everything(connection: socket.socket) -> bytes:
    """What arrives until the connection ends in any way."""
    received = b""
    try:
        while chunk := connection.recv(1 << 16):
            received += chunk
    except ConnectionError:
        pass
    return received


@pytest.mark.parametrize("new_loop", running.LOOPS, ids=["uvloop", "asyncio"])
@pytest.mark.parametrize("name", ["obfs2", "obfs3"])
@pytest.mark.parametrize("behave", PROBES)
def test_a_probe_learns_nothing_and_is_not_counted(
    tmp_path: Path,
    name: str,
    behave: Callable[[socket.socket], None],
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Its connection stays open while an honest client is served, and ends at its deadline; one line is written."""
    bench = Bench(tmp_path / "log", buffer=1)
    with (
        serve(echo) as destination,
        running.server(destination, name=name, recorder=bench.recorder, deadline=0.8, new_loop=new_loop) as address,
        socket.create_connection(address, 30, (canary.address(), 0)) as probe,
    ):
        behave(probe)
        for _ in range(2):
            with ObfuscatedClient(make_transport(name), address, canary.address()) as client:
                client.sendall(b"hello")
                assert client.recv() == b"hello"
        probe.setblocking(False)
        key_exchange = 0
        try:
            key_exchange = len(probe.recv(1 << 16))
            still_open = key_exchange > 0
        except BlockingIOError:
            still_open = True
        probe.settimeout(30)
        said = key_exchange + len(everything(probe))
    assert still_open
    # obfs3 answers any 192 bytes with its own key and padding, as every obfs3 server does; with nothing else.
    longest = 192 + 4097 if name == "obfs3" and behave in (_much_noise, _replayed_obfs2_head) else 0
    assert 192 * bool(longest) <= said <= longest
    assert len([parse_line(line.encode()) for line in bench.lines()]) == 1


@pytest.mark.parametrize("name", ["obfs2", "obfs3"])
def test_a_thousand_resets_during_handshakes_leave_nothing_behind(tmp_path: Path, name: str) -> None:
    """Reset connections free their slots at once: the cap is never reached."""
    bench = Bench(tmp_path / "log", buffer=1)
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    with (
        serve(echo) as destination,
        running.server(destination, name=name, recorder=bench.recorder, limits=Limits(connections=50)) as address,
    ):
        for _ in range(1000):
            with socket.create_connection(address, 30) as probe:
                probe.sendall(os.urandom(17))
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        for _ in range(2):
            with ObfuscatedClient(make_transport(name), address, canary.address()) as client:
                client.sendall(b"hello")
                assert client.recv() == b"hello"
    assert len(bench.lines()) == 1


@pytest.mark.parametrize("name", ["obfs2", "obfs3"])
def test_one_byte_at_a_time_is_slow_but_honest(name: str) -> None:
    """A client on the worst of links is served if it meets the deadline."""
    with (
        serve(echo) as destination,
        running.server(destination, name=name) as address,
        DrippingClient(make_transport(name), address, canary.address()) as client,
    ):
        client.send_and_end(b"hello")
        assert client.receive_all() == b"hello"


class DrippingClient(ObfuscatedClient):
    """Writes each byte by itself."""

    def write(self, data: bytes) -> None:
        """Send one byte at a time."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(len(data)):
            super().write(data[place : place + 1])
