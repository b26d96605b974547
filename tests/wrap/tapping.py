"""A tap between the wrap and tor, which forwards everything and keeps what tor is sent."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

from peers import stand_in
from peers.destinations import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

PROOF = 1 + 32 + 32
"""Bytes that a transport sends before its first message: authentication type, nonce, hash."""


class Tap:
    """What tor was sent.

    Attributes:
        address: where to connect in tor's place.
        heard: what was sent, a connection each.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.heard: list[bytearray] = []

    def last(self) -> list[tuple[int, bytes]]:
        """Return the messages of the last connection up to DONE."""
        held = bytes(self.heard[-1][PROOF:])
        messages: list[tuple[int, bytes]] = []
        while not messages or messages[-1][0] != stand_in.DONE:
            command, length = struct.unpack_from(">HH", held)
            messages.append((command, held[4 : 4 + length]))
            held = held[4 + length :]
        return messages


@contextlib.contextmanager
def tapped(to: tuple[str, int], chunk: int = 1 << 16) -> Iterator[Tap]:
    """Forward connections until the block ends.

    Args:
        to: where tor is.
        chunk: how many bytes are passed on at a time, each in a packet of its own.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        tap = Tap(listening.getsockname())

        def carry(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
            sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError):
                while data := source.recv(chunk):
                    kept += data
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)

        def meet(near: socket.socket) -> None:
            kept = bytearray()
            tap.heard.append(kept)
            with near, socket.create_connection(to, TIMEOUT) as far:
                other = threading.Thread(target=carry, args=(far, near, bytearray()), daemon=True)
                other.start()
                carry(near, far, kept)
                other.join()

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=meet, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield tap
        listening.shutdown(socket.SHUT_RDWR)
