"""Wraps in front of a stub of tor: one that counts, and one whose tor treats connections as a test wants."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from peers import extended, wrapped

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from peers.extended import ExtendedOrPort, OrPortConduct
    from peers.wrapped import Wrapped
    from tests.proxy.honest import Visitors

CLIENT = "192.0.2.7:5678"
"""A client for tests of its bytes."""


class Counting(NamedTuple):
    """A bridge that counts: each client's line is written when the next one arrives.

    Attributes:
        tor: the stub.
        bridge: the wrap around the stand-in.
        log: its statistics log.
        visitors: all clients that were served.
    """

    tor: ExtendedOrPort
    bridge: Wrapped
    log: Path
    visitors: Visitors


@contextlib.contextmanager
def bridge(
    folder: Path, *conducts: OrPortConduct, handle: Callable[[socket.socket], None], greeting: bytes = b""
) -> Iterator[Wrapped]:
    """Run a wrap in front of a tor that handles connections as told."""
    with (
        extended.orport(folder, *conducts, handle=handle, greeting=greeting) as tor,
        wrapped.server(folder, tor, "--no-stats") as running,
    ):
        yield running


def receive_all(connection: socket.socket) -> bytes:
    """Read to the end."""
    held = bytearray()
    while data := connection.recv(1 << 16):
        held += data
    return bytes(held)
