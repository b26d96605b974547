"""A connection of another program's, passed on from whatever loopback address it is to come from.

    with forwarder.forward("127.64.0.1", bridge.address("obfs4")) as place:
        socks.connect(proxy.methods["obfs4"], place, arguments)

A transport's client cannot be told where to come from; with this between, the bridge sees another client each time.
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
    """Take one connection and pass it on until its ends, or the block's; gives where to connect to.

    Args:
        source: the loopback address that the destination sees.
        destination: where to.
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
                # Also wakes the thread, whatever it waits for.
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listening: socket.socket, source: str, destination: tuple[str, int], ends: list[socket.socket]) -> None:
    """Take the connection, and pass on what comes from either end."""
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
