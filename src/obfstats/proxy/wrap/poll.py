"""Which connections have something to do: one epoll set, which the event loop watches as a single descriptor.

However many connections there are, the loop learns of all that became ready at once, and a connection that is idle
costs it nothing. The set is edge-triggered: a connection is told once that bytes came or that there is room again, and
must go on until the kernel says EAGAIN, or ask to be called again. So it is registered once, and nothing has to be
changed while it lives.
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
"""Bytes came, or the end, or an error."""

WRITABLE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
"""There is room for more bytes, or there never will be."""

LOST = select.EPOLLERR
"""The connection was reset."""

GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
"""The other end will say no more."""

_ALL = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_AT_ONCE = 256

_TURN = 0.003
"""Seconds after which others have their turn, newcomers, timers and signals; until then it looks again and again."""


class Watcher(Protocol):
    """Whoever does something about sockets that are ready."""

    def ready(self, descriptor: int, events: int) -> None:
        """Do it; a call without need must do no harm."""

    def abort(self) -> None:
        """Give the sockets up."""


class Poll:
    """The set."""

    def __init__(self) -> None:
        """Begin to watch, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._watchers: dict[int, Watcher] = {}
        self._leaving: list[socket.socket] | None = None
        self._loop.add_reader(self._epoll.fileno(), self._look)

    def add(self, connected: socket.socket, watcher: Watcher) -> None:
        """Watch a socket; its watcher is told at once if something came already."""
        number = connected.fileno()
        self._watchers[number] = watcher
        self._epoll.register(number, _ALL)

    def replace(self, connected: socket.socket, watcher: Watcher) -> None:
        """Have someone else told of a socket."""
        self._watchers[connected.fileno()] = watcher

    def again(self, connected: socket.socket) -> None:
        """Tell a socket's watcher once more that there is room, when all others have had their turn."""
        number = connected.fileno()
        self._loop.call_soon(self._tell_again, number, self._watchers.get(number))

    def close(self, connected: socket.socket) -> None:
        """Close a socket, which ends the watching as well."""
        self._watchers.pop(connected.fileno(), None)
        if self._leaving is None:
            connected.close()
        else:
            # Its number must not be another's while there may be events under it in hand.
            self._leaving.append(connected)

    def end(self) -> None:
        """Watch nothing any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _look(self) -> None:
        leaving: list[socket.socket] = []
        self._leaving = leaving
        get, poll = self._watchers.get, self._epoll.poll
        try:
            until = time.monotonic() + _TURN
            # In this order: what the set has told once, it does not tell again.
            while time.monotonic() < until and (pending := poll(0, _AT_ONCE)):
                for number, events in pending:
                    watcher = get(number)
                    if watcher is not None:
                        _tell(watcher, number, events)
                while leaving:
                    leaving.pop().close()
        finally:
            self._leaving = None
            for connected in leaving:
                connected.close()

    def _tell_again(self, number: int, watcher: Watcher | None) -> None:
        if watcher is not None and self._watchers.get(number) is watcher:
            _tell(watcher, number, select.EPOLLOUT)


def _tell(watcher: Watcher, number: int, events: int) -> None:
    """Tell a watcher; a mistake of ours costs one connection, and not those that are told behind it."""
    try:
        watcher.ready(number, events)
    except Exception as error:  # noqa: BLE001 - whatever it is, the others must go on
        privacy.report_error(error)
        watcher.abort()
