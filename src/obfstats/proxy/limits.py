"""How many connections and unfinished handshakes there may be at once, and the cap on connections in all.

At that cap no one is refused: clients wait in the kernel's queue until a connection closes. shares.py keeps the cap on
the connections of one network, handshakes.py that on unfinished handshakes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.formats.address import ClientAddress

MAX_CONNECTIONS = 16_384
"""Cap on connections where the command line names none; fewer where file descriptors do not suffice."""

MAX_HANDSHAKES = 1_024
"""Cap on unfinished handshakes where the command line names none."""

NETWORK_DIVISOR = 4
"""One network gets at most 1/4 of the unfinished handshakes, and by default 1/4 of the connections."""

_V4_NETWORK_BYTES, _V6_NETWORK_BYTES = 3, 6


@dataclass(frozen=True, slots=True)
class Limits:
    """How much at once.

    Attributes:
        connections: in all.
        handshakes: that are not done yet.
        network: connections from one network.
    """

    connections: int = MAX_CONNECTIONS
    handshakes: int = MAX_HANDSHAKES
    network: int = MAX_CONNECTIONS // NETWORK_DIVISOR


def network_of(peer: ClientAddress) -> bytes:
    """Return the network of an address: the first bytes of it."""
    return peer.packed[: _V4_NETWORK_BYTES if peer.family == "v4" else _V6_NETWORK_BYTES]


class Gate:
    """Admits connections, for all listeners of a program together.

    Attributes:
        connections: how many there are.
        max_connections: how many there may be.
        times_full: how often a listener had to wait because there were so many.
        times_short: how often one had to wait because the system had no descriptors or memory left.
    """

    def __init__(self, limits: Limits) -> None:
        self.connections = 0
        self.max_connections = limits.connections
        self.times_full = self.times_short = 0
        self._times_reported = 0
        self._waiting: list[Callable[[], None]] = []

    def is_full(self, on_free: Callable[[], None]) -> bool:
        """Tell whether no further connection fits; if so, `on_free` is called once when one closes."""
        if self.connections < self.max_connections:
            return False
        self.times_full += 1
        self._waiting.append(on_free)
        return True

    def admit(self) -> Callable[[], None]:
        """Admit a connection; return what to call, once, when it is closed."""
        self.connections += 1
        return self._release

    def pop_refusals(self) -> list[str]:
        """Return a sentence if clients had to wait since the last call."""
        times, self._times_reported = self.times_full - self._times_reported, self.times_full
        return [f"connection limit ({self.max_connections}) reached; new clients waited"] if times else []

    def _release(self) -> None:
        self.connections -= 1
        waiting, self._waiting = self._waiting, []
        for on_free in waiting:
            on_free()
