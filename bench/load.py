"""Moving bytes through a server under test, from one thread on one core.

The cost of a byte is kept off the generator: it sends one constant buffer again and again, and discards what it
receives without copying it (MSG_TRUNC), but counts every byte.
"""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bench.process import settled_kib
from bench.report import BrokenError

if TYPE_CHECKING:
    Address = tuple[str, int]

PATIENCE = 60.0
"""Seconds without any progress after which a measurement is given up."""

_CHUNK = memoryview(bytes(1 << 18))
_DISCARD = bytearray(1 << 20)
_WARM_UP = 100


class Pair(NamedTuple):
    """Both ends of one connection through the server: a client's and the destination's."""

    client: socket.socket
    destination: socket.socket

    def close(self) -> None:
        """Close both."""
        self.client.close()
        self.destination.close()


class Server(NamedTuple):
    """A server or a relay under test.

    Attributes:
        pid: its process id.
        address: where clients connect to.
        cookie: what a client must know there, where the server is an extended ORPort.
    """

    pid: int
    address: Address
    cookie: bytes = b""


class Load(Protocol):
    """The clients of a server, and the destination that it passes them on to."""

    def open_and_close(self, server: Server, count: int) -> None:
        """Open connections, some at a time; each ends as soon as a token has gone each way."""

    def open(self, server: Server, count: int) -> list[Pair]:
        """Open connections and keep them."""


def upload(pairs: list[Pair], each: int) -> None:
    """Send that many bytes from each client to the destination, and wait until all have arrived."""
    _move([(pair.client, pair.destination) for pair in pairs], each)


def download(pairs: list[Pair], each: int) -> None:
    """Send that many bytes from the destination to each client, and wait until all have arrived."""
    _move([(pair.destination, pair.client) for pair in pairs], each)


def _move(ways: list[tuple[socket.socket, socket.socket]], each: int) -> None:
    to_send = {source.fileno(): (source, each) for source, _ in ways}
    to_receive = {sink.fileno(): (sink, each) for _, sink in ways}
    with select.epoll() as poll:
        for number in to_send:
            poll.register(number, select.EPOLLOUT)
        for number in to_receive:
            poll.register(number, select.EPOLLIN)
        while to_receive:
            events = poll.poll(PATIENCE)
            if not events:
                missing = sum(left for _, left in to_receive.values())
                raise BrokenError(f"nothing moved for {PATIENCE:.0f} s, {missing} bytes are missing")
            for number, _ in events:
                if number in to_send:
                    source, left = to_send[number]
                    left -= source.send(_CHUNK[:left])
                    to_send[number] = source, left
                    if not left:
                        poll.unregister(number)
                        del to_send[number]
                else:
                    sink, left = to_receive[number]
                    got = sink.recv_into(_DISCARD, len(_DISCARD), socket.MSG_TRUNC)
                    if not 0 < got <= left:
                        raise BrokenError(f"{got} bytes arrived where {left} were missing")
                    to_receive[number] = sink, left - got
                    if got == left:
                        poll.unregister(number)
                        del to_receive[number]


def idle_kib(load: Load, server: Server, count: int) -> float:
    """Measure the resident memory of an idle connection in KiB, in a server that has just been started.

    Some connections open and close before the first reading, so that nothing which a server sets up once is taken for a
    connection's.

    Args:
        load: makes the connections.
        server: what is measured.
        count: how many connections are idle.
    """
    load.open_and_close(server, _WARM_UP)
    before = settled_kib(server.pid)
    pairs = load.open(server, count)
    grown = settled_kib(server.pid) - before
    for pair in pairs:
        pair.close()
    return grown / count
