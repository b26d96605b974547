"""What one connection may cost: uvicorn bounds neither a request's head nor the time that a client takes to send one.

- A request's head is at most 64 KiB, and so is what follows an answer and is no request; a whole request, with what its
  encoding adds, is at most 4 MiB.
- At most MAX_PIPELINED requests wait behind one that is being answered: thousands fit into what is read at once.
- A connection has REQUEST_SECONDS for each request; uvicorn itself closes one that is idle after an answer.
- A client that reads nothing of an answer for as long is closed, too; one that reads slowly is not.
- Connections beyond MAX_CONNECTIONS are closed at once. Descriptors are left for files and the database.

A connection that exceeds a limit is closed without an answer, and without a line in the log: anyone could fill a disk
with lines. A reverse proxy in front of the collector has such limits, too; a trial without one needs these.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    from uvicorn.server import ServerState

MAX_HEAD_LENGTH = 64 * 1024
"""Bytes of a request up to its body, and what may follow an answer."""

MAX_SENT_LENGTH = 4 * 1024 * 1024
"""Bytes of a request in all. A body in chunks of a few bytes has several times its length."""

MAX_PIPELINED = 16
"""Requests that a client may send before it has the answer to an earlier one."""

REQUEST_SECONDS = 60.0
"""How long a request may take to arrive, at least; twice as long at most."""

MAX_CONNECTIONS = 900
"""Connections at once: 1,024 descriptors are what a process usually has."""


class BoundedProtocol(asyncio.Protocol):
    """A connection: uvicorn's protocol within limits. Pass the class to `uvicorn.Config(http=...)`."""

    def __init__(self, server_state: ServerState, **more: Any) -> None:
        """Make uvicorn's own protocol, with the arguments that uvicorn gives."""
        self._http: Any = AutoHTTPProtocol(server_state=server_state, **more)  # type: ignore[call-arg]
        self._connections = server_state.connections
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._seen: object = None
        self._length = 0
        self._is_paused = False
        self._is_stalled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept it, unless there are too many."""
        self._transport = transport
        is_one_too_many = len(self._connections) >= MAX_CONNECTIONS
        self._http.connection_made(transport)
        self._start_timer()
        if is_one_too_many:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass it on, and count it."""
        before = self._http.cycle
        self._http.data_received(data)
        request = self._http.cycle
        # uvicorn makes a new cycle when a request's head is complete.
        self._length = 0 if request is not before else self._length + len(data)
        limit = MAX_HEAD_LENGTH if request is None or request.response_complete else MAX_SENT_LENGTH
        # h11, where httptools is missing, reads one request at a time.
        if self._length > limit or len(getattr(self._http, "pipeline", ())) > MAX_PIPELINED:
            self._transport.abort()

    def eof_received(self) -> None:
        """Pass it on."""
        self._http.eof_received()

    def pause_writing(self) -> None:
        """Pass it on: the client has an answer to read."""
        self._is_paused = True
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on: the client has read."""
        self._is_paused = self._is_stalled = False
        self._http.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        if self._timer is not None:
            self._timer.cancel()
        self._http.connection_lost(exc)

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(REQUEST_SECONDS, self._check)

    def _check(self) -> None:
        """Close it if no request has arrived since the last time and none is being answered, or no answer was read."""
        request = self._http.cycle
        is_answering = request is not None and not request.response_complete and not request.more_body
        if self._is_stalled or (request is self._seen and not is_answering):
            self._transport.abort()
            return
        self._is_stalled = self._is_paused
        self._seen = request
        self._start_timer()
