"""What becomes of the transport's connections: a passage, which is counted, then a tunnel.

A transport says within milliseconds who comes. What takes longer than OPENING_DEADLINE, or is one too many that is not
done, is nobody who will ever say it, and is cut off, the oldest first; so others can always come.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from obfstats.proxy.outcomes import Outcomes
from obfstats.proxy.wrap.carriers import Carriers, can_splice
from obfstats.proxy.wrap.passage import Door, Passage
from obfstats.proxy.wrap.poll import Poll
from obfstats.proxy.wrap.tunnel import Tunnel
from obfstats.wire import extorport
from obfstats.wire.endpoint import Endpoint, parse_endpoint

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from obfstats.proxy.service import Surroundings
    from obfstats.record import Recorder

OPENING_DEADLINE = 10.0
"""Seconds from a transport's connection to tor's OKAY: twice what Go's transports wait for it."""

NOBODY = Endpoint("127.0.0.1", 0)
"""Whom tor takes for the client where nothing is said of it."""

UNNAMED = "<??>"
"""What tor calls a transport that does not say its name."""


class Wrapping:
    """The wrap's one service: whichever transport a connection came by, it says so itself."""

    def __init__(
        self,
        around: Surroundings,
        cookie: bytes,
        door: Door,
        recorder: Recorder | None,
        *,
        unfinished: int,
        pipes: int,
    ) -> None:
        """Begin.

        Args:
            around: what comes in from outside.
            cookie: what the transport has to know.
            door: where clients are passed on to.
            recorder: who counts, or None.
            unfinished: connections at once that tor has not taken yet.
            pipes: how many pipes there may be for the bytes.
        """
        self._outcomes = Outcomes("wrap", around.show)
        self._destination = around.show(door.endpoint)
        self._cookie = cookie
        self._door = door
        self._recorder = recorder
        self._unfinished = unfinished
        self._carriers = Carriers(pipes if can_splice() else 0)
        # The oldest first.
        self._opening: dict[Passage, tuple[float, Callable[[], None]]] = {}
        self._open: dict[Tunnel, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._poll: Poll | None = None
        # One for all, not a new one with every connection.
        self._when_done, self._when_over = self._done, self._over

    def handle(self, accepted: socket.socket, peer: Endpoint, gone: Callable[[], None]) -> None:  # noqa: ARG002
        """Take a connection of the transport's.

        Args:
            accepted: its socket, not blocking.
            peer: where on this machine it comes from.
            gone: called once, when the connection is over.
        """
        poll = self._poll = self._poll or Poll()
        server = extorport.ExtOrPortServer(self._cookie, self._door.random)
        passage = Passage(accepted, server, self._door, poll, self._when_done)
        if len(self._opening) >= self._unfinished:
            self._cut(next(iter(self._opening)), "too many at once have not said who comes")
        loop = asyncio.get_running_loop()
        self._opening[passage] = loop.time() + OPENING_DEADLINE, gone
        if self._timer is None:
            self._timer = loop.call_later(OPENING_DEADLINE, self._look)
        passage.begin()

    def report(self) -> None:
        """Say what went wrong since the last time, and how often."""
        self._outcomes.report()

    def cut_off(self) -> None:
        """Cut off every connection."""
        if self._timer is not None:
            self._timer.cancel()
        for passage in list(self._opening):
            self._drop(passage, None)
        for tunnel in list(self._open):
            tunnel.abort()
        self._carriers.close()
        if self._poll is not None:
            self._poll.end()

    def _done(self, passage: Passage, outcome: bytes | str | None) -> None:
        """Count a client that tor has taken, and let its bytes through."""
        asked, far, poll = passage.asked, passage.far, self._poll
        if not isinstance(outcome, bytes) or asked is None or far is None or poll is None:
            self._cut(passage, outcome if isinstance(outcome, str) else None)
            return
        # Before anything else can happen to the connection: tor has counted it by now.
        if self._recorder is not None:
            self._recorder.record(asked.host or NOBODY.host, asked.transport or UNNAMED)
        try:
            passage.grant(outcome)
        except OSError:
            self._cut(passage, None)
            return
        if self._outcomes.tells_each:
            self._outcomes.succeeded(_client(asked), asked.transport or UNNAMED, self._destination)
        _, gone = self._opening.pop(passage)
        tunnel = Tunnel(passage.near, far, poll, self._carriers, self._when_over)
        self._open[tunnel] = gone
        tunnel.begin(has_unread=passage.has_unread)

    def _over(self, tunnel: Tunnel) -> None:
        self._open.pop(tunnel)()

    def _cut(self, passage: Passage, reason: str | None) -> None:
        """Cut off a connection that does not get to its tunnel."""
        if reason is not None:
            self._outcomes.failed(_client(passage.asked), self._destination, reason)
        self._drop(passage, reason)

    def _drop(self, passage: Passage, reason: str | None) -> None:
        _, gone = self._opening.pop(passage)
        passage.close(reason)
        gone()

    def _look(self) -> None:
        """Cut off whom there is no use in waiting for."""
        loop = asyncio.get_running_loop()
        self._timer = None
        now = loop.time()
        while self._opening:
            passage, (deadline, _) = next(iter(self._opening.items()))
            if deadline > now:
                self._timer = loop.call_later(deadline - now, self._look)
                return
            slow = "the transport did not say who comes" if passage.asked is None else "tor took too long"
            self._cut(passage, slow)


def _client(asked: extorport.Asked | None) -> Endpoint:
    """Give who was said to come."""
    return NOBODY if asked is None or asked.address is None else parse_endpoint(asked.address)
