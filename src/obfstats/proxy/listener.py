"""Accepting connections, and not accepting them.

The listening socket is read here and not by the event loop's server, because pausing is the point: at the cap on
connections, and when the process or the machine runs out of file descriptors or memory, clients wait in the kernel's
queue until there is room again. (libuv's own answer to a lack of descriptors is to accept and hang up.)
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import TYPE_CHECKING

from obfstats.wire.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.proxy.limits import Gate

BACKLOG = 1024
RETRY = 0.5
"""Seconds until accepting is tried again after a lack of descriptors or memory."""

_AT_ONCE = 64
_SCARCE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_log = logging.getLogger(__name__)


def listen(endpoint: Endpoint) -> socket.socket:
    """Open a listening socket.

    Raises:
        OSError: if the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # What is accepted inherits these (Linux): nobody has to ask for them with each connection.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.bind(endpoint)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def bound(listening: socket.socket) -> Endpoint:
    """Give the address that a socket is bound to, with the port the kernel chose."""
    return Endpoint(*listening.getsockname()[:2])


class Listener:
    """Hands accepted sockets on."""

    def __init__(
        self,
        listening: socket.socket,
        gate: Gate,
        handle: Callable[[socket.socket, Endpoint, Callable[[], None]], None],
    ) -> None:
        """Begin to accept on the running loop.

        Args:
            listening: a listening socket, not blocking.
            gate: who may come in.
            handle: takes an accepted socket, the peer's address, and what to call once the connection is gone.
        """
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._gate = gate
        self._handle = handle
        self._retry: asyncio.TimerHandle | None = None
        self._accepting = False
        self._closed = False
        self._scarcity = ""
        self._resume()

    def report(self) -> None:
        """Say once that accepting had to pause since the last time."""
        if self._scarcity:
            _log.warning("no room for another connection (%s): accepting paused", self._scarcity)
            self._scarcity = ""

    def close(self) -> None:
        """Stop accepting for good."""
        self._closed = True
        self._pause()
        if self._retry is not None:
            self._retry.cancel()
        self._listening.close()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            if self._gate.is_full(self._resume):
                self._pause()
                return
            try:
                accepted, address = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _SCARCE:
                    continue
                self._scarcity = error.strerror or type(error).__name__
                self._pause()
                self._retry = self._loop.call_later(RETRY, self._try_again)
                return
            gone = self._gate.enter(address[0])
            if gone is None:
                accepted.close()
                continue
            accepted.setblocking(False)
            self._handle(accepted, Endpoint(*address[:2]), gone)

    def _try_again(self) -> None:
        self._retry = None
        self._resume()

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._listening)

    def _resume(self) -> None:
        if not self._accepting and not self._closed and self._retry is None:
            self._accepting = True
            self._loop.add_reader(self._listening, self._accept)
