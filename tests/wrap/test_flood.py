"""More connections than the limit, and many that never finish: honest ones are served and counted."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed, stand_in, wrapped
from peers.child import is_readable
from tests import canary
from tests.proxy.honest import EXACT, Visitors, countries, is_open, is_served, resident, warnings
from tests.proxy.moved import Time
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from peers.wrapped import Entrance

NAME = wrapped.NAME

FLOOD = 1000
MANY = 4096
"""Descriptors that this process needs for its own ends, with some to spare."""

PATIENCE = 5.0
"""Seconds within which an honest client must be served, on a busy machine."""

MEMORY = 32 << 20
"""Bytes by which the wrap may grow: 32 KiB for each of the flood."""

OPENING = 10
"""Seconds from a program's connection to tor's OKAY."""

A_MOMENT = 0.3
"""Seconds in which a connection would certainly be answered."""

PLACES = 8


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MANY:
        pytest.skip(f"ulimit -n allows {hard} descriptors, and the flood needs {MANY}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _say_nothing(_: Entrance, __: socket.socket) -> None:
    pass


def _say_a_nonce(_: Entrance, connection: socket.socket) -> None:
    connection.sendall(b"\1" + os.urandom(32))


def _say_half_a_hash(_: Entrance, connection: socket.socket) -> None:
    connection.sendall(b"\1" + os.urandom(32) + os.urandom(16))


def _say_all_but_done(entrance: Entrance, connection: socket.socket) -> None:
    stand_in.authenticate(connection, entrance.cookie_file)
    connection.sendall(stand_in.introduction("192.0.2.7:5678", NAME)[:-1])


STOPS: tuple[Callable[[Entrance, socket.socket], None], ...] = (
    _say_nothing,
    _say_a_nonce,
    _say_half_a_hash,
    _say_all_but_done,
)


def visit_quickly(visitors: Visitors, number: int) -> None:
    """Have visitors connect, none of which waits for long."""
    for _ in range(number):
        began = time.monotonic()
        visitors.visit()
        assert time.monotonic() - began < PATIENCE


def test_a_thousand_half_open_connections_keep_no_client_out(tmp_path: Path) -> None:
    """Each has ten seconds, is not counted, and takes bounded memory."""
    moved, log = Time(tmp_path), tmp_path / "log"
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, EXACT, *managed.counting(log), environment=moved.environment) as bridge,
        contextlib.ExitStack() as stack,
    ):
        visitors = Visitors(bridge.methods[NAME], "dummy")
        entrance = bridge.entrance
        visitors.visit(5)
        before = resident(bridge.child.pid)
        flood = []
        for number in range(FLOOD):
            connection = stack.enter_context(entrance.open())
            STOPS[number % len(STOPS)](entrance, connection)
            flood.append(connection)
            if number % 100 == 99:
                visit_quickly(visitors, 1)
        visit_quickly(visitors, 5)
        assert all(is_open(connection) for connection in flood)
        assert resident(bridge.child.pid) - before < MEMORY
        moved.clock.move(OPENING + 1)
        visit_quickly(visitors, 2)
        assert wait_until(lambda: not any(is_open(connection) for connection in flood))
        visit_quickly(visitors, 5)
        assert countries(log) == visitors.expected_lines()
        for _ in range(3):
            moved.minute(visitors.visit)
        bridge.child.stop()
    assert len(tor.visits) == len(visitors.served)
    assert any(f"{FLOOD} " in sentence for sentence in warnings(bridge))


def test_beyond_the_cap_connections_wait_until_others_close(tmp_path: Path) -> None:
    """Eight are connected and served all the time; further ones wait until one closes, and are then served."""
    log = tmp_path / "log"
    options = ["--max-connections", str(PLACES), "--max-per-network", str(MANY), *managed.counting(log)]
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *options) as bridge,
        contextlib.ExitStack() as stack,
    ):
        visitors = Visitors(bridge.methods[NAME], "dummy")
        staying = [stack.enter_context(visitors.connect()) for _ in range(PLACES)]
        waiting = [stack.enter_context(bridge.entrance.open()) for _ in range(3)]
        assert not any(is_readable(connection, A_MOMENT) for connection in waiting)
        assert all(is_served(client) for client in staying)
        for client, connection in zip(staying, waiting, strict=False):
            client.close()
            stand_in.authenticate(connection, bridge.entrance.cookie_file)
            connection.sendall(stand_in.introduction(f"{canary.address('tr')}:5678", NAME))
            assert stand_in.verdict(connection) == stand_in.OKAY
            visitors.served.append("tr")
        assert all(is_served(client) for client in staying[len(waiting) :])
        assert countries(log) == visitors.expected_lines()


def test_a_network_that_has_its_share_takes_nothing_from_others(tmp_path: Path) -> None:
    """Ten to twenty of one /24 are let in until they leave. Clients without an address of their own have no share."""
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, "--no-stats", "--max-per-network", "20") as bridge,
        contextlib.ExitStack() as stack,
    ):
        enter = bridge.entrance.enter
        inside: list[socket.socket] = []
        with contextlib.suppress(ConnectionError):
            while len(inside) < 50:
                inside.append(stack.enter_context(enter(f"192.0.2.{len(inside)}:5678")))
        assert 10 <= len(inside) <= 20
        for address in (*[f"198.51.100.{number}:5678" for number in range(10)], *["127.0.0.1:1", None] * 20):
            stack.enter_context(enter(address))
        assert len(tor.visits) == len(inside) + 50
        for connection in inside:
            connection.close()

        def is_let_in() -> bool:
            with contextlib.suppress(ConnectionError), enter("192.0.2.100:5678"):
                return True
            return False

        assert wait_until(is_let_in)


def test_sessions_that_never_finish_are_closed_for_new_ones(tmp_path: Path) -> None:
    """They may take half of the connections; beyond that the oldest are closed, so clients always get in."""
    log = tmp_path / "log"
    options = ["--max-connections", str(2 * PLACES), "--max-per-network", str(MANY), *managed.counting(log)]
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *options) as bridge,
        contextlib.ExitStack() as stack,
    ):
        visitors = Visitors(bridge.methods[NAME], "dummy")
        staying = [stack.enter_context(visitors.connect()) for _ in range(3)]
        flood = []
        for _ in range(4 * PLACES):
            flood.append(stack.enter_context(bridge.entrance.open()))
            visit_quickly(visitors, 1)
        assert wait_until(lambda: sum(is_open(connection) for connection in flood) <= PLACES)
        assert is_open(flood[-1])
        assert all(is_served(client) for client in staying)
        assert countries(log) == visitors.expected_lines()


def test_when_descriptors_run_out_accepting_pauses(tmp_path: Path) -> None:
    """Connected clients stay; new ones wait and are served after the shortage."""
    moved, log = Time(tmp_path), tmp_path / "log"
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *managed.counting(log), environment=moved.environment) as bridge,
        contextlib.ExitStack() as stack,
    ):
        visitors = Visitors(bridge.methods[NAME], "dummy")
        staying = [stack.enter_context(visitors.connect()) for _ in range(3)]
        allowed = resource.prlimit(bridge.child.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(bridge.child.pid, resource.RLIMIT_NOFILE, (3, allowed[1]))
        waiting = [stack.enter_context(visitors.send_hello("tr")) for _ in range(5)]
        assert not any(is_readable(client.socket, A_MOMENT / len(waiting)) for client in waiting)
        assert all(is_served(client) for client in staying)
        resource.prlimit(bridge.child.pid, resource.RLIMIT_NOFILE, allowed)
        moved.clock.move(1)
        assert all(is_served(client) for client in staying)
        for client in waiting:
            assert client.recv() == b"hello"
            visitors.served.append("tr")
        visitors.visit()
        # Which of the waiting clients was last is unknown and does not matter: one line is held back.
        assert countries(log) == visitors.expected_lines()
