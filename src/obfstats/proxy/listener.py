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

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.wire.endpoint import Endpoint

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
        listening.bind(endpoint)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


class Listener:
    """Hands accepted sockets on, and counts how many are alive."""

    def __init__(
        self, listening: socket.socket, cap: int, handle: Callable[[socket.socket, str, Callable[[], None]], None]
    ) -> None:
        """Begin to accept on the running loop.

        Args:
            listening: a listening socket, not blocking.
            cap: connections at once; at least 1.
            handle: takes an accepted socket, the peer's address as text, and what to call once the connection is gone.
        """
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._cap = cap
        self._handle = handle
        self._alive = 0
        self._retry: asyncio.TimerHandle | None = None
        self._accepting = False
        self._scarcity = ""
        self._resume()

    def report(self) -> None:
        """Say once that accepting had to pause since the last time."""
        if self._scarcity:
            _log.warning("no room for another connection (%s): accepting paused", self._scarcity)
            self._scarcity = ""

    def close(self) -> None:
        """Stop accepting for good."""
        self._cap = 0
        self._pause()
        if self._retry is not None:
            self._retry.cancel()
        self._listening.close()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            if self._alive >= self._cap:
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
            accepted.setblocking(False)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._alive += 1
            self._handle(accepted, address[0], self._release)

    def _release(self) -> None:
        """Note that a connection is gone."""
        self._alive -= 1
        self._resume()

    def _try_again(self) -> None:
        self._retry = None
        self._resume()

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._listening)

    def _resume(self) -> None:
        if not self._accepting and self._retry is None and self._alive < self._cap:
            self._accepting = True
            self._loop.add_reader(self._listening, self._accept)
