"""The data path: no byte is lost, memory is bounded, half-closes are passed on."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from obfstats.proxy import relay
from obfstats.proxy.limits import Limits
from obfstats.proxy.relay import MANY_STALLED, SCRATCH_SIZE, SMALL_SCRATCH_SIZE, Scratch
from obfstats.wire.transports import make_transport
from peers.destinations import echo, serve
from peers.missing import need
from peers.obfuscated import ObfuscatedClient
from tests import canary
from tests.proxy import running

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    NewLoop = Callable[[], asyncio.AbstractEventLoop]

CHUNK = os.urandom(1 << 16)
BOTH_LOOPS = pytest.mark.parametrize("new_loop", running.LOOPS, ids=["uvloop", "asyncio"])

MOST_IN_FLIGHT = 40 << 20
"""Bytes that the kernel's own buffers of four sockets may hold; the relay adds its two scratch buffers."""


def write_until_stuck(connection: socket.socket, encrypt: Callable[[bytes], bytes]) -> tuple[int, str]:
    """Write until nothing is accepted for a second; return the number of bytes and their digest."""
    connection.settimeout(1.0)
    digest = hashlib.sha256()
    total = 0
    while total < 4 * MOST_IN_FLIGHT:
        data = memoryview(encrypt(CHUNK))
        sent = 0
        try:
            while sent < len(data):
                sent += connection.send(data[sent:])
        except TimeoutError:
            digest.update(CHUNK[:sent])
            return total + sent, digest.hexdigest()
        digest.update(CHUNK)
        total += len(data)
    return total, digest.hexdigest()


@BOTH_LOOPS
@pytest.mark.parametrize("name", ["obfs2", "obfs3"])
def test_a_destination_that_does_not_read_stops_the_client(name: str, new_loop: NewLoop) -> None:
    """Backpressure upstream: the client is stopped; once the destination reads, every byte arrives in order."""
    read, results = threading.Event(), list[str]()
    done = threading.Event()

    def late_reader(connection: socket.socket) -> None:
        read.wait(30)
        digest = hashlib.sha256()
        while data := connection.recv(1 << 16):
            digest.update(data)
        results.append(digest.hexdigest())
        done.set()

    with serve(late_reader) as destination, running.server(destination, name=name, new_loop=new_loop) as address:
        client = ObfuscatedClient(make_transport(name), address, canary.address())
        total, digest = write_until_stuck(client.socket, client.encrypt)
        read.set()
        client.end_sending()
        assert done.wait(30)
        client.close()
    assert (total < MOST_IN_FLIGHT, results) == (True, [digest])


@BOTH_LOOPS
@pytest.mark.parametrize("name", ["obfs2", "obfs3"])
def test_a_client_that_does_not_read_stops_the_destination(name: str, new_loop: NewLoop) -> None:
    """Backpressure downstream: the same the other way round."""
    written = threading.Event()
    results: list[tuple[int, str]] = []

    def writer(connection: socket.socket) -> None:
        connection.recv(1)
        results.append(write_until_stuck(connection, lambda data: data))
        written.set()
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(30)
        connection.recv(1)

    with serve(writer) as destination, running.server(destination, name=name, new_loop=new_loop) as address:
        client = ObfuscatedClient(make_transport(name), address, canary.address())
        client.sendall(b"x")
        assert written.wait(30)
        received = client.receive_all()
        client.close()
    assert results == [(len(received), hashlib.sha256(received).hexdigest())]
    assert len(received) < MOST_IN_FLIGHT


@BOTH_LOOPS
def test_within_one_machine_connections_use_reno(new_loop: NewLoop) -> None:
    """Neither end has the machine's own congestion control, which may pace packets as for a network."""
    need("iproute2", "ss")
    with (
        serve(echo) as destination,
        running.server(destination, name="obfs3", new_loop=new_loop) as address,
        ObfuscatedClient(make_transport("obfs3"), address) as client,
    ):
        client.sendall(b"hello")
        assert client.recv() == b"hello"
        for end in (["dst", destination], ["src", f"{address[0]}:{address[1]}"]):
            command = ["ss", "--tcp", "--info", "--no-header", "--numeric", "state", "established", *end]
            listed = subprocess.run(command, capture_output=True, check=True, text=True, timeout=30).stdout
            assert " reno " in listed


@BOTH_LOOPS
def test_many_connections_at_once_do_not_mix(new_loop: NewLoop) -> None:
    """Forty clients share one scratch buffer, some of them stalled, and each gets its own bytes back."""

    def echo_in_bursts(connection: socket.socket) -> None:
        held = bytearray()
        while data := connection.recv(1 << 16):
            held += data
            if len(held) > 300_000:
                connection.sendall(held)
                held.clear()
        connection.sendall(held)
        connection.shutdown(socket.SHUT_WR)

    failures: list[str] = []

    def one_client(address: tuple[str, int], name: str) -> None:
        sent = os.urandom(2_000_000)
        with ObfuscatedClient(make_transport(name), address, canary.address()) as client:
            writer = threading.Thread(target=client.send_and_end, args=(sent,))
            writer.start()
            received = client.receive_all()
            writer.join()
        if received != sent:
            failures.append(name)

    with serve(echo_in_bursts) as destination, running.server(destination, new_loop=new_loop) as address:
        clients = [threading.Thread(target=one_client, args=(address, "obfs3")) for _ in range(40)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(60)
    assert failures == []


def test_where_many_are_stalled_each_holds_little() -> None:
    """A thousand stalled directions: the first hold large buffers, the others small ones; then all is as before."""
    scratch = Scratch()
    held = []
    for _ in range(1000):
        held.append(scratch.view)
        scratch.stall()
        scratch.renew()
    assert sum(len(view) for view in held) == MANY_STALLED * SCRATCH_SIZE + (1000 - MANY_STALLED) * SMALL_SCRATCH_SIZE
    for _ in range(1000):
        scratch.resume()
    assert len(scratch.view) == SCRATCH_SIZE


@BOTH_LOOPS
def test_many_stalled_clients_lose_nothing(new_loop: NewLoop) -> None:
    """Eighty clients that do not read until all of them are stalled, and then read everything."""
    count, size = MANY_STALLED + 16, 6 << 20

    def pour(connection: socket.socket) -> None:
        connection.recv(1)
        for _ in range(size >> 16):
            connection.sendall(CHUNK)

    with (
        serve(pour) as destination,
        running.server(destination, limits=Limits(connections=count), new_loop=new_loop) as address,
    ):
        clients = []
        for _ in range(count):
            client = ObfuscatedClient(make_transport("obfs3"), address, canary.address())
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
            client.sendall(b"x")
            clients.append(client)
        lengths = {len(client.receive_all()) for client in clients}
        for client in clients:
            client.close()
    assert lengths == {size}


@BOTH_LOOPS
def test_a_destination_that_hangs_up_ends_the_client_too(new_loop: NewLoop) -> None:
    """What it has sent before arrives first."""

    def curt(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(b"goodbye")

    with (
        serve(curt) as destination,
        running.server(destination, new_loop=new_loop) as address,
        ObfuscatedClient(make_transport("obfs3"), address, canary.address()) as client,
    ):
        client.sendall(b"x")
        assert client.receive_all() == b"goodbye"


@BOTH_LOOPS
def test_a_client_that_vanishes_ends_the_destinations_connection(new_loop: NewLoop) -> None:
    """A reset is passed on as an end of file."""
    ended = threading.Event()

    def wait_for_end(connection: socket.socket) -> None:
        try:
            connection.sendall(b"here")
            while connection.recv(1 << 16):
                pass
        finally:
            ended.set()

    with serve(wait_for_end) as destination, running.server(destination, new_loop=new_loop) as address:
        client = ObfuscatedClient(make_transport("obfs3"), address, canary.address())
        client.sendall(b"x" * 100_000)
        # A reset before that would take the handshake back, and there would be no destination to hear of it.
        assert client.recv() == b"here"
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        client.close()
        assert ended.wait(30)


@BOTH_LOOPS
def test_what_tor_has_closed_gives_its_place_back(new_loop: NewLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight places, eight clients that stay silent after tor's end, and the ninth is served."""
    monkeypatch.setattr(relay, "LINGER", 0.05)
    places = 8

    def curt(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(b"goodbye")

    with (
        serve(curt) as destination,
        running.server(destination, limits=Limits(connections=places), new_loop=new_loop) as address,
    ):
        clients = [ObfuscatedClient(make_transport("obfs3"), address, canary.address()) for _ in range(places)]
        for client in clients:
            client.sendall(b"x")
            assert client.receive_all() == b"goodbye"
        with ObfuscatedClient(make_transport("obfs3"), address, canary.address()) as ninth:
            ninth.sendall(b"x")
            assert ninth.receive_all() == b"goodbye"
        for client in clients:
            client.close()
