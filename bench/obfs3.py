"""The load on an obfs3 server: its clients and its destination, in one thread and on one core.

The clients' handshake costs next to nothing, so that the server under test is what a measurement measures. Two
liberties make it cheap, and neither can be seen from the server:

- The private exponent is 65538, so that the public key is a constant and the shared secret takes 17 squarings. The
  constant looks as random as any key, and what the server computes does not depend on it.
- After the handshake it may send any bytes: the server deciphers them to noise and passes noise on.

A handshake is complete when it has proved everything in both directions: the token that this side enciphered left the
server in clear, and its echo returned enciphered, after the server's magic.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import os
import select
import socket
import time
from enum import Enum, auto
from typing import TYPE_CHECKING, Self

import gmpy2
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bench.load import PATIENCE, Pair
from bench.process import cpu_seconds
from bench.report import BrokenError
from obfstats.wire import extorport
from obfstats.wire.machine import Event, Failed, Send

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from bench.load import Address, Server

CONCURRENCY = 16
"""Handshakes at the same time."""

TOKEN_LENGTH = 32
"""Bytes that make the round trip; they name the connection."""

_PRIME = gmpy2.mpz(
    # RFC 3526, section 2.
    "0xFFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B"
    "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6"
    "49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D"
    "670C354E4ABC9804F1746C08CA237327FFFFFFFFFFFFFFFF"
)
_EXPONENT = 65538
_KEY_LENGTH = 192
_MAGIC_LENGTH = 32
_PADDING = bytes(2048)
"""Each of the two pieces of padding, as long as they are on average."""

GREETING: bytes = gmpy2.powmod(2, _EXPONENT, _PRIME).to_bytes(_KEY_LENGTH, "big") + _PADDING
"""What an initiator sends first."""


class _Phase(Enum):
    KEY = auto()
    ECHO = auto()


class Initiator:
    """One connection's handshake, from the server's first byte on.

    Attributes:
        token: what this connection sends and expects back.
    """

    __slots__ = ("_held", "_phase", "_secret", "token")

    def __init__(self, token: bytes) -> None:
        self.token = token
        self._phase = _Phase.KEY
        self._held = b""
        self._secret = b""

    def receive(self, data: bytes) -> bytes | None:
        """Take bytes from the server; give the answer to send, or None once the handshake is complete.

        Raises:
            BrokenError: if the echo is not the token.
        """
        self._held += data
        if self._phase is _Phase.KEY:
            if len(self._held) < _KEY_LENGTH:
                return b""
            key, self._held = self._held[:_KEY_LENGTH], self._held[_KEY_LENGTH:]
            power = gmpy2.powmod(gmpy2.mpz.from_bytes(key, "big"), _EXPONENT, _PRIME)
            self._secret = power.to_bytes(_KEY_LENGTH, "big")
            self._phase = _Phase.ECHO
            return _PADDING + self._keyed("Initiator magic") + self._cipher("Initiator", self.token)
        magic, _, echo = self._held.partition(self._keyed("Responder magic"))
        if len(echo) < TOKEN_LENGTH:
            return b""
        if self._cipher("Responder", echo) != self.token:
            raise BrokenError(
                f"the server returned {len(echo)} bytes that are not the token, after {len(magic)} others"
            )
        return None

    def _keyed(self, purpose: str) -> bytes:
        return hmac.digest(self._secret, purpose.encode("ascii"), "sha256")

    def _cipher(self, side: str, data: bytes) -> bytes:
        """Apply the beginning of one direction's stream."""
        key = self._keyed(f"{side} obfuscated data")
        return Cipher(algorithms.AES(key[:16]), modes.CTR(key[16:])).encryptor().update(data)


class Obfs3Load:
    """obfs3 clients, and the destination that the server passes them on to.

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

    def open_and_close(self, server: Server, count: int) -> None:
        """Open connections, some at a time, and close each as soon as its handshake is complete.

        When this returns the server has closed its end of all of them towards the destination.
        """
        _Opening(self, server.address, count, keep=False).run()

    def open(self, server: Server, count: int) -> list[Pair]:
        """Open connections and keep them."""
        return _Opening(self, server.address, count, keep=True).run()

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


def connection_milliseconds(load: Obfs3Load, server: Server, count: int) -> float:
    """Measure the server's processor time of a connection: handshake, destination, a token each way, end."""
    before = cpu_seconds(server.pid)
    load.open_and_close(server, count)
    return (cpu_seconds(server.pid) - before) / count * 1e3


class _Opening:
    """Handshakes under way, their clients' side and their destination's."""

    def __init__(self, load: Obfs3Load, server: Address, count: int, *, keep: bool) -> None:
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
                    raise BrokenError(f"no progress for {PATIENCE:.0f} s, {self._to_finish} connections are missing")
        return self._pairs

    def _open(self) -> None:
        """Begin one more."""
        self._to_open -= 1
        client = socket.socket()
        client.setblocking(False)
        if client.connect_ex(self._server) not in {0, errno.EINPROGRESS}:
            raise BrokenError("the server refuses connections")
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
        """Keep a connection, or end both of its ends; the server then closes both, too."""
        self._poll.unregister(client)
        del self._clients[client.fileno()]
        if self._keep:
            self._pairs.append(Pair(client, self._arrived.pop(token)))
            self._to_finish -= 1
        else:
            client.close()
            # lyrebird does not pass the client's end on: the destination ends as well.
            with contextlib.suppress(OSError):
                self._arrived.pop(token).shutdown(socket.SHUT_WR)
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
        """Echo the token; after it only the end may follow."""
        accepted, token = self._arriving[number]
        data = accepted.recv(TOKEN_LENGTH)
        token += data
        self._arriving[number] = accepted, token
        if data and len(token) == TOKEN_LENGTH:
            accepted.send(token)
            self._arrived[token] = accepted
            if self._keep:
                self._poll.unregister(number)
                del self._arriving[number]
        elif not data:
            if len(token) < TOKEN_LENGTH:
                raise BrokenError("the server hung up on the destination before it had passed the token on")
            accepted.close()
            del self._arriving[number]
            self._to_finish -= 1
