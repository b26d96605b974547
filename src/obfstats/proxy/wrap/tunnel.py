"""A tunnel: two connected sockets, and a direction from each to the other.

Rules:

- No byte of the traffic is looked at.
- A direction whose sink accepts nothing takes nothing more from its source, so a slow peer slows the other one down,
  and a connection holds at most one carrier in each direction.
- A half-close is kept: the end of one direction is passed on, and the other goes on until it ends too.
- Tor, the far peer, never half-closes: after its end of stream both connections are closed after LINGER at the latest.
  Many transports do not pass an end on, so their clients would keep their places for ever.
- When one peer is lost, the other one's connection is closed after the bytes that are still held for it, at the latest
  after LINGER.
- No connection keeps the others waiting: after MAX_FILLS carriers they have their turn.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from obfstats.proxy.relay import LINGER
from obfstats.proxy.wrap.poll import PEER_ENDED, READABLE, RESET, WRITABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.proxy.wrap.carriers import Carrier, Carriers
    from obfstats.proxy.wrap.poll import Poll

MAX_FILLS = 4
"""Times that one direction may fill its carrier in a row."""


class _Direction:
    """One direction.

    Attributes:
        carrier: holds what the sink has not accepted yet, or None.
        has_ended: whether the source has ended this direction, or was lost.
        end_is_passed_on: whether the sink has been told that it has ended.
    """

    __slots__ = ("carrier", "end_is_passed_on", "has_ended", "sink", "source")

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.carrier: Carrier | None = None
        self.has_ended = self.end_is_passed_on = False


class Tunnel:
    """One connection."""

    __slots__ = ("_carriers", "_from_far", "_from_near", "_is_lingering", "_on_closed", "_poll")

    def __init__(
        self,
        near: socket.socket,
        far: socket.socket,
        poll: Poll,
        carriers: Carriers,
        on_closed: Callable[[Tunnel], None],
    ) -> None:
        """Take over two sockets that the epoll set watches already.

        Args:
            near: the connection from the transport; not blocking.
            far: the one to tor; not blocking.
            poll: reports when they are ready.
            carriers: the pool of carriers.
            on_closed: called once, when both are closed.
        """
        self._from_near = _Direction(near, far)
        self._from_far = _Direction(far, near)
        self._poll = poll
        self._carriers = carriers
        self._on_closed: Callable[[Tunnel], None] | None = on_closed
        self._is_lingering = False

    def begin(self, *, has_unread: bool) -> None:
        """Begin to carry.

        Args:
            has_unread: whether bytes may have arrived already that no further event reports.
        """
        self._poll.replace(self._from_near.source, self)
        self._poll.replace(self._from_far.source, self)
        if has_unread:
            self._carry(self._from_near)
            if self._on_closed is not None:
                self._carry(self._from_far)

    def handle_events(self, descriptor: int, events: int) -> None:
        """Carry what has arrived at a socket, and what waits for space in it."""
        is_near = self._from_near.source.fileno() == descriptor
        outgoing, incoming = (self._from_far, self._from_near) if is_near else (self._from_near, self._from_far)
        if events & WRITABLE and outgoing.carrier is not None:
            self._carry(outgoing)
        if self._on_closed is None:
            return
        if events & PEER_ENDED and not is_near:
            # Also where its last bytes wait for a client that does not read.
            self._linger()
        if events & RESET and (incoming.carrier is not None or incoming.end_is_passed_on):
            self._lose_source(incoming)
        elif events & READABLE and incoming.carrier is None:
            self._carry(incoming)

    def abort(self) -> None:
        """Close both ends at once, whatever is held."""
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is None:
            return
        for direction in (self._from_near, self._from_far):
            self._release_carrier(direction)
            self._poll.close_socket(direction.source)
        on_closed(self)

    def _carry(self, direction: _Direction) -> None:
        """Carry until the source has nothing, or the sink has no space."""
        if direction.end_is_passed_on:
            return
        carriers = self._carriers
        source, sink = direction.source.fileno(), direction.sink.fileno()
        carrier = direction.carrier or carriers.borrow()
        direction.carrier = carrier
        try:
            for _ in range(MAX_FILLS):
                while carrier.held:
                    carrier.drain(sink)
                if direction.has_ended or not carrier.fill(source, carriers.fill_size):
                    direction.has_ended = True
                    break
                carriers.totals.relayed_bytes += carrier.held
        except BlockingIOError:
            if carrier.held:
                return
        except OSError:
            # If bytes are held, it was the sink that failed.
            self._lose_source(self._opposite(direction) if carrier.held else direction)
            return
        else:
            if carrier.held:
                self._poll.report_writable_again(direction.sink)
                return
        self._release_carrier(direction)
        if direction.has_ended:
            self._pass_end_on(direction)

    def _pass_end_on(self, direction: _Direction) -> None:
        """Pass the end of a direction on."""
        direction.end_is_passed_on = True
        if self._opposite(direction).end_is_passed_on:
            self.abort()
            return
        try:
            direction.sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._lose_source(self._opposite(direction))

    def _lose_source(self, direction: _Direction) -> None:
        """Close both ends, a lost source's sink after the bytes that are held for it."""
        opposite = self._opposite(direction)
        if direction.end_is_passed_on or direction.carrier is None or not direction.carrier.held:
            self.abort()
            return
        direction.has_ended = opposite.has_ended = opposite.end_is_passed_on = True
        # The lost peer cannot receive any more.
        self._release_carrier(opposite)
        self._linger()

    def _linger(self) -> None:
        """Close both ends after LINGER, unless they are closed before."""
        if not self._is_lingering:
            self._is_lingering = True
            asyncio.get_running_loop().call_later(LINGER, self.abort)

    def _release_carrier(self, direction: _Direction) -> None:
        if direction.carrier is not None:
            self._carriers.release(direction.carrier)
            direction.carrier = None

    def _opposite(self, direction: _Direction) -> _Direction:
        return self._from_far if direction is self._from_near else self._from_near
