"""Forwards another program's connection from a chosen loopback address.

    with forwarder.forward("127.64.0.1", bridge.address("obfs4")) as place:
        socks.connect(proxy.methods["obfs4"], place, arguments)

A transport's client cannot choose its own address; through this the bridge sees another client each time.
"""

from __future__ import annotations

import select
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 30.0
"""How long a connection may be silent."""

_CHUNK = 1 << 16


@contextmanager
def forward(source: str, destination: tuple[str, int]) -> Iterator[tuple[str, int]]:
    """Forward one connection until it or the block ends; gives where to connect to.

    Args:
        source: the loopback address that the destination sees.
        destination: where it is forwarded to.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(SECONDS)
        ends = [listening]
        thread = threading.Thread(target=_serve, args=(listening, source, destination, ends))
        thread.start()
        try:
            yield listening.getsockname()[:2]
        finally:
            for end in ends:
                # Also wakes the thread from accept or select.
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listening: socket.socket, source: str, destination: tuple[str, int], ends: list[socket.socket]) -> None:
    """Accept the connection, and forward both directions."""
    with suppress(OSError):
        accepted, _ = listening.accept()
        with accepted, socket.create_connection(destination, SECONDS, (source, 0)) as connected:
            ends += [accepted, connected]
            others = {accepted: connected, connected: accepted}
            while others:
                readable, _, _ = select.select(list(others), [], [], SECONDS)
                if not readable:
                    return
                for end in readable:
                    data = end.recv(_CHUNK)
                    if data:
                        others[end].sendall(data)
                    else:
                        others.pop(end).shutdown(socket.SHUT_WR)
