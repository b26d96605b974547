"""One epoll set for all connections, which the event loop watches as a single descriptor.

However many connections there are, the loop learns in one call which became ready, and an idle connection costs it
nothing. The set is edge-triggered: a connection is reported once when bytes arrive or its send buffer has space again,
and must go on until the kernel returns EAGAIN, or ask to be called again. So each socket is registered once, and its
registration never changes.
"""

from __future__ import annotations

import asyncio
import select
import time
from typing import TYPE_CHECKING, Protocol

from obfstats.proxy import privacy

if TYPE_CHECKING:
    import socket

READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
"""Bytes, the peer's end of file, or an error."""

WRITABLE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
"""The send buffer has space, or never will have."""

RESET = select.EPOLLERR
"""The connection was reset."""

PEER_ENDED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
"""The peer sends nothing more."""

_ALL = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_MAX_EVENTS = 256

_TURN = 0.003
"""Seconds of polling in a row; after that the loop's other events have their turn: accepts, timers and signals."""


class Watcher(Protocol):
    """Handles the events of its sockets."""

    def handle_events(self, descriptor: int, events: int) -> None:
        """Handle events; a call without an event must do no harm."""

    def abort(self) -> None:
        """Close the sockets."""


class Poll:
    """The epoll set."""

    def __init__(self) -> None:
        """Begin to watch, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._watchers: dict[int, Watcher] = {}
        self._to_close: list[socket.socket] | None = None
        self._loop.add_reader(self._epoll.fileno(), self._dispatch)

    def add(self, connected: socket.socket, watcher: Watcher) -> None:
        """Watch a socket; what has arrived already is reported at once."""
        number = connected.fileno()
        self._watchers[number] = watcher
        self._epoll.register(number, _ALL)

    def replace(self, connected: socket.socket, watcher: Watcher) -> None:
        """Report a socket's events to another watcher."""
        self._watchers[connected.fileno()] = watcher

    def report_writable_again(self, connected: socket.socket) -> None:
        """Report WRITABLE to a socket's watcher once more, after all others have had their turn."""
        number = connected.fileno()
        self._loop.call_soon(self._report_again, number, self._watchers.get(number))

    def close_socket(self, connected: socket.socket) -> None:
        """Close a socket, which ends the watching as well."""
        self._watchers.pop(connected.fileno(), None)
        if self._to_close is None:
            connected.close()
        else:
            # Its number must not be reused while fetched events may still carry it.
            self._to_close.append(connected)

    def stop(self) -> None:
        """Stop watching."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _dispatch(self) -> None:
        to_close: list[socket.socket] = []
        self._to_close = to_close
        get, poll = self._watchers.get, self._epoll.poll
        try:
            until = time.monotonic() + _TURN
            # The clock first: an event that was fetched is not reported again.
            while time.monotonic() < until and (pending := poll(0, _MAX_EVENTS)):
                for number, events in pending:
                    watcher = get(number)
                    if watcher is not None:
                        _deliver(watcher, number, events)
                while to_close:
                    to_close.pop().close()
        finally:
            self._to_close = None
            for connected in to_close:
                connected.close()

    def _report_again(self, number: int, watcher: Watcher | None) -> None:
        if watcher is not None and self._watchers.get(number) is watcher:
            _deliver(watcher, number, select.EPOLLOUT)


def _deliver(watcher: Watcher, number: int, events: int) -> None:
    """Deliver events to a watcher; an unexpected error closes this connection, and no other."""
    try:
        watcher.handle_events(number, events)
    except Exception as error:  # noqa: BLE001 - the other connections must go on
        privacy.report_error(error)
        watcher.abort()
