"""The data path: what one end reads is ciphered in place and written to the other end.

Rules:

- All ends of a loop read into one scratch buffer: reading, ciphering and writing happen within one callback, so an idle
  connection holds no buffer at all. Only where the kernel does not accept everything at once does the transport keep a
  view of the rest; then the scratch buffer is left to it, and a new one is allocated.
- Backpressure goes both ways: an end whose transport holds anything unsent stops the other end's reading, so a stalled
  connection holds one scratch buffer for each direction and no more. Where many are stalled at once, scratch buffers
  are small: thousands of clients that do not read must not take gigabytes.
- A half-close is kept: the end of one direction is passed on, and the other direction goes on until it ends too.
- Tor never half-closes: after its end of stream both ends are closed after LINGER at the latest. Otherwise a client
  that keeps its side open would keep its place for ever.
- When one end is lost, the other one is closed after its unsent bytes, at the latest after LINGER.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, cast

from obfstats.proxy.totals import Totals
from obfstats.wire.dummy import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.ciphers import CipherContext

SCRATCH_SIZE = 8 * 65_464
"""Bytes read at once: few system calls and wake-ups a byte, and it still fits a core's second-level cache.

They are eight of the largest segments of a loopback interface (IPv6; 19 bytes less than IPv4's). TCP would send what
remains of half a mebibyte as a ninth, which costs as much.
"""

MANY_STALLED = 32
"""Stalled directions from which on scratch buffers are small."""

SMALL_SCRATCH_SIZE = 1 << 14

_CIPHER_MARGIN = 15
"""Bytes after the data that cryptography 38 (Debian 12) demands in the buffer that it ciphers into."""

_LOOPBACK = ("127.", "::1")

LINGER = 30.0
"""Seconds after which a closing end is aborted, whatever is unsent."""


class Scratch:
    """The buffer that every end of a loop reads into.

    Attributes:
        view: what is read into.
        whole: the same with the margin that a cipher may demand.
        totals: count the bytes that are read into it.
    """

    __slots__ = ("_stalled", "totals", "view", "whole")

    def __init__(self, totals: Totals | None = None) -> None:
        self._stalled = 0
        self.totals = totals or Totals()
        self.renew()

    def renew(self) -> None:
        """Allocate a new buffer: a transport still holds a view of the old one."""
        size = SCRATCH_SIZE if self._stalled < MANY_STALLED else SMALL_SCRATCH_SIZE
        self.whole = memoryview(bytearray(size + _CIPHER_MARGIN))
        self.view = self.whole[:size]

    def stall(self) -> None:
        """Count a stalled direction."""
        self._stalled += 1

    def resume(self) -> None:
        """Uncount a stalled direction, which goes on or is closed."""
        self._stalled -= 1
        if self._stalled == MANY_STALLED - 1:
            self.renew()


class RelayEnd(asyncio.BufferedProtocol):
    """One end of a relayed connection.

    Attributes:
        scratch: the buffer that this end reads into.
        cipher: is applied to what this end reads; the handshake sets it.
        never_half_closes: whether the end of this peer's stream is the end of the connection.
        reply_if_other_end_lost: what this end's peer is sent if the other end is lost.
    """

    __slots__ = (
        "_has_ended",
        "_is_stalled",
        "_on_closed",
        "_other",
        "_transport",
        "cipher",
        "never_half_closes",
        "reply_if_other_end_lost",
        "scratch",
    )

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self.cipher: CipherContext = PLAIN
        self.never_half_closes = False
        self.reply_if_other_end_lost = b""
        self._transport: asyncio.Transport | None = None
        self._other: RelayEnd | None = None
        self._has_ended = False
        self._is_stalled = False
        self._on_closed: Callable[[], None] | None = None

    def join(self, other: RelayEnd, on_closed: Callable[[], None]) -> None:
        """Connect two ends, before either reads.

        Args:
            other: the other end.
            on_closed: called once, when both have lost their connections.
        """
        self._other, other._other = other, self
        self._on_closed = other._on_closed = on_closed

    def call_when_closed(self, callback: Callable[[], None]) -> None:
        """Call something once, too, when both ends have lost their connections.

        Args:
            callback: what to call. At least one of the two is connected now.
        """
        other, on_closed = self._other, self._on_closed
        if other is None or on_closed is None:
            raise AssertionError("both ends are closed already")

        def call_both() -> None:
            callback()
            on_closed()

        self._on_closed = other._on_closed = call_both

    def attach(self, transport: asyncio.Transport) -> None:
        """Set the transport that this end reads from and writes to."""
        # Any unsent byte stops the other end, which bounds a stalled connection's memory.
        transport.set_write_buffer_limits(high=0)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if peer and peer[0].startswith(_LOOPBACK):
            use_reno(transport.get_extra_info("socket"))

    def take_over(self, early: bytes, *, has_ended: bool) -> None:
        """Begin to relay on an attached transport whose reading is paused.

        Args:
            early: what was read from it already, not ciphered yet.
            has_ended: whether the peer has ended its direction after that.
        """
        transport, other = self._transport, None if self._other is None else self._other._transport
        if transport is None or other is None:
            return
        if early:
            self._pass_on(self.cipher.update(early))
        transport.set_protocol(self)
        if transport.get_write_buffer_size():
            other.pause_reading()
        if has_ended:
            self.eof_received()
        elif not other.get_write_buffer_size():
            # Otherwise the other end resumes this one once its unsent bytes are gone.
            transport.resume_reading()

    def abort(self) -> None:
        """Close both ends at once, whatever is unsent."""
        ends = [self] if self._other is None else [self, self._other]
        attached = [end._transport for end in ends if end._transport is not None]
        for transport in attached:
            transport.abort()
        if not attached:
            self.connection_lost(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Attach a transport that was made for this end."""
        self.attach(cast("asyncio.Transport", transport))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Lend the scratch buffer for one read."""
        return self.scratch.view

    def buffer_updated(self, nbytes: int) -> None:
        """Cipher what was read, in place, and pass it on."""
        scratch = self.scratch
        scratch.totals.relayed_bytes += nbytes
        data = scratch.view[:nbytes]
        if self.cipher is not PLAIN:
            self.cipher.update_into(data, scratch.whole)
        self._pass_on(data)

    def _pass_on(self, data: bytes | memoryview) -> None:
        other = self._other
        if other is None or other._transport is None:
            return
        other._transport.write(data)
        if other._transport.get_write_buffer_size():
            self.scratch.renew()

    def eof_received(self) -> bool:
        """Pass the end of this direction on; keep the connection for the other direction."""
        self._has_ended = True
        other = self._other
        if other is None or other._transport is None or self._transport is None:
            return False
        if other._has_ended:
            _close(self._transport)
            _close(other._transport)
        elif not other._transport.is_closing():
            other._transport.write_eof()
            if self.never_half_closes:
                asyncio.get_running_loop().call_later(LINGER, self.abort)
        return True

    def pause_writing(self) -> None:
        """Stop the other end's reading: this end's peer is slow."""
        self._is_stalled = True
        self.scratch.stall()
        if self._other is not None and self._other._transport is not None:
            self._other._transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume the other end's reading: this end's peer has caught up."""
        self._end_stall()
        if self._other is not None and self._other._transport is not None:
            self._other._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Close the other end too; the second of the two to be lost reports it."""
        self._transport = None
        self._end_stall()
        other, on_closed = self._other, self._on_closed
        if other is not None and other._transport is not None:
            if other.reply_if_other_end_lost and not other._transport.is_closing():
                other._transport.write(other.reply_if_other_end_lost)
            _close(other._transport)
        elif on_closed is not None:
            self._on_closed = None
            self._other = None
            if other is not None:
                other._on_closed = other._other = None
            on_closed()

    def _end_stall(self) -> None:
        if self._is_stalled:
            self._is_stalled = False
            self.scratch.resume()


def use_reno(connection: socket.socket) -> None:
    """Let a connection within one machine use Reno, which every kernel has and lets every user choose.

    Congestion control that is fair to a network, such as BBR's pacing, costs nearly half of the processor time of a
    byte there, and there is no network.
    """
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")


def _close(transport: asyncio.Transport) -> None:
    """Close after what is still unsent, within LINGER."""
    transport.close()
    if transport.get_write_buffer_size():
        asyncio.get_running_loop().call_later(LINGER, transport.abort)
