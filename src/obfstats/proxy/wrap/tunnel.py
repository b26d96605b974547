"""A connection that is passed on: two sockets, a way in each direction.

Rules:

- No byte of the traffic is looked at.
- A way that cannot give its bytes away takes no more, so a slow peer slows the other one down, and a connection holds
  at most one carrier in each direction.
- A half-close is kept: the end of one way is passed on, the other goes on until it ends too.
- When one end is lost the other one is closed, after what it still has to get; within LINGER, or it is cut off.
- No connection keeps the others waiting: after ROUNDS carriers it is their turn.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from obfstats.proxy.relay import LINGER
from obfstats.proxy.wrap.poll import LOST, READABLE, WRITABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.proxy.wrap.carriers import Carrier, Carriers
    from obfstats.proxy.wrap.poll import Poll

ROUNDS = 4
"""Carriers that one way may fill in a row."""


class _Way:
    """One direction.

    Attributes:
        carrier: holds what the sink has not taken yet, or None.
        ended: whether the source has said all, or was lost.
        is_over: whether the sink has been told so.
    """

    __slots__ = ("carrier", "ended", "is_over", "sink", "source")

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.carrier: Carrier | None = None
        self.ended = self.is_over = False


class Tunnel:
    """One connection."""

    __slots__ = ("_away", "_back", "_carriers", "_gone", "_lingers", "_poll")

    def __init__(
        self, near: socket.socket, far: socket.socket, poll: Poll, carriers: Carriers, gone: Callable[[Tunnel], None]
    ) -> None:
        """Take over two sockets that are being watched.

        Args:
            near: one end; not blocking.
            far: the other; not blocking.
            poll: tells when they are ready.
            carriers: lends what carries the bytes.
            gone: called once, when both are closed.
        """
        self._away = _Way(near, far)
        self._back = _Way(far, near)
        self._poll = poll
        self._carriers = carriers
        self._gone: Callable[[Tunnel], None] | None = gone
        self._lingers = False

    def begin(self, *, has_unread: bool) -> None:
        """Begin to carry.

        Args:
            has_unread: whether something may have come already, of which nobody will tell.
        """
        self._poll.replace(self._away.source, self)
        self._poll.replace(self._back.source, self)
        if has_unread:
            self._move(self._away)
            if self._gone is not None:
                self._move(self._back)

    def ready(self, descriptor: int, events: int) -> None:
        """Carry what came from a socket, and what waits for room in it."""
        near = self._away.source.fileno() == descriptor
        outgoing, incoming = (self._back, self._away) if near else (self._away, self._back)
        if events & WRITABLE and outgoing.carrier is not None:
            self._move(outgoing)
        if self._gone is None:
            return
        if events & LOST and (incoming.carrier is not None or incoming.is_over):
            self._lose(incoming)
        elif events & READABLE and incoming.carrier is None:
            self._move(incoming)

    def abort(self) -> None:
        """Cut both ends off, whatever is under way."""
        gone, self._gone = self._gone, None
        if gone is None:
            return
        for way in (self._away, self._back):
            if way.carrier is not None:
                self._carriers.take_back(way.carrier)
                way.carrier = None
            self._poll.close(way.source)
        gone(self)

    def _move(self, way: _Way) -> None:
        """Carry until there is nothing to carry, or no room for it."""
        if way.is_over:
            return
        carriers = self._carriers
        source, sink = way.source.fileno(), way.sink.fileno()
        carrier = way.carrier or carriers.lend()
        way.carrier = carrier
        try:
            for _ in range(ROUNDS):
                while carrier.held:
                    carrier.drain(sink)
                if way.ended or not carrier.fill(source, carriers.most):
                    way.ended = True
                    break
        except BlockingIOError:
            if carrier.held:
                return
        except OSError:
            # It is the sink that is lost if there was something for it.
            self._lose(way if not carrier.held else self._opposite(way))
            return
        else:
            if carrier.held:
                self._poll.again(way.sink)
                return
        way.carrier = None
        carriers.take_back(carrier)
        if way.ended:
            self._end(way)

    def _end(self, way: _Way) -> None:
        """Pass the end of one way on."""
        way.is_over = True
        if self._opposite(way).is_over:
            self.abort()
            return
        try:
            way.sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._lose(self._opposite(way))

    def _lose(self, way: _Way) -> None:
        """Close both ends, the sink of a way after what it still has to get: the way's source is lost."""
        opposite = self._opposite(way)
        if way.is_over or way.carrier is None or not way.carrier.held:
            self.abort()
            return
        if self._lingers:
            return
        self._lingers = True
        way.ended = opposite.ended = opposite.is_over = True
        if opposite.carrier is not None:
            # Nobody can get that any more.
            self._carriers.take_back(opposite.carrier)
            opposite.carrier = None
        asyncio.get_running_loop().call_later(LINGER, self.abort)

    def _opposite(self, way: _Way) -> _Way:
        return self._back if way is self._away else self._away
