"""How a connection ends: each direction by itself, or both at once if one end is lost."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from obfstats.wire.extorport import Command, pack_message
from peers import stand_in, wrapped
from peers.destinations import TIMEOUT, digest
from tests.proxy.visiting import HELLO
from tests.wrap.bridges import CLIENT, bridge, receive_all

if TYPE_CHECKING:
    from pathlib import Path


FALL = b"f"
"""A client sends this to have tor reset its connection."""

SERVED = pack_message(Command.OKAY) + hashlib.sha256(b"").digest()
"""What the stub answers to a client that has sent nothing."""

RESET = struct.pack("ii", 1, 0)
"""Makes a socket reset its connection as it closes."""


def test_tor_may_end_first(tmp_path: Path) -> None:
    """Its end arrives at once, and what the client sends after that still reaches it."""
    arrived = queue.Queue[bytes]()

    def end_and_listen(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_WR)
        arrived.put(receive_all(connection))

    with (
        bridge(tmp_path, handle=end_and_listen, greeting=b"bye") as running,
        running.entrance.enter(CLIENT) as connection,
    ):
        assert receive_all(connection) == b"bye"
        for _ in range(3):
            connection.sendall(HELLO)
        assert arrived.empty()
        connection.shutdown(socket.SHUT_WR)
        assert arrived.get(timeout=TIMEOUT) == HELLO * 3


def test_an_end_that_arrives_with_the_first_bytes_is_kept(tmp_path: Path) -> None:
    """The program has sent everything before the wrap reads on after OKAY."""
    with bridge(tmp_path, handle=digest) as running, running.entrance.enter(CLIENT) as connection:
        connection.sendall(HELLO)
        connection.shutdown(socket.SHUT_WR)
        assert receive_all(connection) == hashlib.sha256(HELLO).digest()


def test_an_end_before_okay_is_kept(tmp_path: Path) -> None:
    """A program that ends its direction after DONE: it is disconnected, as tor does, or served to the end."""
    with bridge(tmp_path, handle=digest) as running:
        # Both may come at once, or one by one.
        for _ in range(20):
            with running.entrance.open() as connection, contextlib.suppress(ConnectionError):
                stand_in.authenticate(connection, running.entrance.cookie_file)
                connection.sendall(stand_in.introduction(CLIENT, wrapped.NAME))
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(5.0)
                assert receive_all(connection) in {b"", SERVED}


def test_a_client_that_sends_only_its_end_ends_tors_connection(tmp_path: Path) -> None:
    """No byte in either direction but tor's answer."""
    with bridge(tmp_path, handle=digest) as running, running.entrance.enter(CLIENT) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert receive_all(connection) == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("who", ["program", "tor"])
def test_a_connection_that_is_reset_ends_at_its_other_end(tmp_path: Path, who: str) -> None:
    """The other half is closed too; other connections stay."""
    ended = threading.Event()

    def echo_or_reset(connection: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(1):
                if data == FALL:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    return
                connection.sendall(data)
        ended.set()

    with bridge(tmp_path, handle=echo_or_reset) as running, running.entrance.enter(CLIENT) as staying:
        with running.entrance.enter(CLIENT) as connection:
            connection.sendall(b"?")
            assert stand_in.read(connection, 1) == b"?"
            if who == "tor":
                connection.sendall(FALL)
                assert not is_open_at_last(connection)
            else:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if who == "program":
            assert ended.wait(TIMEOUT)
        staying.sendall(b"?")
        assert stand_in.read(staying, 1) == b"?"


def is_open_at_last(connection: socket.socket) -> bool:
    """Wait for bytes or the end of file; tell whether there were bytes."""
    try:
        return connection.recv(1) != b""
    except ConnectionError:
        return False
