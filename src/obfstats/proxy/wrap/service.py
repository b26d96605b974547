"""Serves the transport's connections: an extended ORPort session, which is counted, then a tunnel.

A transport sends within milliseconds which client a connection belongs to. A session that takes longer than
OPENING_DEADLINE, or that is the oldest of too many, is closed, so that new ones always find a slot.

Some transports ignore the extended ORPort and connect to the plain one. The wrap offers them one of those too: their
clients are served, and every report says that they are not counted. Nothing is published of such an interval.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from obfstats.formats.address import ClientAddress, pack_address
from obfstats.formats.logline import UNNAMED_TRANSPORT
from obfstats.proxy.service import OutcomeLog
from obfstats.proxy.shares import OVER_SHARE
from obfstats.proxy.totals import Failure
from obfstats.proxy.wrap.poll import Poll
from obfstats.proxy.wrap.session import ExtOrPortSession
from obfstats.proxy.wrap.tunnel import Tunnel
from obfstats.wire.extorport import Granted
from obfstats.wire.machine import Failed

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from obfstats.proxy.orport import OrPortTarget
    from obfstats.proxy.service import Context
    from obfstats.proxy.wrap.carriers import Carriers
    from obfstats.record import Recorder
    from obfstats.wire.extorport import Asked

OPENING_DEADLINE = 10.0
"""Seconds from a transport's connection to tor's OKAY: twice what Go's transports wait for it."""

NOT_COUNTED = "the transport connects to tor's ORPort instead of the extended one, which needs the client's address"

UNKNOWN_CLIENT = ClientAddress.parse("127.0.0.1", 0)
"""The client that tor assumes where a transport sends no address."""

_NO_NETWORK = {pack_address("127.0.0.1"), pack_address("::1")}
"""What transports send that know no address, such as those behind a web server that does not forward it. Such clients
are no network: they have no share."""


_log = logging.getLogger(__name__)


class WrapService:
    """One ORPort of the wrap's: the extended one, where each connection tells whose it is, or the plain one."""

    def __init__(
        self,
        context: Context,
        cookie: bytes | None,
        target: OrPortTarget,
        recorder: Recorder | None,
        carriers: Carriers,
        *,
        max_unfinished: int,
    ) -> None:
        """Set up.

        Args:
            context: randomness, executor, limits and log format, shared by all services.
            cookie: what the transport must know; None for the plain ORPort, whose clients are not counted.
            target: tor's ORPort.
            recorder: counts clients, or None.
            carriers: carry the bytes.
            max_unfinished: sessions at once that tor has not accepted yet.
        """
        self._context = context
        self._outcomes = OutcomeLog("wrap", context.formatter)
        self._destination = context.formatter.address(target.addresses[0])
        self._cookie = cookie
        self._target = target
        self._recorder = recorder
        self._max_unfinished = max_unfinished
        self._carriers = carriers
        self._uncounted = 0
        # The oldest first.
        self._sessions: dict[ExtOrPortSession, tuple[float, Callable[[], None]]] = {}
        self._tunnels: dict[Tunnel, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._poll: Poll | None = None
        # Bound once for all connections, not with each one.
        self._on_session_done, self._on_tunnel_closed = self._end_session, self._end_tunnel
        self._enter = self._take_share

    def handle(self, accepted: socket.socket, peer: ClientAddress, on_closed: Callable[[], None]) -> None:  # noqa: ARG002
        """Serve a connection of the transport's.

        Args:
            accepted: its socket, not blocking.
            peer: its address on this machine.
            on_closed: called once, when the connection is closed.
        """
        poll = self._poll = self._poll or Poll()
        session = ExtOrPortSession(
            accepted, self._cookie, self._target, poll, enter=self._enter, on_done=self._on_session_done
        )
        if len(self._sessions) >= self._max_unfinished:
            self._fail(next(iter(self._sessions)), "too many unfinished sessions at once", Failure.SHED)
        loop = asyncio.get_running_loop()
        self._sessions[session] = loop.time() + OPENING_DEADLINE, on_closed
        if self._timer is None:
            self._timer = loop.call_later(OPENING_DEADLINE, self._close_late_sessions)
        session.begin()

    def log_summary(self) -> None:
        """Log what has failed or was not counted since the last report."""
        self._outcomes.log_summary()
        if self._uncounted:
            number = self._context.formatter.number(self._uncounted)
            _log.warning("%d connection(s) were passed on and NOT COUNTED: %s", number, NOT_COUNTED)
            self._uncounted = 0

    def close_all(self) -> None:
        """Close every connection at once."""
        if self._timer is not None:
            self._timer.cancel()
        for session in list(self._sessions):
            self._close(session, None)
        for tunnel in list(self._tunnels):
            tunnel.abort()
        self._carriers.close()
        if self._poll is not None:
            self._poll.stop()

    def _take_share(self, session: ExtOrPortSession, asked: Asked) -> bool:
        """Take a client's part of its network's share; tell whether there is one."""
        if asked.client is None or asked.client.packed in _NO_NETWORK:
            return True
        release = self._context.shares.take(asked.client)
        if release is None:
            return False
        deadline, on_closed = self._sessions[session]
        self._sessions[session] = deadline, partial(_call_both, release, on_closed)
        return True

    def _end_session(self, session: ExtOrPortSession, outcome: Granted | Failed | None) -> None:
        """Count a client that tor has accepted, and tunnel its bytes; or close its connection."""
        asked, far, poll = session.asked, session.far, self._poll
        if not isinstance(outcome, Granted) or asked is None or far is None or poll is None:
            self._fail(session, outcome.reason if isinstance(outcome, Failed) else None)
            return
        transport = asked.transport or UNNAMED_TRANSPORT
        # Before anything else can happen to the connection: tor has counted it by now.
        if self._recorder is not None and self._cookie is not None:
            self._recorder.record_packed(_client_of(asked).packed, transport)
        elif self._recorder is not None:
            self._recorder.record_uncounted()
            self._uncounted += 1
            self._context.totals.uncounted += 1
        try:
            session.grant(outcome.early)
        except OSError:
            self._fail(session, None)
            return
        self._outcomes.log_success(_client_of(asked), transport, self._destination)
        _, on_closed = self._sessions.pop(session)
        tunnel = Tunnel(session.near, far, poll, self._carriers, self._on_tunnel_closed)
        self._tunnels[tunnel] = on_closed
        tunnel.begin(has_unread=session.has_unread)

    def _end_tunnel(self, tunnel: Tunnel) -> None:
        self._tunnels.pop(tunnel)()

    def _fail(self, session: ExtOrPortSession, reason: str | None, failure: Failure | None = None) -> None:
        """Close a session that gets no tunnel; None where the transport has disconnected, which is no failure."""
        if reason is not None:
            self._outcomes.log_failure(_client_of(session.asked), self._destination, reason)
            self._context.totals.fail(failure or _find_failure(session, reason))
        self._close(session, reason)

    def _close(self, session: ExtOrPortSession, reason: str | None) -> None:
        _, on_closed = self._sessions.pop(session)
        session.close(reason)
        on_closed()

    def _close_late_sessions(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        now = loop.time()
        while self._sessions:
            session, (deadline, _) = next(iter(self._sessions.items()))
            if deadline > now:
                self._timer = loop.call_later(deadline - now, self._close_late_sessions)
                return
            if session.asked is None:
                self._fail(session, "the transport did not name its client in time", Failure.UNFINISHED)
            else:
                self._fail(session, "tor took too long")


def _call_both(first: Callable[[], None], second: Callable[[], None]) -> None:
    first()
    second()


def _find_failure(session: ExtOrPortSession, reason: str) -> Failure:
    """Tell who is to blame for a session that has failed."""
    if session.asked is None:
        return Failure.PROTOCOL
    return Failure.NETWORK_SHARE if reason == OVER_SHARE else Failure.ORPORT


def _client_of(asked: Asked | None) -> ClientAddress:
    """Return the client that a transport named."""
    return UNKNOWN_CLIENT if asked is None or asked.client is None else asked.client
