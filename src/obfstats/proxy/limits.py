"""Limits that a flood runs into: connections at once, handshakes at once; shares.py: connections of one network.

- At the cap on connections no one is refused: clients wait in the kernel's queue until a connection closes.
- Where too many handshakes are under way, the oldest one is closed: an honest client is done within a second or two, so
  the oldest is most likely no client. A network has a share of those too, and beyond it loses its own oldest one: a
  flood from one network closes only its own handshakes.

Networks are kept only as long as they have unfinished handshakes; an address never.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from obfstats.formats.address import ClientAddress
    from obfstats.proxy.privacy import LogFormatter

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
    """Admits connections, for all listeners of a program together."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._connections = 0
        # The oldest first; those of each network by themselves as well.
        self._handshakes: OrderedDict[int, tuple[bytes, Callable[[], None]]] = OrderedDict()
        self._handshakes_by_network: dict[bytes, OrderedDict[int, None]] = {}
        self._share = max(1, limits.handshakes // NETWORK_DIVISOR)
        self._last_number = 0
        self._waiting: list[Callable[[], None]] = []
        self._handshakes_closed = self._times_full = 0

    def is_full(self, on_free: Callable[[], None]) -> bool:
        """Tell whether no further connection fits; if so, `on_free` is called once when one closes."""
        if self._connections < self._limits.connections:
            return False
        self._times_full += 1
        self._waiting.append(on_free)
        return True

    def admit(self) -> Callable[[], None]:
        """Admit a connection; return what to call, once, when it is closed."""
        self._connections += 1
        return self._release

    @contextlib.contextmanager
    def count_handshake(self, peer: ClientAddress, close: Callable[[], None]) -> Iterator[None]:
        """Count a handshake as under way, as long as the block lasts.

        Args:
            peer: the connection's other end.
            close: closes the connection; called if this is the oldest of too many.
        """
        network = network_of(peer)
        number = self._last_number = self._last_number + 1
        self._handshakes[number] = network, close
        neighbours = self._handshakes_by_network.setdefault(network, OrderedDict())
        neighbours[number] = None
        if len(neighbours) > self._share:
            self._close_handshake(next(iter(neighbours)))
        elif len(self._handshakes) > self._limits.handshakes:
            self._close_handshake(next(iter(self._handshakes)))
        try:
            yield
        finally:
            self._end_handshake(number)

    def pop_refusals(self, formatter: LogFormatter) -> list[str]:
        """Return sentences about what was refused since the last call.

        Args:
            formatter: rounds the numbers, or not.
        """
        sentences = []
        if self._times_full:
            sentences.append(f"connection limit ({self._limits.connections}) reached; new clients waited")
        if self._handshakes_closed:
            number = formatter.number(self._handshakes_closed)
            sentences.append(f"{number} unfinished handshakes closed: over the limit (--max-handshakes)")
        self._handshakes_closed = self._times_full = 0
        return sentences

    def _close_handshake(self, number: int) -> None:
        self._handshakes_closed += 1
        _, close = self._handshakes[number]
        self._end_handshake(number)
        close()

    def _end_handshake(self, number: int) -> None:
        """Count a handshake as under way no more, if it is counted."""
        network, _ = self._handshakes.pop(number, (b"", None))
        neighbours = self._handshakes_by_network.get(network)
        if neighbours is not None:
            neighbours.pop(number, None)
            if not neighbours:
                del self._handshakes_by_network[network]

    def _release(self) -> None:
        self._connections -= 1
        waiting, self._waiting = self._waiting, []
        for on_free in waiting:
            on_free()
