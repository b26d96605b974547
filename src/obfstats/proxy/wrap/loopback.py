"""How bytes go between programs of one machine: at once.

- TCP_NODELAY: nothing small waits for an answer to what went before.
- Reno: what a machine's default may do to be fair to a network, such as BBR's pacing, costs nearly half of the
  processor time of a byte here, and there is no network. Reno is in every kernel, and may be used by everybody.

Source: tcp(7).
"""

from __future__ import annotations

import contextlib
import socket


def suit(local: socket.socket) -> None:
    """Make a socket suit loopback; what a listening one accepts is then like it.

    Args:
        local: not connected yet.

    Raises:
        OSError: it is no socket of TCP's.
    """
    local.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError):
        local.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
