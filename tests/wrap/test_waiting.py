"""A sender whose peer does not read has to wait, and in the end everything arrives."""

from __future__ import annotations

import hashlib
import os
import queue
import socket
import struct
import threading
from typing import TYPE_CHECKING

from peers.destinations import TIMEOUT
from tests.proxy.honest import resident
from tests.wrap.bridges import CLIENT, bridge

if TYPE_CHECKING:
    from pathlib import Path


POURED = 64 << 20
"""More bytes than two sockets and a pipe hold."""

MEMORY = 8 << 20
"""Bytes by which the wrap may grow meanwhile."""

POUR = b"p"
"""A client sends this to have tor send it that much."""


def random_bytes(length: int) -> bytes:
    """Yield many bytes: a million again and again, each time after another number."""
    once = os.urandom((1 << 20) - 8)
    return b"".join(struct.pack("q", number) + once for number in range(length >> 20))


def pour(connection: socket.socket, data: bytes, stuck: threading.Event) -> None:
    """Send it all, however long that takes; report when nothing was accepted for a second."""
    left = memoryview(data)
    connection.settimeout(1.0)
    while left:
        try:
            left = left[connection.send(left) :]
        except TimeoutError:
            stuck.set()
            connection.settimeout(TIMEOUT)
    connection.shutdown(socket.SHUT_WR)


def digest_of(connection: socket.socket) -> bytes:
    """Read to the end; return the SHA-256 of it all."""
    received = hashlib.sha256()
    while data := connection.recv(1 << 16):
        received.update(data)
    return received.digest()


def test_a_program_has_to_wait_for_a_tor_that_does_not_read(tmp_path: Path) -> None:
    """Within bounded memory; others are served meanwhile, and once the peer reads, everything arrives."""
    data, stuck, go = random_bytes(POURED), threading.Event(), threading.Event()
    arrived = queue.Queue[bytes]()

    def read_late(connection: socket.socket) -> None:
        go.wait(TIMEOUT)
        arrived.put(digest_of(connection))

    with bridge(tmp_path, handle=read_late) as running, running.entrance.enter(CLIENT) as connection:
        before = resident(running.child.pid)
        sender = threading.Thread(target=pour, args=(connection, data, stuck))
        sender.start()
        assert stuck.wait(TIMEOUT)
        assert resident(running.child.pid) - before < MEMORY
        with running.entrance.enter(CLIENT):
            go.set()
        both = {arrived.get(timeout=TIMEOUT) for _ in range(2)}
        assert both == {hashlib.sha256(content).digest() for content in (data, b"")}
        sender.join(TIMEOUT)


def test_tor_has_to_wait_for_a_program_that_does_not_read(tmp_path: Path) -> None:
    """The same the other way."""
    data, stuck = random_bytes(POURED), threading.Event()

    def send(connection: socket.socket) -> None:
        if connection.recv(1) == POUR:
            pour(connection, data, stuck)

    with bridge(tmp_path, handle=send) as running, running.entrance.enter(CLIENT) as connection:
        before = resident(running.child.pid)
        connection.sendall(POUR)
        assert stuck.wait(TIMEOUT)
        assert resident(running.child.pid) - before < MEMORY
        running.entrance.enter(CLIENT).close()
        assert digest_of(connection) == hashlib.sha256(data).digest()
