"""The load on a relay between a transport's program and tor: it plays both, in one thread and on one core.

A connection is like a client's: the transport's side connects to the relay and runs the extended ORPort's exchange in
the steps of goptlib, each in one piece; tor's side accepts, answers each step and sends OKAY. Then a token is sent each
way. Whether the relay forwards the exchange, or has one of its own with either side, cannot be seen here: the
transport's side proves the cookie that it was given, tor's side wants tor's own, and both see what has to be seen: that
the other end knows the cookie, and that tor hears of a client whom the transport named.

A relay may be as fast as its load, so the load does as little as possible: no event loop, no protocol machine, no
non-blocking descriptor. One table holds the next step of each descriptor. Both ends' nonces never change, so that no
hash of a forwarded exchange is computed twice. Tor's side hangs up first: then no port that somebody connected from
stays taken (TIME_WAIT); there would soon be too few of them.
"""

from __future__ import annotations

import os
import select
import socket
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from bench.load import PATIENCE, Pair
from bench.report import BrokenError
from obfstats.formats.address import ClientAddress
from obfstats.wire.extorport import (
    COOKIE_LENGTH,
    HASH_LENGTH,
    NONCE_LENGTH,
    SAFE_COOKIE,
    Command,
    client_hash,
    pack_message,
    server_hash,
    write_cookie,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from bench.load import Address, Server

TRANSPORT = "obfs4"
"""The transport of all clients."""

CONCURRENCY = 64
"""Connections at the same time."""

_WAYS = bytes((SAFE_COOKIE, 0))
_NONCE = bytes(range(NONCE_LENGTH))
_GREETING = bytes((SAFE_COOKIE,)) + _NONCE
_RIGHT = b"\1"
_OKAY = pack_message(Command.OKAY)
_TOKEN_LENGTH = 8
_MOST = 1 << 12
_BACKLOG = 1024
_FIRST_PORT = 1024

_client_hash = lru_cache(maxsize=16)(client_hash)
_server_hash = lru_cache(maxsize=16)(server_hash)


class ExtOrPortLoad:
    """A transport's program, and the tor that the relay passes its clients on to.

    Attributes:
        destination: tor's extended ORPort.
        cookie: what has to be known there.
        cookie_file: the same as tor writes it.
        listening: tor's socket.
        introductions: what the transport's side tells of its clients, DONE included.
        named: the same, as a set.
    """

    def __init__(self, folder: Path, clients: Sequence[str]) -> None:
        """Listen as tor.

        Args:
            folder: for the cookie file.
            clients: the addresses that the transport's side names, one after the other and then from the first again.
        """
        self.cookie = os.urandom(COOKIE_LENGTH)
        self.cookie_file = folder / "extended_orport_auth_cookie"
        self.cookie_file.write_bytes(write_cookie(self.cookie))
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self.destination: Address = self.listening.getsockname()
        self.introductions = [
            pack_message(Command.USERADDR, ClientAddress.parse(client, _FIRST_PORT + number).host_and_port.encode())
            + pack_message(Command.TRANSPORT, TRANSPORT.encode())
            + pack_message(Command.DONE)
            for number, client in enumerate(clients)
        ]
        self.named = frozenset(self.introductions)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.listening.close()

    @property
    def environment(self) -> dict[str, str]:
        """What tor tells a transport's program about its extended ORPort."""
        return {
            "TOR_PT_EXTENDED_SERVER_PORT": "{}:{}".format(*self.destination),
            "TOR_PT_AUTH_COOKIE_FILE": str(self.cookie_file),
        }

    def open_and_close(self, server: Server, count: int) -> None:
        """Open connections, some at a time; each one ends as soon as a token has gone each way."""
        _Opening(self, server, count, keep=False).run()

    def open(self, server: Server, count: int) -> list[Pair]:
        """Open connections and keep them."""
        return _Opening(self, server, count, keep=True).run()


class _Opening:
    """Connections under way, the transport's side and tor's."""

    def __init__(self, load: ExtOrPortLoad, relay: Server, count: int, *, keep: bool) -> None:
        self._load, self._relay, self._keep = load, relay, keep
        self._to_open = self._to_finish = count
        self._next: dict[int, Callable[[int], None]] = {}
        self._numbers: dict[int, int] = {}
        self._proofs: dict[int, bytes] = {}
        self._arrived: dict[bytes, int] = {}
        self._pairs: list[Pair] = []

    def run(self) -> list[Pair]:
        """Open them all."""
        steps = self._next
        with select.epoll() as self._poll:
            self._watch(self._load.listening.fileno(), self._accept)
            for _ in range(min(CONCURRENCY, self._to_open)):
                self._open()
            while self._to_finish:
                events = self._poll.poll(PATIENCE)
                if not events:
                    raise BrokenError(f"no progress for {PATIENCE:.0f} s, {self._to_finish} connections are missing")
                for descriptor, _ in events:
                    steps[descriptor](descriptor)
        return self._pairs

    def _watch(self, descriptor: int, step: Callable[[int], None]) -> None:
        self._poll.register(descriptor, select.EPOLLIN)
        self._next[descriptor] = step

    # The transport's side.

    def _open(self) -> None:
        """Begin one more."""
        self._to_open -= 1
        client = socket.socket()
        # On loopback the connection is established when this returns.
        client.connect(self._relay.address)
        descriptor = client.detach()
        self._numbers[descriptor] = self._to_open
        self._watch(descriptor, self._greet)

    def _greet(self, descriptor: int) -> None:
        _want(os.read(descriptor, _MOST) == _WAYS, "offer authentication by cookie")
        os.write(descriptor, _GREETING)
        self._next[descriptor] = self._prove

    def _prove(self, descriptor: int) -> None:
        answer, cookie = os.read(descriptor, _MOST), self._relay.cookie
        nonce = answer[HASH_LENGTH:]
        _want(answer[:HASH_LENGTH] == _server_hash(cookie, _NONCE, nonce), "prove to the transport that it knows")
        os.write(descriptor, _client_hash(cookie, _NONCE, nonce))
        self._next[descriptor] = self._introduce

    def _introduce(self, descriptor: int) -> None:
        _want(os.read(descriptor, _MOST) == _RIGHT, "let the transport in")
        introductions = self._load.introductions
        os.write(descriptor, introductions[self._numbers[descriptor] % len(introductions)])
        self._next[descriptor] = self._speak

    def _speak(self, descriptor: int) -> None:
        _want(os.read(descriptor, _MOST) == _OKAY, "let the client in")
        os.write(descriptor, self._numbers[descriptor].to_bytes(_TOKEN_LENGTH, "big"))
        self._next[descriptor] = self._hear

    def _hear(self, descriptor: int) -> None:
        token = os.read(descriptor, _MOST)
        _want(token == self._numbers[descriptor].to_bytes(_TOKEN_LENGTH, "big"), "give the token back")
        if self._keep:
            self._poll.unregister(descriptor)
            self._pairs.append(Pair(_to_move(descriptor), _to_move(self._arrived.pop(token))))
            self._finished()
        else:
            self._next[descriptor] = self._leave

    def _leave(self, descriptor: int) -> None:
        _want(os.read(descriptor, _MOST) == b"", "pass the end on")
        os.close(descriptor)
        self._finished()

    def _finished(self) -> None:
        self._to_finish -= 1
        if self._to_open:
            self._open()

    # Tor's side.

    def _accept(self, _: int) -> None:
        accepted, _address = self._load.listening.accept()
        descriptor = accepted.detach()
        os.write(descriptor, _WAYS)
        self._watch(descriptor, self._prove_as_tor)

    def _prove_as_tor(self, descriptor: int) -> None:
        greeting, cookie = os.read(descriptor, _MOST), self._load.cookie
        _want(len(greeting) == len(_GREETING), "greet tor")
        nonce = greeting[1:]
        self._proofs[descriptor] = _client_hash(cookie, nonce, _NONCE)
        os.write(descriptor, _server_hash(cookie, nonce, _NONCE) + _NONCE)
        self._next[descriptor] = self._see_proof

    def _see_proof(self, descriptor: int) -> None:
        received = os.read(descriptor, _MOST)
        _want(received[:HASH_LENGTH] == self._proofs[descriptor], "prove to tor that it knows the cookie")
        if len(received) == HASH_LENGTH:
            os.write(descriptor, _RIGHT)
            self._next[descriptor] = self._see_introduction
            return
        # Tor answers one read with one write.
        _want(received[HASH_LENGTH:] in self._load.named, "tell tor of a client as the transport did")
        os.write(descriptor, _RIGHT + _OKAY)
        self._next[descriptor] = self._echo

    def _see_introduction(self, descriptor: int) -> None:
        _want(os.read(descriptor, _MOST) in self._load.named, "tell tor of a client as the transport did")
        os.write(descriptor, _OKAY)
        self._next[descriptor] = self._echo

    def _echo(self, descriptor: int) -> None:
        token = os.read(descriptor, _MOST)
        _want(len(token) == _TOKEN_LENGTH, "pass the token on")
        os.write(descriptor, token)
        if self._keep:
            self._poll.unregister(descriptor)
            self._arrived[token] = descriptor
        else:
            os.close(descriptor)


def _want(done: bool, what: str) -> None:  # noqa: FBT001
    if not done:
        raise BrokenError(f"the relay did not {what}")


def _to_move(descriptor: int) -> socket.socket:
    """Make a socket of it that moves bytes."""
    connected = socket.socket(fileno=descriptor)
    connected.setblocking(False)
    return connected
