"""Accepting connections, and pausing.

The listening socket is read here and not by the event loop's server, because it has to pause: at the cap on
connections, and when the process or the machine has no file descriptors or memory left, clients wait in the kernel's
queue until a connection closes. (Without descriptors, libuv accepts and closes.)
"""

from __future__ import annotations

import asyncio
import errno
import logging
import select
import socket
from typing import TYPE_CHECKING

from obfstats.formats.address import ClientAddress
from obfstats.wire.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.proxy.limits import Gate

BACKLOG = 1024

USER_TIMEOUT = 900
"""Seconds that a peer may accept nothing of what is sent to it: about as long as the kernel repeats a segment that is
not acknowledged. Without this a peer that stays connected and never reads would keep its place for ever."""

RETRY = 0.5
"""Seconds until accepting is tried again after a shortage of descriptors or memory."""

_MAX_ACCEPTS = 64
_MAX_SERVED = 8
"""Of the connections accepted in one turn of the loop, how many are served, because their peers have not reset them: as
many as the jobs of handshakes that a thread gets in one turn. With more, threads would wait for the loop in a flood."""

_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_log = logging.getLogger(__name__)


def listen(endpoint: Endpoint) -> socket.socket:
    """Open a listening socket.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit these (Linux), which saves setting them on each connection.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT * 1000)
        listening.bind(endpoint)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def bound(listening: socket.socket) -> Endpoint:
    """Return the address that a socket is bound to, with the port that the kernel chose."""
    return Endpoint(*listening.getsockname()[:2])


def is_closed(connection: socket.socket) -> bool:
    """Tell whether this side has closed a connection, or the peer has reset it; bytes that wait do not matter."""
    if connection.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


class Listener:
    """Accepts connections and passes them to a service."""

    def __init__(
        self,
        listening: socket.socket,
        gate: Gate,
        handle: Callable[[socket.socket, ClientAddress, Callable[[], None]], None],
    ) -> None:
        """Begin to accept on the running loop.

        Args:
            listening: a listening socket, not blocking.
            gate: admits connections.
            handle: is passed an accepted socket, its peer, and what to call once the connection is closed.
        """
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._gate = gate
        self._handle = handle
        self._retry: asyncio.TimerHandle | None = None
        self._is_accepting = False
        self._is_closed = False
        self._shortage = ""
        self._resume()

    def log_summary(self) -> None:
        """Log that accepting had to pause since the last report."""
        if self._shortage:
            _log.warning("accepting paused: %s", self._shortage)
            self._shortage = ""

    def close(self) -> None:
        """Stop accepting for good."""
        self._is_closed = True
        self._pause()
        if self._retry is not None:
            self._retry.cancel()
        self._listening.close()

    def _accept(self) -> None:
        served = 0
        for _ in range(_MAX_ACCEPTS):
            if served == _MAX_SERVED:
                return
            if self._gate.is_full(self._resume):
                self._pause()
                return
            try:
                accepted, address = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _SHORTAGES:
                    continue
                advice = "; raise ulimit -n" if error.errno == errno.EMFILE else ""
                self._shortage = f"{error.strerror}{advice}"
                self._gate.times_short += 1
                self._pause()
                self._retry = self._loop.call_later(RETRY, self._try_again)
                return
            if is_closed(accepted):
                # Most of a flood is, where it comes faster than it can be served.
                accepted.close()
                continue
            served += 1
            peer = ClientAddress.parse(*address[:2])
            accepted.setblocking(False)
            self._handle(accepted, peer, self._gate.admit())

    def _try_again(self) -> None:
        self._retry = None
        self._resume()

    def _pause(self) -> None:
        if self._is_accepting:
            self._is_accepting = False
            self._loop.remove_reader(self._listening)

    def _resume(self) -> None:
        if not self._is_accepting and not self._is_closed and self._retry is None:
            self._is_accepting = True
            self._loop.add_reader(self._listening, self._accept)
