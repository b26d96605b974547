"""A stub of tor's extended ORPort on loopback, which records what it is told, and misbehaves on request.

    with extended.orport(tmp_path, OrPortConduct.DENY) as tor:
        tor.address, tor.cookie_file    what a transport's program is told
        tor.visits                      the clients that it was told of, in the order of their DONE

The conducts that were named apply to one connection each, in their order; all further connections are served properly.
It hangs up where tor hangs up, and records the reason in `refused`.

Source: ext-orport-spec; tor 0.4.9 is what `wire.extorport` was held against.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from obfstats.wire.extorport import COOKIE_LENGTH, MAX_BODY, Asked, Command, ExtOrPortServer, pack_message, write_cookie
from obfstats.wire.machine import Failed, Send
from peers.child import is_readable
from peers.destinations import TIMEOUT, echo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHUNK = 1 << 12
_RIGHT, _WRONG = b"\1", b"\0"


class OrPortConduct(Enum):
    """How a connection is treated; the values describe it."""

    HONEST = "behaves as tor"
    LATE = "sends OKAY only once `go` is set, and closes if a byte of the client's arrives before"
    WRONG_HASH = "does not know the cookie"
    REFUSE = "answers that the other end does not know the cookie"
    DENY = "sends DENY, as the specification has it"
    CLOSE = "closes instead of sending OKAY, as tor does"
    HANG_UP = "closes before it has sent anything"
    GARBAGE = "sends something that no extended ORPort sends first"
    CHATTER = "sends a message that is too long instead of OKAY"
    SILENCE = "sends nothing until the other end leaves"


UNWILLING = (
    OrPortConduct.WRONG_HASH,
    OrPortConduct.REFUSE,
    OrPortConduct.DENY,
    OrPortConduct.CLOSE,
    OrPortConduct.HANG_UP,
    OrPortConduct.GARBAGE,
    OrPortConduct.CHATTER,
)
"""Every way to refuse a client except silence."""


@dataclass(frozen=True)
class Visit:
    """What the stub was told of one client.

    Attributes:
        address: its address and port as they were written; None if it was not told.
        transport: its transport; None if it was not told.
    """

    address: str | None
    transport: str | None


class ExtendedOrPort:
    """The stub.

    Attributes:
        address: where it listens.
        cookie_file: where its cookie is.
        visits: what it was told, up to DONE.
        refused: why it hung up, as tor would have.
        connections: how many it has had.
        go: releases the connections under `OrPortConduct.LATE`.
    """

    def __init__(
        self,
        listening: socket.socket,
        cookie_file: Path,
        conducts: tuple[OrPortConduct, ...],
        greeting: bytes,
        handle: Callable[[socket.socket], None],
    ) -> None:
        self.address: tuple[str, int] = listening.getsockname()[:2]
        self.cookie_file = cookie_file
        self.visits: list[Visit] = []
        self.refused: list[str] = []
        self.connections = 0
        self.go = threading.Event()
        self._listening = listening
        self._cookie = b""
        self._conducts = list(conducts)
        self._greeting = greeting
        self._handle = handle
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        self.renew_cookie()

    def renew_cookie(self) -> None:
        """Make another cookie, as tor does at every start."""
        self._cookie = os.urandom(COOKIE_LENGTH)
        self.cookie_file.write_bytes(write_cookie(self._cookie))

    def expect(self, *conducts: OrPortConduct) -> None:
        """Set how the next connections are treated, after those that are set already."""
        self._conducts += conducts

    def wait_for(self, number: int, seconds: float = TIMEOUT) -> list[Visit]:
        """Wait until it was told of that many clients; give them.

        Raises:
            AssertionError: if that takes too long.
        """
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.visits) >= number, seconds), (
                "the stub was not told of a client"
            )
            return list(self.visits)

    def accept(self) -> None:
        """Accept connections until `close`."""
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listening.accept()
                accepted.settimeout(TIMEOUT)
                # Two small answers in a row must not wait for each other.
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._changed:
                    self._open.add(accepted)
                    self.connections += 1
                conduct = self._conducts.pop(0) if self._conducts else OrPortConduct.HONEST
                threading.Thread(target=self._meet, args=(accepted, conduct), daemon=True).start()

    def close(self) -> None:
        """Stop listening and close every connection, as a tor that is killed."""
        self.go.set()
        for open_one in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                open_one.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _meet(self, connection: socket.socket, conduct: OrPortConduct) -> None:
        """Serve one connection."""
        with connection, contextlib.suppress(OSError):
            if conduct is OrPortConduct.SILENCE:
                while connection.recv(_CHUNK):
                    pass
            elif conduct is OrPortConduct.GARBAGE:
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n" * 20)
                while connection.recv(_CHUNK):
                    pass
            elif conduct is not OrPortConduct.HANG_UP and self._speak(connection, conduct):
                self._handle(connection)
        with self._changed:
            self._open.discard(connection)

    def _speak(self, connection: socket.socket, conduct: OrPortConduct) -> bool:
        """Play an extended ORPort up to OKAY; tell whether OKAY was sent."""
        cookie = os.urandom(COOKIE_LENGTH) if conduct is OrPortConduct.WRONG_HASH else self._cookie
        machine = ExtOrPortServer(cookie, os.urandom)
        events = machine.start()
        while True:
            for event in events:
                match event:
                    case Send(data) if conduct is OrPortConduct.REFUSE and data == _RIGHT:
                        connection.sendall(_WRONG)
                        return False
                    case Send(data):
                        connection.sendall(data)
                    case Asked(_, address, transport):
                        self._note(Visit(None if address is None else address.decode(), transport))
                        return self._answer(connection, machine, conduct)
                    case Failed(reason):
                        self.refused.append(reason)
                        return False
            data = connection.recv(_CHUNK)
            if not data:
                return False
            events = machine.receive(data)

    def _answer(self, connection: socket.socket, machine: ExtOrPortServer, conduct: OrPortConduct) -> bool:
        """Answer DONE; tell whether the client was accepted."""
        if conduct is OrPortConduct.DENY:
            connection.sendall(machine.deny())
        if conduct is OrPortConduct.CHATTER:
            connection.sendall(pack_message(Command.OKAY, bytes(MAX_BODY + 1)))
        if conduct is OrPortConduct.LATE:
            self.go.wait(TIMEOUT)
        if conduct not in {OrPortConduct.HONEST, OrPortConduct.LATE}:
            return False
        if is_readable(connection):
            self.refused.append("the transport sent data before OKAY, or left")
            return False
        connection.sendall(machine.grant() + self._greeting)
        return True

    def _note(self, visit: Visit) -> None:
        with self._changed:
            self.visits.append(visit)
            self._changed.notify_all()


@contextlib.contextmanager
def orport(
    folder: Path,
    *conducts: OrPortConduct,
    greeting: bytes = b"",
    handle: Callable[[socket.socket], None] = echo,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[ExtendedOrPort]:
    """Be tor's extended ORPort until the block ends.

    Args:
        folder: for the cookie file; one that an earlier stub left there is replaced.
        conducts: how the first connections are treated.
        greeting: what it sends to every client with its OKAY.
        handle: serves each connection after that.
        host: where to listen, on loopback.
        port: that of an earlier stub, or 0 for a free one.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=512) as listening:
        stub = ExtendedOrPort(listening, folder / "extended_orport_auth_cookie", conducts, greeting, handle)
        thread = threading.Thread(target=stub.accept)
        thread.start()
        try:
            yield stub
        finally:
            stub.close()
            thread.join(TIMEOUT)
