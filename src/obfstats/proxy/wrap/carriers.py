"""Carriers of bytes from one socket to another: a pipe with splice(2), or a buffer where the kernel does not splice.

A carrier is on loan while it holds bytes. Mostly they leave within the same callback, so few carriers serve all
connections; a connection with a slow peer keeps its carrier until the peer has read. With splice the traffic never
enters this process's memory.

Source: splice(2), pipe(7). A pipe of a mebibyte takes what a socket holds in one call. The kernel limits how many of
those a user may have (pipe-user-pages-soft); beyond the limit it makes small pipes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from typing import Protocol

from obfstats.proxy.totals import Totals

SIZE = 1 << 20
"""Bytes that a carrier takes at once."""

SMALL_SIZE = 1 << 16
"""The same where many carriers are on loan: thousands of clients that do not read must not take gigabytes."""

MANY_LENT = 64
"""Carriers on loan from which on they take SMALL_SIZE."""

_MAX_FREE = 8
_FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)


class Carrier(Protocol):
    """Carries bytes of one direction.

    Attributes:
        held: how many bytes it holds.
    """

    held: int

    def fill(self, source: int, max_bytes: int) -> int:
        """Take bytes from a socket, if none are held; return their number, 0 at the end of file.

        Raises:
            BlockingIOError: there are none.
            OSError: the connection is lost.
        """

    def drain(self, sink: int) -> None:
        """Write to a socket as many bytes as it accepts.

        Raises:
            BlockingIOError: it accepts none.
            OSError: the connection is lost.
        """

    def close(self) -> None:
        """Drop what is held."""


class Pipe:
    """A pipe; the kernel moves bytes into it and out of it.

    Attributes:
        is_full_size: whether it has SIZE; one that was made during a shortage is not worth keeping.
    """

    __slots__ = ("_inlet", "_outlet", "held", "is_full_size")

    def __init__(self) -> None:
        """Make it.

        Raises:
            OSError: there are too many descriptors.
        """
        self.held = 0
        self._outlet, self._inlet = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.is_full_size = False
        with contextlib.suppress(OSError):
            self.is_full_size = fcntl.fcntl(self._inlet, fcntl.F_SETPIPE_SZ, SIZE) >= SIZE

    def fill(self, source: int, max_bytes: int) -> int:
        """Splice from a socket."""
        self.held = count = os.splice(source, self._inlet, max_bytes, None, None, _FLAGS)
        return count

    def drain(self, sink: int) -> None:
        """Splice to a socket."""
        self.held -= os.splice(self._outlet, sink, self.held, None, None, _FLAGS)

    def close(self) -> None:
        """Close both ends."""
        os.close(self._inlet)
        os.close(self._outlet)


class Buffer:
    """Memory of this process, where there is no splice or no pipe."""

    __slots__ = ("_begin", "_view", "held")

    def __init__(self) -> None:
        self.held = self._begin = 0
        self._view = memoryview(bytearray(SMALL_SIZE))

    def fill(self, source: int, max_bytes: int) -> int:
        """Read from a socket."""
        self._begin = 0
        self.held = count = os.readv(source, [self._view[:max_bytes]])
        return count

    def drain(self, sink: int) -> None:
        """Write to a socket."""
        count = os.write(sink, self._view[self._begin : self._begin + self.held])
        self._begin += count
        self.held -= count

    def close(self) -> None:
        """Overwrite the traffic."""
        self._view[:] = bytes(len(self._view))


class Carriers:
    """The pool of carriers.

    Attributes:
        fill_size: how many bytes to take from a socket at once.
        totals: count the bytes that are carried.
    """

    def __init__(self, max_pipes: int, totals: Totals | None = None) -> None:
        """Set up.

        Args:
            max_pipes: how many pipes there may be at once, of two descriptors each; buffers serve beyond that.
            totals: count the bytes that are carried, if given.
        """
        self.totals = totals or Totals()
        self._pipes_left = max_pipes
        self._free: list[Pipe] = []
        self._lent = 0
        self.fill_size = SIZE

    def borrow(self) -> Carrier:
        """Return a carrier that holds nothing."""
        self._lent += 1
        if self._lent == MANY_LENT:
            self.fill_size = SMALL_SIZE
        if self._free:
            return self._free.pop()
        if self._pipes_left:
            with contextlib.suppress(OSError):
                pipe = Pipe()
                self._pipes_left -= 1
                return pipe
        return Buffer()

    def release(self, carrier: Carrier) -> None:
        """Put a carrier back, and drop what it still holds."""
        if self._lent == MANY_LENT:
            self.fill_size = SIZE
        self._lent -= 1
        if isinstance(carrier, Pipe):
            if carrier.is_full_size and not carrier.held and len(self._free) < _MAX_FREE:
                self._free.append(carrier)
                return
            self._pipes_left += 1
        carrier.close()

    def close(self) -> None:
        """Close all carriers that are not on loan."""
        while self._free:
            self._free.pop().close()


def can_splice() -> bool:
    """Try whether the kernel lets this process splice from a socket and to a socket."""
    if not hasattr(os, "splice"):
        return False
    try:
        pipe = Pipe()
    except OSError:
        # A shortage of descriptors, which may pass.
        return True
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(b"!")
        try:
            pipe.fill(ours.fileno(), 1)
            pipe.drain(ours.fileno())
            return theirs.recv(1) == b"!"
        except OSError:
            return False
        finally:
            pipe.close()
