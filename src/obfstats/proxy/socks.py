"""A SOCKS5 connection until it has said where to, and has been told that it is there (RFC 1928, pt-spec)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from obfstats.proxy.opening import Opening
from obfstats.wire.machine import Failed, Send
from obfstats.wire.socks5 import Reply, Request, Socks5, write_reply

if TYPE_CHECKING:
    from obfstats.proxy.relay import RelayEnd

_CHUNK = 1 << 12


class Asking(Opening):
    """One connection's SOCKS exchange.

    Attributes:
        request: becomes what was asked for; None if the connection was lost or refused before.
    """

    __slots__ = ("_buffer", "_early", "_ended", "_socks", "request")

    def __init__(self, end: RelayEnd) -> None:
        """Begin.

        Args:
            end: the relay's end that takes over.
        """
        super().__init__(end)
        self._socks = Socks5()
        self._buffer = bytearray(_CHUNK)
        self._early = b""
        self._ended = False
        self.request: asyncio.Future[Request | None] = asyncio.get_running_loop().create_future()

    def accept(self, clear: asyncio.Transport, obfuscated: asyncio.Transport) -> None:
        """Say that the destination is there, and let the relay take over.

        Args:
            clear: this connection.
            obfuscated: the other end's.
        """
        self._end.last_words = b""
        clear.write(write_reply(Reply.SUCCEEDED))
        if self._early and self._end.cipher is not None:
            self._end.pass_on(self._end.cipher.update(self._early))
        clear.set_protocol(self._end)
        if self._ended:
            self._end.eof_received()
        elif not obfuscated.get_write_buffer_size():
            clear.resume_reading()

    def refuse(self, reply: Reply) -> bool:
        """Say why not, and hang up; gives False, for whoever has nothing to relay then."""
        self._end.last_words = b""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(write_reply(reply))
            self._transport.close()
        return False

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002
        """Lend a small buffer: what is asked for is short."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Go on with the exchange; what comes behind it is kept for the relay."""
        if self._transport is None:
            return
        data = bytes(self._buffer[:nbytes])
        if self.request.done():
            self._early += data
            self._transport.pause_reading()
            return
        for event in self._socks.receive(data):
            match event:
                case Send(answer):
                    self._transport.write(answer)
                case Request():
                    self._early = event.early
                    # A bridge that hangs up in the middle of a handshake takes this connection with it.
                    self._end.last_words = write_reply(Reply.GENERAL_FAILURE)
                    self._transport.pause_reading()
                    self.request.set_result(event)
                case Failed():
                    self._transport.close()
                    self.request.set_result(None)

    def eof_received(self) -> bool:
        """Hold the connection open where only this direction has ended."""
        self._ended = self.request.done()
        return self._ended

    def connection_lost(self, exc: Exception | None) -> None:
        """Let whoever waits know."""
        if not self.request.done():
            self.request.set_result(None)
        super().connection_lost(exc)
