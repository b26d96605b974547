"""A wrap in front of a tor that treats its connections in a way of the test's own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from peers import extended, wrapped

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from peers.extended import Conduct
    from peers.wrapped import Wrapped

CLIENT = "192.0.2.7:5678"
"""A client of whom only bytes matter."""


@contextlib.contextmanager
def bridge(
    folder: Path, *conducts: Conduct, handle: Callable[[socket.socket], None], greeting: bytes = b""
) -> Iterator[Wrapped]:
    """Run a wrap in front of a tor that treats connections in a way of its own."""
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
