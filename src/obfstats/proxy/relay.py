"""The data path: what one end reads is ciphered in place and written to the other end.

Rules:

- All ends of a loop read into one scratch buffer: reading, ciphering and writing it on happen within one callback. An
  idle connection therefore holds no buffer at all. Only where the kernel does not take everything at once does the
  transport keep a view of the rest; then the scratch is left to it and a new one is made.
- Backpressure goes both ways: an end whose transport holds anything unsent stops the other end's reading, so that a
  stalled connection holds one scratch buffer for each direction and no more. Where many are stalled at once, scratch
  buffers become small ones: thousands of clients that do not read must not take gigabytes.
- A half-close is kept: the end of one direction is passed on, the other direction goes on until it ends too.
- When one end is lost the other one is closed, after what it still has to say; if nobody takes that, it is cut off.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.ciphers import CipherContext

SCRATCH_SIZE = 1 << 18
"""Bytes read at once: fewer system calls and wake-ups a byte, and it still fits a core's second-level cache."""

MANY_STALLED = 64
"""Stalled directions from which on scratch buffers are small."""

SMALL_SCRATCH_SIZE = 1 << 14

LINGER = 30.0
"""Seconds that a closing end has for bytes nobody has taken yet."""


class Scratch:
    """The buffer that every end of a loop reads into.

    Attributes:
        view: the whole of it.
    """

    __slots__ = ("_stalled", "view")

    def __init__(self) -> None:
        self._stalled = 0
        self.renew()

    def renew(self) -> None:
        """Leave the buffer to whoever still holds a view of it, and take a new one."""
        size = SCRATCH_SIZE if self._stalled < MANY_STALLED else SMALL_SCRATCH_SIZE
        self.view = memoryview(bytearray(size))

    def stall(self) -> None:
        """Note that a direction is stalled."""
        self._stalled += 1

    def resume(self) -> None:
        """Note that a stalled direction goes on, or is gone."""
        self._stalled -= 1
        if self._stalled == MANY_STALLED - 1:
            self.renew()


class RelayEnd(asyncio.BufferedProtocol):
    """One end of a relayed connection.

    Attributes:
        cipher: is applied to what this end reads; None where the handshake has not given it yet.
        last_words: what this end's peer is told if the other end is lost.
    """

    __slots__ = ("_closed", "_ended", "_other", "_scratch", "_stalled", "_transport", "cipher", "last_words")

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self.cipher: CipherContext | None = None
        self.last_words = b""
        self._transport: asyncio.Transport | None = None
        self._other: RelayEnd | None = None
        self._ended = False
        self._stalled = False
        self._closed: Callable[[], None] | None = None

    def join(self, other: RelayEnd, closed: Callable[[], None]) -> None:
        """Tie two ends together, before either reads.

        Args:
            other: the other end.
            closed: called once, when both have lost their connections.
        """
        self._other, other._other = other, self
        self._closed = other._closed = closed

    def attach(self, transport: asyncio.Transport) -> None:
        """Take the transport that this end reads from and is written to."""
        # Any unsent byte stops the other end: that is what bounds a stalled connection's memory.
        transport.set_write_buffer_limits(high=0)
        self._transport = transport

    def abort(self) -> None:
        """Cut both ends off, whatever is unsent."""
        ends = [self] if self._other is None else [self, self._other]
        attached = [end._transport for end in ends if end._transport is not None]
        for transport in attached:
            transport.abort()
        if not attached:
            self.connection_lost(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Attach a transport that is made for this end."""
        self.attach(cast("asyncio.Transport", transport))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Lend the scratch for one read."""
        return self._scratch.view

    def buffer_updated(self, nbytes: int) -> None:
        """Cipher what was read, in place, and pass it on."""
        data = self._scratch.view[:nbytes]
        if self.cipher is not None:
            self.cipher.update_into(data, data)
        self._pass_on(data)

    def pass_on(self, data: bytes) -> None:
        """Write to the other end what this end had already received, in clear."""
        if data:
            self._pass_on(data)

    def _pass_on(self, data: bytes | memoryview) -> None:
        other = self._other
        if other is None or other._transport is None:
            return
        other._transport.write(data)
        if other._transport.get_write_buffer_size():
            self._scratch.renew()

    def eof_received(self) -> bool:
        """Pass the end of this direction on; keep the connection for the other direction."""
        self._ended = True
        other = self._other
        if other is None or other._transport is None or self._transport is None:
            return False
        if other._ended:
            _close(self._transport)
            _close(other._transport)
        elif not other._transport.is_closing():
            other._transport.write_eof()
        return True

    def pause_writing(self) -> None:
        """This end's peer is slow: stop reading from the other."""
        self._stalled = True
        self._scratch.stall()
        if self._other is not None and self._other._transport is not None:
            self._other._transport.pause_reading()

    def resume_writing(self) -> None:
        """This end's peer has caught up."""
        self._end_stall()
        if self._other is not None and self._other._transport is not None:
            self._other._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Close the other end too; the second of the two to go reports it."""
        self._transport = None
        self._end_stall()
        other, closed = self._other, self._closed
        if other is not None and other._transport is not None:
            if other.last_words and not other._transport.is_closing():
                other._transport.write(other.last_words)
            _close(other._transport)
        elif closed is not None:
            self._closed = None
            self._other = None
            if other is not None:
                other._closed = other._other = None
            closed()

    def _end_stall(self) -> None:
        if self._stalled:
            self._stalled = False
            self._scratch.resume()


def _close(transport: asyncio.Transport) -> None:
    """Close after what is still unsent, within LINGER."""
    transport.close()
    if transport.get_write_buffer_size():
        asyncio.get_running_loop().call_later(LINGER, transport.abort)
