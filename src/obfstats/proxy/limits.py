"""Limits that a flood runs into: connections at once, connections at once from one network, handshakes at once.

- At the cap on connections no one is refused: clients wait in the kernel's queue until a connection closes.
- A network (an IPv4 /24, an IPv6 /48) that has its share already is refused, so that one network cannot take all
  connections.
- Where too many handshakes are under way, the oldest one is closed: an honest client is done within a second or two, so
  the oldest is most likely no client. A network has a share of those too, and beyond it loses its own oldest one: a
  flood from one network closes only its own handshakes.

Counts of refused connections are kept, networks only as long as they are connected; an address never.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
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
        network: connections from one network; None for no such cap.
    """

    connections: int = MAX_CONNECTIONS
    handshakes: int = MAX_HANDSHAKES
    network: int | None = None


class Gate:
    """Admits connections, for all listeners of a program together."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._connections = 0
        self._by_network: dict[bytes, int] = {}
        # The oldest first; those of each network by themselves as well.
        self._handshakes: OrderedDict[int, tuple[bytes, Callable[[], None]]] = OrderedDict()
        self._handshakes_by_network: dict[bytes, OrderedDict[int, None]] = {}
        self._share = max(1, limits.handshakes // NETWORK_DIVISOR)
        self._last_number = 0
        self._waiting: list[Callable[[], None]] = []
        self._connections_refused = self._handshakes_closed = self._times_full = 0

    def is_full(self, on_free: Callable[[], None]) -> bool:
        """Tell whether no further connection fits; if so, `on_free` is called once when one closes."""
        if self._connections < self._limits.connections:
            return False
        self._times_full += 1
        self._waiting.append(on_free)
        return True

    def admit(self, peer: ClientAddress) -> Callable[[], None] | None:
        """Admit a connection.

        Args:
            peer: its other end.

        Returns:
            what to call, once, when the connection is closed; None if its network has its share already.
        """
        network = self._network_of(peer)
        count = self._by_network.get(network, 0)
        if self._limits.network is not None and count >= self._limits.network:
            self._connections_refused += 1
            return None
        self._by_network[network] = count + 1
        self._connections += 1
        return partial(self._release, network)

    @contextlib.contextmanager
    def count_handshake(self, peer: ClientAddress, close: Callable[[], None]) -> Iterator[None]:
        """Count a handshake as under way, as long as the block lasts.

        Args:
            peer: the connection's other end.
            close: closes the connection; called if this is the oldest of too many.
        """
        network = self._network_of(peer)
        number = self._last_number = self._last_number + 1
        self._handshakes[number] = network, close
        neighbours = self._handshakes_by_network.setdefault(network, OrderedDict())
        neighbours[number] = None
        if self._limits.network is not None and len(neighbours) > self._share:
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
        if self._connections_refused:
            number = formatter.number(self._connections_refused)
            sentences.append(f"{number} connections refused: over the limit per network (--max-per-network)")
        if self._handshakes_closed:
            number = formatter.number(self._handshakes_closed)
            sentences.append(f"{number} unfinished handshakes closed: over the limit (--max-handshakes)")
        self._connections_refused = self._handshakes_closed = self._times_full = 0
        return sentences

    def _network_of(self, peer: ClientAddress) -> bytes:
        """Return the network of an address; all are one where networks have no share."""
        if self._limits.network is None:
            return b""
        return peer.packed[: _V4_NETWORK_BYTES if peer.family == "v4" else _V6_NETWORK_BYTES]

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

    def _release(self, network: bytes) -> None:
        self._connections -= 1
        left = self._by_network[network] - 1
        if left:
            self._by_network[network] = left
        else:
            del self._by_network[network]
        waiting, self._waiting = self._waiting, []
        for on_free in waiting:
            on_free()
