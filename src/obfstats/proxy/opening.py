"""A connection before its relay: handshake, SOCKS request, extended ORPort. What all of them have in common.

Whoever reads a connection before the relay does leaves everything else to the relay's end from the start: it knows of
the connection, stops the other end's reading where this one's peer is slow, and reports the connection's loss. So in
whichever way a connection ends, and however far it has got, its place is given back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from obfstats.proxy.relay import RelayEnd


class Opening(asyncio.BufferedProtocol):
    """Reads a connection until the relay's end takes it over."""

    __slots__ = ("_end", "_transport")

    def __init__(self, end: RelayEnd) -> None:
        """Begin.

        Args:
            end: the relay's end that takes over.
        """
        self._end = end
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the relay's end know of the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._end.attach(self._transport)

    def pause_writing(self) -> None:
        """Pass on that the peer is slow."""
        self._end.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the peer has caught up."""
        self._end.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the connection is gone."""
        self._transport = None
        self._end.connection_lost(exc)
