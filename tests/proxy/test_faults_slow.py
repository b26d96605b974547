"""Clients that are slow on purpose: one byte a second, or no reading at all. Other clients notice nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed
from peers.destinations import TIMEOUT
from tests import canary
from tests.proxy.honest import Visitors, countries, is_open, is_served, resident, warnings
from tests.proxy.moved import Time

if TYPE_CHECKING:
    from pathlib import Path

DEADLINES = (30, 60)
"""Seconds that a handshake has: each connection draws its own."""

A_LITTLE = 5.0
"""Further seconds that the test itself may take on a busy machine."""

READERS_OF_NOTHING = 8
POURED = 64 << 20
"""Bytes that are sent to each of them, as far as they are accepted."""

MEMORY = 64 << 20
"""Bytes by which the program may grow, of half a GiB that is sent."""

POUR = b"pour"


@pytest.mark.parametrize("name", ["obfs2", "obfs3"])
def test_one_byte_a_second_is_closed_at_its_deadline(tmp_path: Path, name: str) -> None:
    """An honest client is served every second; the slow one is closed within its minute, and never counted."""
    moved = Time(tmp_path)
    argv = managed.ours(*managed.counting(tmp_path / "log"))
    with (
        extended.orport(tmp_path) as tor,
        managed.server(tmp_path / "state", tor, argv=argv, environment=moved.environment) as bridge,
    ):
        visitors = Visitors(bridge.methods[name], name)
        visitors.visit()
        began = moved.clock.now()
        with socket.create_connection(bridge.methods[name], TIMEOUT, (canary.address("ir"), 0)) as slow:
            while is_open(slow):
                assert moved.clock.now() - began < DEADLINES[1] + A_LITTLE
                with contextlib.suppress(ConnectionError):
                    slow.sendall(os.urandom(1))
                moved.clock.move(1)
                visitors.visit()
            lasted = moved.clock.now() - began
    assert lasted > DEADLINES[0]
    assert countries(tmp_path / "log") == visitors.expected_lines()
    assert len(tor.visits) == len(visitors.served)
    assert warnings(bridge) == []


def test_clients_that_do_not_read_stop_only_their_own_connections(tmp_path: Path) -> None:
    """The destination's bytes wait at their source; others are served meanwhile and afterwards."""
    stuck = threading.Semaphore(0)

    def handle(connection: socket.socket) -> None:
        while (data := connection.recv(1 << 16)) != POUR:
            if not data:
                return
            connection.sendall(data)
        connection.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            for _ in range(POURED >> 16):
                connection.sendall(bytes(1 << 16))
            return
        stuck.release()
        connection.settimeout(TIMEOUT)
        connection.recv(1)

    argv = managed.ours(*managed.counting(tmp_path / "log"))
    with (
        extended.orport(tmp_path, handle=handle) as tor,
        managed.server(tmp_path / "state", tor, argv=argv) as bridge,
        contextlib.ExitStack() as stack,
    ):
        visitors = Visitors(bridge.methods["obfs3"])
        staying = stack.enter_context(visitors.connect())
        before = resident(bridge.child.pid)
        readers = [stack.enter_context(visitors.connect("tr")) for _ in range(READERS_OF_NOTHING)]
        for reader in readers:
            reader.sendall(POUR)
        for _ in readers:
            visitors.visit()
            assert stuck.acquire(timeout=TIMEOUT)
        assert resident(bridge.child.pid) - before < MEMORY
        visitors.visit(5)
        assert is_served(staying)
        for reader in readers:
            reader.close()
        visitors.visit(5)
        assert is_served(staying)
    assert countries(tmp_path / "log") == visitors.expected_lines()
