"""Connections that end, in whichever way, leave no descriptor, no slot and hardly any memory."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from peers import extended, stand_in, wrapped
from peers.extended import OrPortConduct
from peers.stand_in import ServerConduct
from tests.proxy.honest import resident
from tests.proxy.visiting import HELLO, visit, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers.extended import ExtendedOrPort
    from peers.wrapped import Wrapped

CLIENT = "192.0.2.7:5678"

EACH = 40
"""How often each way is repeated."""

KEPT = 32
"""Descriptors of the pipes that are kept for the next connection."""

MEMORY = 4 << 20
"""Bytes by which the wrap may grow; each connection receives 64 KiB."""

RESET = struct.pack("ii", 1, 0)
"""Makes a socket reset its connection as it closes."""

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a process that is not dumpable")


def _whole(bridge: Wrapped, _: ExtendedOrPort) -> None:
    assert visit(bridge.methods[wrapped.NAME], "dummy") == HELLO


def _reset(bridge: Wrapped, _: ExtendedOrPort) -> None:
    with bridge.entrance.enter(CLIENT) as connection:
        connection.sendall(HELLO * 1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def _unread(bridge: Wrapped, _: ExtendedOrPort) -> None:
    """The client disconnects before the answer arrives."""
    with bridge.entrance.enter(CLIENT) as connection:
        connection.sendall(bytes(1 << 18))


def _half_open(bridge: Wrapped, _: ExtendedOrPort) -> None:
    with bridge.entrance.open() as connection:
        connection.sendall(b"\1")


def _gone_at_once(bridge: Wrapped, _: ExtendedOrPort) -> None:
    bridge.entrance.open().close()


def _wrong(bridge: Wrapped, _: ExtendedOrPort) -> None:
    bridge.program.expect(ServerConduct.WRONG_HASH)
    assert visit(bridge.methods[wrapped.NAME], "dummy") == b""


def _denied(bridge: Wrapped, tor: ExtendedOrPort) -> None:
    tor.expect(OrPortConduct.CLOSE)
    with bridge.entrance.ask(CLIENT) as connection, contextlib.suppress(ConnectionError):
        assert stand_in.verdict(connection) == stand_in.DENY


def _gone_while_tor_is_asked(bridge: Wrapped, tor: ExtendedOrPort) -> None:
    tor.expect(OrPortConduct.SILENCE)
    before = tor.connections
    with bridge.entrance.ask(CLIENT):
        assert wait_until(lambda: tor.connections > before)


WAYS: dict[str, Callable[[Wrapped, ExtendedOrPort], None]] = {
    "whole": _whole,
    "reset": _reset,
    "unread": _unread,
    "half open": _half_open,
    "gone at once": _gone_at_once,
    "wrong": _wrong,
    "denied": _denied,
    "gone while tor is asked": _gone_while_tor_is_asked,
}


def descriptors(pid: int) -> int:
    """How many a process has."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


@only_root
def test_connections_leave_nothing_behind(tmp_path: Path) -> None:
    """Every way to end, again and again: hardly more descriptors than at first, and memory for a few connections."""
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, "--no-stats") as bridge:
        pid = bridge.child.pid
        idle = descriptors(pid)
        for end in WAYS.values():
            end(bridge, tor)
        before = resident(pid)
        for name, end in WAYS.items():
            for _ in range(EACH):
                end(bridge, tor)
            assert wait_until(lambda: descriptors(pid) <= idle + KEPT, 5), name
        assert resident(pid) - before < MEMORY
