"""A program's faulty connection to the extended ORPort is closed; its other clients are served and counted."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed, stand_in, wrapped
from peers.destinations import TIMEOUT
from peers.stand_in import ServerConduct
from tests import canary
from tests.proxy.honest import EXACT, Visitors, countries, is_open, warnings
from tests.proxy.moved import Time
from tests.proxy.visiting import HELLO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from peers.wrapped import Entrance
    from tests.wrap.bridges import Counting

NAME = wrapped.NAME

OPENING = 10
"""Seconds from a program's connection to tor's OKAY."""


@pytest.mark.parametrize(
    "conduct",
    [
        ServerConduct.WRONG_HASH,
        ServerConduct.NONSENSE,
        ServerConduct.OVERLONG,
        ServerConduct.HOST_NAME,
        ServerConduct.EAGER,
    ],
)
def test_a_client_with_a_faulty_introduction_is_not_counted(counting: Counting, conduct: ServerConduct) -> None:
    """It is closed; tor is not asked."""
    visitors = counting.visitors
    visitors.visit()
    asked = len(counting.tor.visits)
    counting.bridge.program.expect(conduct)
    visitors.expect_refused()
    assert len(counting.tor.visits) == asked
    visitors.visit(2)
    assert countries(counting.log) == visitors.expected_lines()
    assert counting.tor.refused == []


def _wrong_hash(entrance: Entrance, connection: socket.socket) -> None:
    """Tor's own answer: 00 and the end of file."""
    with pytest.raises(ConnectionError, match="refused the cookie"):
        stand_in.authenticate(connection, entrance.cookie_file, rightly=False)


def _another_way(_: Entrance, connection: socket.socket) -> None:
    connection.sendall(b"\2" + os.urandom(32))


def _giant_message(entrance: Entrance, connection: socket.socket) -> None:
    stand_in.authenticate(connection, entrance.cookie_file)
    connection.sendall(stand_in.message(stand_in.USERADDR, b"1" * 0xFFFF))


def _giant_unknown_message(entrance: Entrance, connection: socket.socket) -> None:
    stand_in.authenticate(connection, entrance.cookie_file)
    connection.sendall(stand_in.message(0x0BAD, bytes(1025)))


def _no_name(entrance: Entrance, connection: socket.socket) -> None:
    stand_in.authenticate(connection, entrance.cookie_file)
    connection.sendall(stand_in.introduction("192.0.2.7:5678", "no name"))


def _endless(_: Entrance, connection: socket.socket) -> None:
    for _number in range(1000):
        connection.sendall(bytes(1 << 14))


@pytest.mark.parametrize(
    "misbehave", [_wrong_hash, _another_way, _giant_message, _giant_unknown_message, _no_name, _endless]
)
def test_a_faulty_connection_is_closed_at_once(
    counting: Counting, misbehave: Callable[[Entrance, socket.socket], None]
) -> None:
    """Without waiting for the rest."""
    entrance = counting.bridge.entrance
    with entrance.open() as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            misbehave(entrance, connection)
        assert ends(connection)
    counting.visitors.visit(2)
    assert countries(counting.log) == counting.visitors.expected_lines()


def ends(connection: socket.socket) -> bool:
    """Wait until the wrap closes; tell whether it does so long before the deadline."""
    connection.settimeout(OPENING / 2)
    try:
        while connection.recv(1 << 10):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_messages_may_arrive_in_small_pieces(counting: Counting) -> None:
    """A byte at a time, each in its own packet; unknown commands are ignored."""
    entrance = counting.bridge.entrance
    with entrance.open() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert stand_in.read(connection, 2) == b"\1\0"
        nonce = os.urandom(32)
        trickle(connection, b"\1" + nonce)
        nonces = nonce + stand_in.read(connection, 64)[32:]
        cookie = entrance.cookie_file.read_bytes()[32:]
        trickle(connection, stand_in.prove(cookie, b"client-to-server", nonces))
        assert stand_in.read(connection, 1) == b"\1"
        known = stand_in.introduction(f"{canary.address('tr')}:5678", NAME)
        trickle(connection, stand_in.message(0x1002, b"?") + known)
        assert stand_in.verdict(connection) == stand_in.OKAY
        connection.sendall(HELLO)
        assert stand_in.read(connection, len(HELLO)) == HELLO
        counting.visitors.served.append("tr")
    counting.visitors.visit()
    assert countries(counting.log) == counting.visitors.expected_lines()


def trickle(connection: socket.socket, data: bytes) -> None:
    """Send a byte at a time."""
    for number in range(len(data)):
        connection.sendall(data[number : number + 1])


def test_one_byte_a_second_is_cut_off(tmp_path: Path) -> None:
    """An honest client is served every second; the slow one has ten seconds from its connection."""
    time, log = Time(tmp_path), tmp_path / "log"
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *managed.counting(log), environment=time.environment) as bridge,
    ):
        visitors = Visitors(bridge.methods[NAME], "dummy")
        visitors.visit()
        began = time.clock.now()
        with bridge.entrance.open() as slow:
            slow.sendall(b"\1")
            while is_open(slow):
                assert time.clock.now() - began < OPENING + 5
                with contextlib.suppress(ConnectionError):
                    slow.sendall(os.urandom(1))
                time.clock.move(1)
                visitors.visit()
            lasted = time.clock.now() - began
        assert lasted >= OPENING
        assert countries(log) == visitors.expected_lines()
        assert len(tor.visits) == len(visitors.served)


@pytest.mark.parametrize(("options", "number"), [((EXACT,), "3"), ((), "8")])
def test_failures_are_reported_later_as_a_number(tmp_path: Path, options: tuple[str, ...], number: str) -> None:
    """Within ten minutes, at a random moment and rounded up to 8; after a minute where numbers may be exact."""
    time = Time(tmp_path)
    wrong = [ServerConduct.WRONG_HASH.name] * 3
    counting = managed.counting(tmp_path / "log")
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *options, *counting, program=wrong, environment=time.environment) as bridge,
    ):
        visitors = Visitors(bridge.methods[NAME], "dummy")
        visitors.expect_refused(3)
        visitors.visit()
        assert warnings(bridge) == []
        for _ in range(1 if options else 10):
            time.minute(visitors.visit)
        bridge.child.stop()
    (sentence,) = warnings(bridge)
    assert re.findall(r"\b[0-9]+\b", sentence) == [number]


def test_a_client_whose_program_never_sends_done_leaves_nothing_behind(tmp_path: Path) -> None:
    """After ten seconds it is closed, with the program's own connection."""
    time, log = Time(tmp_path), tmp_path / "log"
    silent = [ServerConduct.SILENT.name]
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *managed.counting(log), program=silent, environment=time.environment) as bridge,
        socket.create_connection(bridge.methods[NAME], TIMEOUT, (canary.address("ir"), 0)) as client,
    ):
        visitors = Visitors(bridge.methods[NAME], "dummy")
        visitors.visit(2)
        assert is_open(client)
        time.clock.move(OPENING + 1)
        visitors.visit(2)
        assert client.recv(1) == b""
        assert countries(log) == visitors.expected_lines()
        assert len(tor.visits) == len(visitors.served)
