"""Serves a bridge's metrics over HTTP, on the program's loop. A scrape costs one write of a text that is ready.

    GET /metrics    the last snapshot (metrics.py)

Rules:

- Nothing a scraper does can burden the bridge: MAX_SCRAPES at once, MAX_REQUEST bytes, SECONDS for all of it. Each
  connection is closed after its answer.
- Nothing is logged, and no answer depends on who asks.
- It listens on this machine alone, unless the operator asks for more by an option that says so.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Final, cast

from obfstats.bridge.logs import NOTICE
from obfstats.commandline import describe_missing_library
from obfstats.proxy.listener import bound, listen
from obfstats.wire.endpoint import is_loopback

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from obfstats.wire.endpoint import Endpoint

MAX_SCRAPES: Final = 8
MAX_REQUEST: Final = 8192
SECONDS: Final = 10.0

_PATH: Final = "/metrics"
_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_REQUEST: Final = re.compile(rb"(GET|HEAD) (\S+) HTTP/1\.[01]\r?\n")

_log = logging.getLogger(__name__)


class MetricsError(Exception):
    """Metrics cannot be served. Its text is one sentence for the operator."""


def open_metrics(endpoint: Endpoint | None) -> socket.socket | None:
    """Open the socket that metrics are served at.

    Args:
        endpoint: where it listens; None if no metrics are served.

    Raises:
        MetricsError: if they cannot be served.
    """
    if endpoint is None:
        return None
    try:
        import obfstats.bridge.metrics  # noqa: F401, PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MetricsError(f"--metrics: {describe_missing_library(error, 'metrics')}") from None
    try:
        listening = listen(endpoint)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host's name"
        raise MetricsError(f"cannot serve metrics at {endpoint}: {reason}; give --metrics another address") from None
    _log.log(NOTICE, "metrics are at http://%s/metrics", bound(listening))
    if not is_loopback(endpoint):
        _log.warning("other machines may read the metrics (--expose-metrics)")
    return listening


class ScrapeServer:
    """Answers scrapes."""

    def __init__(self, read_text: Callable[[], bytes]) -> None:
        """Set up.

        Args:
            read_text: gives the metrics.
        """
        self.read_text = read_text
        self.scrapes: set[_Scrape] = set()
        self._server: asyncio.Server | None = None

    async def start(self, listening: socket.socket) -> None:
        """Begin to answer on a listening socket."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Scrape(self), sock=listening)

    def close(self) -> None:
        """Stop at once, whatever is unsent."""
        if self._server is not None:
            self._server.close()
        for scrape in list(self.scrapes):
            scrape.abort()


class _Scrape(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: ScrapeServer) -> None:
        self._server = server
        self._request = bytearray()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        self._deadline = asyncio.get_running_loop().call_later(SECONDS, self.abort)
        self._server.scrapes.add(self)
        if len(self._server.scrapes) > MAX_SCRAPES:
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Answer, once the request is whole."""
        if self._transport is None or self._transport.is_closing():
            return
        self._request += data
        if len(self._request) > MAX_REQUEST:
            self.abort()
        elif b"\n\r\n" in self._request or b"\n\n" in self._request:
            self._transport.write(_answer(bytes(self._request), self._server.read_text()))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """End."""
        self._server.scrapes.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
        self._transport = None

    def abort(self) -> None:
        """Close at once, whatever is unsent."""
        if self._transport is not None:
            self._transport.abort()


def _answer(request: bytes, text: bytes) -> bytes:
    """Write the answer to a request, headers and all."""
    match = _REQUEST.match(request)
    if match is None:
        status, body, kind = "400 Bad Request", b"this is not a GET request\n", "text/plain"
    elif match[2].decode("ascii", "replace").partition("?")[0] != _PATH:
        status, body, kind = "404 Not Found", b"metrics are at /metrics\n", "text/plain"
    else:
        status, body, kind = "200 OK", text, _CONTENT_TYPE
    headers = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return headers.encode() + (b"" if match is not None and match[1] == b"HEAD" else body)
