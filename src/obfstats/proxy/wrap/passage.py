"""A transport's connection until tor has said OKAY: the extended ORPort twice, tor's end of it and a transport's.

    transport                     wrap                                tor
      hash, USERADDR, DONE  --->    does the transport know the cookie?
                                    hash, USERADDR, DONE        --->
                                    the client counts           <---  OKAY
      OKAY                  <---    from here on a tunnel

- What the transport says of its client is passed on as it was said; only an IPv6 address without brackets gets them.
- Nothing goes to tor before the transport has proved the cookie and said DONE, and nothing of the client's before OKAY.
- Where tor has no extended ORPort, the plain one is told nothing, and takes a client by taking the connection.
- Whatever goes wrong, the transport is told DENY if it has asked already, both sides are closed, and nobody counts.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from obfstats.proxy.orport import HUNG_UP, read_cookie
from obfstats.proxy.outbound import UnreachableError, reason_of
from obfstats.proxy.wrap import loopback
from obfstats.proxy.wrap.poll import GONE, READABLE, WRITABLE
from obfstats.wire import extorport
from obfstats.wire.machine import Failed, Send

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from obfstats.proxy.wrap.poll import Poll
    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.machine import Random

_CHUNK = 1 << 12


@dataclass(frozen=True, slots=True)
class Door:
    """Tor's ORPort.

    Attributes:
        endpoint: where it listens.
        cookie_file: the extended ORPort's cookie; None where it is the plain one.
        random: gives that many random bytes.
    """

    endpoint: Endpoint
    cookie_file: Path | None
    random: Random


class Passage:
    """One connection.

    Attributes:
        near: the transport's socket.
        far: tor's, once there is one.
        asked: what the transport said of its client, once it has said DONE.
        has_unread: whether either side has said more than was read.
    """

    __slots__ = ("_client", "_done", "_door", "_poll", "_server", "asked", "far", "has_unread", "near")

    def __init__(
        self,
        near: socket.socket,
        server: extorport.ExtOrPortServer,
        door: Door,
        poll: Poll,
        done: Callable[[Passage, bytes | str | None], None],
    ) -> None:
        """Begin with a socket that has just been accepted.

        Args:
            near: the socket, not blocking.
            server: tor's end of the exchange.
            door: where to ask for the client.
            poll: tells what comes.
            done: called once, with what tor said behind its OKAY, or the reason why the client was not let in; None
                where it was the transport that went away.
        """
        self.near = near
        self.far: socket.socket | None = None
        self.asked: extorport.Asked | None = None
        self.has_unread = False
        self._server = server
        self._client: extorport.ExtOrPortClient | None = None
        self._door = door
        self._poll = poll
        self._done: Callable[[Passage, bytes | str | None], None] | None = done

    def begin(self) -> None:
        """Speak first, as tor does."""
        try:
            for event in self._server.start():
                if isinstance(event, Send):
                    self.near.send(event.data)
        except OSError:
            self._end(None)
            return
        self._poll.add(self.near, self)

    def ready(self, descriptor: int, events: int) -> None:
        """Go on with whoever said something."""
        is_near = descriptor == self.near.fileno()
        try:
            if is_near:
                self._hear_transport(events)
            else:
                self._hear_tor(events)
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(None if is_near else reason_of(error)[0])

    def grant(self, early: bytes) -> None:
        """Tell the transport that tor has taken its client.

        Args:
            early: what tor said behind its OKAY.

        Raises:
            OSError: it is not there any more.
        """
        answer = self._server.grant() + early
        if self.near.send(answer) < len(answer):
            raise BlockingIOError(errno.EAGAIN, "the transport takes nothing")

    def abort(self) -> None:
        """Give up, as if the transport had gone."""
        self._end(None)

    def close(self, reason: str | None = None) -> None:
        """Give up and close both sides."""
        self._done = None
        if self.asked is not None and reason is not None:
            with contextlib.suppress(OSError):
                self.near.send(self._server.deny())
        self._poll.close(self.near)
        if self.far is not None:
            self._poll.close(self.far)

    def _hear_transport(self, events: int) -> None:
        if self.asked is not None:
            # What the client says meanwhile waits in the kernel.
            self.has_unread = self.has_unread or bool(events & READABLE)
            if events & GONE:
                self._end(None)
            return
        while True:
            data = self.near.recv(_CHUNK)
            if not data:
                self._end(None)
                return
            for event in self._server.receive(data):
                match event:
                    case Send(answer):
                        self.near.send(answer)
                    case extorport.Asked():
                        self.asked = event
                    case Failed(reason):
                        self._end(reason)
                        return
            if self.asked is not None:
                self.has_unread = not _is_all(data, events)
                if events & GONE:
                    self._end(None)
                else:
                    self._ask(self.asked)
                return
            if _is_all(data, events):
                return

    def _ask(self, asked: extorport.Asked) -> None:
        """Go to tor."""
        endpoint, cookie_file = self._door.endpoint, self._door.cookie_file
        try:
            if cookie_file is not None:
                self._client = extorport.ExtOrPortClient(
                    read_cookie(cookie_file), self._door.random, transport=asked.transport, address=asked.address
                )
            family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
            self.far = far = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            loopback.suit(far)
            number = far.connect_ex(endpoint)
        except UnreachableError as error:
            self._end(error.reason)
            return
        except OSError as error:
            self._end(reason_of(error)[0])
            return
        if number not in {0, errno.EINPROGRESS}:
            self._end(errno.errorcode.get(number, "refused"))
            return
        self._poll.add(far, self)

    def _hear_tor(self, events: int) -> None:
        if self.far is None:
            return
        if self._client is None:
            if events & WRITABLE:
                failure = self.far.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                self.has_unread = True
                self._end(errno.errorcode.get(failure, "refused") if failure else b"")
            return
        while True:
            data = self.far.recv(_CHUNK)
            if not data:
                self._end(HUNG_UP)
                return
            for event in self._client.receive(data):
                match event:
                    case Send(answer):
                        self.far.send(answer)
                    case extorport.Granted(early=early):
                        self.has_unread = self.has_unread or not _is_all(data, events)
                        self._end(early)
                        return
                    case Failed(reason):
                        self._end(reason)
                        return
            if _is_all(data, events):
                return

    def _end(self, outcome: bytes | str | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(self, outcome)


def _is_all(data: bytes, events: int) -> bool:
    """Tell whether what was read is all there was: whatever comes later comes with an event of its own."""
    return len(data) < _CHUNK and not events & GONE
