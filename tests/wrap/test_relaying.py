"""Bytes between the program and tor: all of them, in order, in both directions at once, and none before OKAY."""

from __future__ import annotations

import hashlib
import os
import queue
import resource
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from peers import extended, stand_in, wrapped
from peers.destinations import TIMEOUT, digest
from peers.extended import OrPortConduct
from tests.proxy.visiting import HELLO
from tests.wrap.bridges import CLIENT, bridge, receive_all

if TYPE_CHECKING:
    from pathlib import Path

    from peers.wrapped import Wrapped

MUCH = 5 << 20


def connect(running: Wrapped) -> socket.socket:
    """Connect as a client does."""
    return socket.create_connection(running.methods[wrapped.NAME], TIMEOUT)


def test_all_bytes_reach_tor_and_the_answer_comes_back(tmp_path: Path) -> None:
    """Through the program and the wrap: one direction ends before the other begins."""
    data = os.urandom(MUCH)
    with bridge(tmp_path, handle=digest) as running, connect(running) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == hashlib.sha256(data).digest()


def test_all_of_tors_bytes_reach_the_client(tmp_path: Path) -> None:
    """They arrive together with OKAY."""
    data = os.urandom(MUCH)

    def end(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_WR)

    with bridge(tmp_path, handle=end, greeting=data) as running, connect(running) as client:
        assert receive_all(client) == data


def test_both_directions_at_once(tmp_path: Path) -> None:
    """Each end sends without reading first, as tor does."""
    data, arrived = os.urandom(MUCH), queue.Queue[bytes]()

    def swap(connection: socket.socket) -> None:
        reader = threading.Thread(target=lambda: arrived.put(receive_all(connection)))
        reader.start()
        connection.sendall(data[::-1])
        connection.shutdown(socket.SHUT_WR)
        reader.join(TIMEOUT)

    def send(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    with bridge(tmp_path, handle=swap) as running, running.entrance.enter(CLIENT) as connection:
        sender = threading.Thread(target=send, args=(connection,))
        sender.start()
        assert receive_all(connection) == data[::-1]
        assert arrived.get(timeout=TIMEOUT) == data
        sender.join(TIMEOUT)


def test_bytes_pass_without_a_descriptor_for_a_pipe(tmp_path: Path) -> None:
    """At the user's limit on pipes; open connections stay."""
    data = os.urandom(MUCH)

    def reverse(connection: socket.socket) -> None:
        for _ in range(2):
            with ThreadPoolExecutor(1) as reader:
                arriving = reader.submit(stand_in.read, connection, len(data))
                connection.sendall(data[::-1])
                assert arriving.result(TIMEOUT) == data
        connection.sendall(b"!")

    with bridge(tmp_path, handle=reverse) as running, running.entrance.enter(CLIENT) as connection:
        pid = running.child.pid
        allowed = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        for limit in ((3, allowed[1]), allowed):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
            with ThreadPoolExecutor(1) as sender:
                sending = sender.submit(connection.sendall, data)
                assert stand_in.read(connection, len(data)) == data[::-1]
                sending.result(TIMEOUT)
        assert stand_in.read(connection, 1) == b"!"


def test_nothing_reaches_tor_before_its_okay(tmp_path: Path) -> None:
    """A slow tor; a fast program has to wait for it."""
    with (
        extended.orport(tmp_path, OrPortConduct.LATE) as tor,
        wrapped.server(tmp_path, tor, "--no-stats") as running,
        connect(running) as client,
    ):
        client.sendall(HELLO)
        tor.wait_for(1)
        with running.entrance.enter(CLIENT) as connection:
            connection.sendall(HELLO)
            assert stand_in.read(connection, len(HELLO)) == HELLO
        tor.go.set()
        assert stand_in.read(client, len(HELLO)) == HELLO
        assert tor.refused == []
