"""A transport's connection until tor has sent OKAY: the extended ORPort twice, as tor's end and as a transport's.

    transport                     wrap                                tor
      hash, USERADDR, DONE  --->    does the transport know the cookie?
                                    hash, USERADDR, DONE        --->
                                    the client counts           <---  OKAY
      OKAY                  <---    from here on a tunnel

- What the transport sends about its client is passed on as it was sent; an IPv6 address without brackets gets them.
- Nothing goes to tor before the transport has proved that it knows the cookie and sent DONE, and no byte of the
  client's before OKAY.
- Where tor has no extended ORPort, its plain one is told nothing, and accepts a client by accepting the connection.
- A session without a cookie is tor's plain ORPort for transports that use that one: it tells nothing and asks nothing.
  A client speaks first there, so a connection without a byte, as of a port scan, never reaches tor.
- If anything fails before tor's OKAY, the transport is sent DENY if it has sent DONE, both sides are closed, and no
  client is counted. After OKAY the client is counted even if the transport has disconnected, because tor has counted
  it.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import TYPE_CHECKING

from obfstats.proxy.orport import HUNG_UP
from obfstats.proxy.outbound import UnreachableError, reason_of
from obfstats.proxy.relay import use_reno
from obfstats.proxy.shares import OVER_SHARE
from obfstats.proxy.wrap.poll import PEER_ENDED, READABLE, WRITABLE
from obfstats.wire.extorport import Asked, ExtOrPortServer, Granted
from obfstats.wire.machine import Failed, Send

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from obfstats.proxy.orport import OrPortTarget
    from obfstats.proxy.wrap.poll import Poll
    from obfstats.wire.machine import Event, Machine

    Outcome: TypeAlias = Granted | Failed | None

_CHUNK = 1 << 12


class ExtOrPortSession:
    """One connection.

    Attributes:
        near: the transport's socket.
        far: tor's, once there is one.
        asked: what the transport has sent about its client, once it has sent DONE.
        has_unread: whether either side may have sent more than was read.
    """

    __slots__ = ("_client", "_enter", "_on_done", "_poll", "_server", "_target", "asked", "far", "has_unread", "near")

    def __init__(
        self,
        near: socket.socket,
        cookie: bytes | None,
        target: OrPortTarget,
        poll: Poll,
        *,
        enter: Callable[[ExtOrPortSession, Asked], bool],
        on_done: Callable[[ExtOrPortSession, Outcome], None],
    ) -> None:
        """Set up for a socket that has just been accepted.

        Args:
            near: the socket, not blocking.
            cookie: what the transport must know; None for a plain ORPort.
            target: tor's ORPort.
            poll: reports when sockets are ready.
            enter: tells whether a client may enter, before tor is asked.
            on_done: called once, with Granted, or Failed with the reason; with None if the transport has disconnected.
        """
        self.near = near
        self.far: socket.socket | None = None
        self.asked: Asked | None = None
        self.has_unread = False
        self._server = None if cookie is None else ExtOrPortServer(cookie, target.random)
        self._client: Machine | None = None
        self._target = target
        self._poll = poll
        self._enter = enter
        self._on_done: Callable[[ExtOrPortSession, Outcome], None] | None = on_done

    def begin(self) -> None:
        """Send first, as tor does."""
        try:
            for event in self._server.start() if self._server is not None else ():
                if isinstance(event, Send):
                    self.near.send(event.data)
        except OSError:
            self._report_outcome(None)
            return
        self._poll.add(self.near, self)

    def handle_events(self, descriptor: int, events: int) -> None:
        """Go on with the side that has sent something."""
        is_near = descriptor == self.near.fileno()
        try:
            if is_near:
                self._read_transport(events)
            elif self.far is not None:
                self._read_tor(self.far, events)
        except BlockingIOError:
            pass
        except OSError as error:
            self._report_outcome(None if is_near else Failed(reason_of(error)[0]))

    def grant(self, early: bytes) -> None:
        """Tell the transport that tor has accepted its client.

        Args:
            early: what tor has sent after its OKAY.

        Raises:
            OSError: the transport has disconnected, or does not read.
        """
        answer = (self._server.grant() if self._server is not None else b"") + early
        if self.near.send(answer) < len(answer):
            raise BlockingIOError(errno.EAGAIN, "the transport does not read")

    def abort(self) -> None:
        """End as if the transport had disconnected."""
        self._report_outcome(None)

    def close(self, reason: str | None = None) -> None:
        """Close both sides, and send DENY if the transport waits for an answer and there is a reason."""
        self._on_done = None
        if self.asked is not None and self._server is not None and reason is not None:
            with contextlib.suppress(OSError):
                self.near.send(self._server.deny())
        self._poll.close_socket(self.near)
        if self.far is not None:
            self._poll.close_socket(self.far)

    def _read_transport(self, events: int) -> None:
        if self.asked is not None:
            # What the client sends meanwhile waits in the kernel.
            self.has_unread = self.has_unread or bool(events & READABLE)
            if events & PEER_ENDED:
                self._report_outcome(None)
            return
        match self._await_first_byte() if self._server is None else self._read(self.near, self._server, events):
            case Asked() as asked:
                self.asked = asked
                if events & PEER_ENDED:
                    self._report_outcome(None)
                elif self._enter(self, asked):
                    self._ask_tor(asked)
                else:
                    self._report_outcome(Failed(OVER_SHARE))
            case Failed() as failed:
                self._report_outcome(failed)

    def _await_first_byte(self) -> Asked | None:
        """Return what a client of a plain ORPort tells, nothing, once it has sent something; it stays unread."""
        if self.near.recv(1, socket.MSG_PEEK):
            self.has_unread = True
            return Asked(None, None, None)
        self._report_outcome(None)
        return None

    def _read_tor(self, far: socket.socket, events: int) -> None:
        if self._client is None:
            if events & WRITABLE:
                failure = far.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                self.has_unread = True
                self._report_outcome(Failed(errno.errorcode.get(failure, "refused")) if failure else Granted(early=b""))
            return
        result = self._read(far, self._client, events)
        if isinstance(result, (Granted, Failed)):
            self._report_outcome(result)

    def _read(self, side: socket.socket, machine: Machine, events: int) -> Event | None:
        """Pass what one side has sent to its machine; return the machine's result, if there is one yet."""
        is_all = False
        while not is_all:
            data = side.recv(_CHUNK)
            if not data:
                self._report_outcome(None if side is self.near else Failed(HUNG_UP))
                return None
            # What arrives later is reported by an event of its own.
            is_all = len(data) < _CHUNK and not events & PEER_ENDED
            for event in machine.receive(data):
                if not isinstance(event, Send):
                    self.has_unread = self.has_unread or not is_all
                    return event
                side.send(event.data)
        return None

    def _ask_tor(self, asked: Asked) -> None:
        endpoint = self._target.addresses[0]
        try:
            self._client = self._target.introduce(asked.transport, asked.user_address)
            family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
            self.far = far = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            set_loopback_options(far)
            failure = far.connect_ex(endpoint)
        except UnreachableError as error:
            self._report_outcome(Failed(error.reason))
            return
        except OSError as error:
            self._report_outcome(Failed(reason_of(error)[0]))
            return
        if failure in {0, errno.EINPROGRESS}:
            self._poll.add(far, self)
        else:
            self._report_outcome(Failed(errno.errorcode.get(failure, "refused")))

    def _report_outcome(self, outcome: Outcome) -> None:
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done(self, outcome)


def set_loopback_options(unconnected: socket.socket) -> None:
    """Set what suits connections within one machine; what a listening socket accepts inherits it (tcp(7)).

    - TCP_NODELAY: no small packet waits for the answer to the one before.
    - Reno, as the relay does.

    Args:
        unconnected: a TCP socket.

    Raises:
        OSError: it is not a TCP socket.
    """
    unconnected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    use_reno(unconnected)
