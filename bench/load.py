"""The load on a server under test: its clients and its destination, in one thread and on one core.

The cost of a byte is kept off the generator: it sends one constant buffer again and again, and throws away what it
receives without copying it (MSG_TRUNC), but counts every byte.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from bench.initiator import GREETING, TOKEN_LENGTH, BrokenError, Initiator
from obfstats.wire import extorport
from obfstats.wire.machine import Event, Failed, Send

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    Address = tuple[str, int]

CONCURRENCY = 16
"""Handshakes under way at once."""

PATIENCE = 60.0
"""Seconds without any progress after which a measurement is given up."""

_CHUNK = memoryview(bytes(1 << 18))
_DISCARD = bytearray(1 << 20)


class Pair(NamedTuple):
    """Both ends of one connection through the server: a client's and the destination's."""

    client: socket.socket
    destination: socket.socket

    def close(self) -> None:
        """Close both."""
        self.client.close()
        self.destination.close()


class Load:
    """Clients, and the destination that the server passes them on to.

    Attributes:
        destination: where the server has to connect to.
        cookie: what the server has to know, where the destination is tor's extended ORPort; None where it is plain.
    """

    def __init__(self, cookie: bytes | None = None) -> None:
        self.cookie = cookie
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listening.setblocking(False)
        self.destination: Address = self._listening.getsockname()
        self._tokens = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()

    def handshakes(self, server: Address, count: int) -> None:
        """Open so many connections, some at a time, and close each as soon as it is whole.

        When this returns the server has closed its end of all of them towards the destination.
        """
        _Opening(self, server, count, keep=False).run()

    def connections(self, server: Address, count: int) -> list[Pair]:
        """Open so many connections and keep them."""
        return _Opening(self, server, count, keep=True).run()

    def accept(self) -> socket.socket | None:
        """Give the next connection that the server made to the destination, if there is one."""
        try:
            accepted, _ = self._listening.accept()
        except BlockingIOError:
            return None
        accepted.setblocking(False)
        return accepted

    def fileno(self) -> int:
        """Give the descriptor that becomes readable when there is something to accept."""
        return self._listening.fileno()

    def next_token(self) -> bytes:
        """Name a connection."""
        self._tokens += 1
        return self._tokens.to_bytes(8, "big") + bytes(range(TOKEN_LENGTH - 8))


def upload(pairs: list[Pair], each: int) -> None:
    """Send so many bytes from each client to the destination, and see each one of them arrive."""
    _move([(pair.client, pair.destination) for pair in pairs], each)


def download(pairs: list[Pair], each: int) -> None:
    """Send so many bytes from the destination to each client, and see each one of them arrive."""
    _move([(pair.destination, pair.client) for pair in pairs], each)


def _move(ways: list[tuple[socket.socket, socket.socket]], each: int) -> None:
    to_send = {source.fileno(): (source, each) for source, _ in ways}
    to_come = {sink.fileno(): (sink, each) for _, sink in ways}
    with select.epoll() as poll:
        for number in to_send:
            poll.register(number, select.EPOLLOUT)
        for number in to_come:
            poll.register(number, select.EPOLLIN)
        while to_come:
            events = poll.poll(PATIENCE)
            if not events:
                raise BrokenError(
                    f"nothing moved for {PATIENCE:.0f} s, {sum(left for _, left in to_come.values())} to come"
                )
            for number, _ in events:
                if number in to_send:
                    source, left = to_send[number]
                    left -= source.send(_CHUNK[:left])
                    to_send[number] = source, left
                    if not left:
                        poll.unregister(number)
                        del to_send[number]
                else:
                    sink, left = to_come[number]
                    got = sink.recv_into(_DISCARD, len(_DISCARD), socket.MSG_TRUNC)
                    if not 0 < got <= left:
                        raise BrokenError(f"{got} bytes came where {left} were left to come")
                    to_come[number] = sink, left - got
                    if got == left:
                        poll.unregister(number)
                        del to_come[number]


class _Opening:
    """Handshakes under way, their clients' side and their destination's."""

    def __init__(self, load: Load, server: Address, count: int, *, keep: bool) -> None:
        self._load, self._server, self._keep = load, server, keep
        self._to_open = self._to_finish = count
        self._clients: dict[int, tuple[socket.socket, Initiator]] = {}
        self._asking: dict[int, tuple[socket.socket, extorport.ExtOrPortServer]] = {}
        self._arriving: dict[int, tuple[socket.socket, bytes]] = {}
        self._arrived: dict[bytes, socket.socket] = {}
        self._pairs: list[Pair] = []

    def run(self) -> list[Pair]:
        """Open them all."""
        with select.epoll() as self._poll:
            self._poll.register(self._load, select.EPOLLIN)
            for _ in range(min(CONCURRENCY, self._to_open)):
                self._open()
            deadline = time.monotonic() + PATIENCE
            while self._to_finish:
                for number, event in self._poll.poll(PATIENCE):
                    if number in self._clients:
                        self._client(number, event)
                        deadline = time.monotonic() + PATIENCE
                    elif number in self._asking:
                        self._ask(number)
                    elif number in self._arriving:
                        self._destination(number)
                    else:
                        self._accept()
                if time.monotonic() > deadline:
                    raise BrokenError(f"no handshake went on for {PATIENCE:.0f} s, {self._to_finish} were to come")
        return self._pairs

    def _open(self) -> None:
        """Begin one more."""
        self._to_open -= 1
        client = socket.socket()
        client.setblocking(False)
        if client.connect_ex(self._server) not in {0, errno.EINPROGRESS}:
            raise BrokenError("the server does not take connections")
        self._clients[client.fileno()] = client, Initiator(self._load.next_token())
        self._poll.register(client, select.EPOLLOUT)

    def _client(self, number: int, event: int) -> None:
        client, initiator = self._clients[number]
        if event & select.EPOLLOUT:
            client.send(GREETING)
            self._poll.modify(number, select.EPOLLIN)
            return
        data = client.recv(1 << 16)
        if not data:
            raise BrokenError("the server hung up in the middle of a handshake")
        answer = initiator.receive(data)
        if answer is None:
            self._finished(client, initiator.token)
        elif answer:
            client.send(answer)

    def _finished(self, client: socket.socket, token: bytes) -> None:
        """Keep a connection, or close the client's end; the server then closes the destination's."""
        self._poll.unregister(client)
        del self._clients[client.fileno()]
        if self._keep:
            self._pairs.append(Pair(client, self._arrived.pop(token)))
            self._to_finish -= 1
        else:
            client.close()
        if self._to_open:
            self._open()

    def _accept(self) -> None:
        while (accepted := self._load.accept()) is not None:
            self._poll.register(accepted, select.EPOLLIN)
            if self._load.cookie is None:
                self._arriving[accepted.fileno()] = accepted, b""
            else:
                tor = extorport.ExtOrPortServer(self._load.cookie, os.urandom)
                self._asking[accepted.fileno()] = accepted, tor
                self._answer(accepted, tor, tor.start())

    def _ask(self, number: int) -> None:
        """Go on with the extended ORPort's exchange."""
        accepted, tor = self._asking[number]
        data = accepted.recv(1 << 12)
        if not data:
            raise BrokenError("the server hung up on the extended ORPort")
        self._answer(accepted, tor, tor.receive(data))

    def _answer(
        self,
        accepted: socket.socket,
        tor: extorport.ExtOrPortServer,
        events: Sequence[Event],
    ) -> None:
        for event in events:
            match event:
                case Send(data):
                    accepted.send(data)
                case extorport.Asked():
                    accepted.send(tor.grant())
                    del self._asking[accepted.fileno()]
                    self._arriving[accepted.fileno()] = accepted, b""
                case Failed(reason):
                    raise BrokenError(reason)

    def _destination(self, number: int) -> None:
        """Echo the token; after that the only thing to come is the end."""
        accepted, token = self._arriving[number]
        data = accepted.recv(TOKEN_LENGTH)
        token += data
        self._arriving[number] = accepted, token
        if data and len(token) == TOKEN_LENGTH:
            accepted.send(token)
            if self._keep:
                self._arrived[token] = accepted
                self._poll.unregister(number)
                del self._arriving[number]
        elif not data:
            if len(token) < TOKEN_LENGTH:
                raise BrokenError("the server hung up on the destination before it had passed the token on")
            accepted.close()
            del self._arriving[number]
            self._to_finish -= 1
