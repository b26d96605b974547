"""What a flood may take: connections at once, connections at once from one network, handshakes at once.

- At the cap on connections nobody is turned away: clients wait in the kernel's queue until there is room.
- A network (an IPv4 /24, an IPv6 /48) that has its share already is turned away, so that one place cannot take the
  bridge away from everybody.
- Where too many handshakes are under way, the oldest one is cut off: an honest client is done within a second or two,
  so what has been waiting longest is most likely nobody. A network has a share of those too, and beyond it loses its
  own oldest one: a flood from one place cuts off itself.

Numbers of what was turned away are kept, networks only as long as they are connected; an address never.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from obfstats.formats.address import pack_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from obfstats.proxy.privacy import Show

MOST_CONNECTIONS = 16_384
"""Cap on connections where the command line names none; fewer where file descriptors do not suffice."""

MOST_HANDSHAKES = 1_024
"""Cap on handshakes under way where the command line names none."""

NETWORKS_SHARE = 4
"""One network gets one part in so many of all connections where the command line names no number."""

_V4_BYTES, _V6_BYTES = 3, 6


@dataclass(frozen=True, slots=True)
class Limits:
    """How much at once.

    Attributes:
        connections: in all.
        handshakes: that are not done yet.
        network: connections from one network; None for no such cap.
    """

    connections: int = MOST_CONNECTIONS
    handshakes: int = MOST_HANDSHAKES
    network: int | None = None


class Gate:
    """Lets connections in, for all listeners of a program together."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._alive = 0
        self._networks: dict[bytes, int] = {}
        # The oldest first; those of each network by themselves as well.
        self._handshakes: OrderedDict[int, tuple[bytes, Callable[[], None]]] = OrderedDict()
        self._shaking: dict[bytes, OrderedDict[int, None]] = {}
        self._share = max(1, limits.handshakes // NETWORKS_SHARE)
        self._next = 0
        self._waiting: list[Callable[[], None]] = []
        self._turned_away = self._cut_off = self._filled = 0

    def is_full(self, when_free: Callable[[], None]) -> bool:
        """Tell whether there is no room at all; if so, remember whom to call once there is."""
        if self._alive < self._limits.connections:
            return False
        self._filled += 1
        self._waiting.append(when_free)
        return True

    def enter(self, address: str) -> Callable[[], None] | None:
        """Let a connection in.

        Args:
            address: the peer's IP address as text.

        Returns:
            what to call, once, when the connection is gone; None where its network has its share already.
        """
        network = self._network(address)
        count = self._networks.get(network, 0)
        if self._limits.network is not None and count >= self._limits.network:
            self._turned_away += 1
            return None
        self._networks[network] = count + 1
        self._alive += 1
        return partial(self._leave, network)

    @contextlib.contextmanager
    def handshake(self, address: str, cut: Callable[[], None]) -> Iterator[None]:
        """Keep a handshake among those under way, as long as the block lasts.

        Args:
            address: the peer's IP address as text.
            cut: cuts the connection off; called if this is the oldest and one too many has come.
        """
        network = self._network(address)
        number = self._next = self._next + 1
        self._handshakes[number] = network, cut
        neighbours = self._shaking.setdefault(network, OrderedDict())
        neighbours[number] = None
        if self._limits.network is not None and len(neighbours) > self._share:
            self._cut(next(iter(neighbours)))
        elif len(self._handshakes) > self._limits.handshakes:
            self._cut(next(iter(self._handshakes)))
        try:
            yield
        finally:
            self._forget(number)

    def report(self, show: Show) -> list[str]:
        """Say in sentences what had to be done since the last report.

        Args:
            show: rounds the numbers, or not.
        """
        sentences = []
        if self._filled:
            sentences.append(f"all {self._limits.connections} connections were taken for a time: others had to wait")
        if self._turned_away:
            sentences.append(
                f"{show.number(self._turned_away)} connections turned away: their network had its share already"
            )
        if self._cut_off:
            sentences.append(f"{show.number(self._cut_off)} unfinished handshakes cut off: too many at once")
        self._turned_away = self._cut_off = self._filled = 0
        return sentences

    def _network(self, address: str) -> bytes:
        """Give a name to the network of an address; all are one where networks have no share."""
        if self._limits.network is None:
            return b""
        packed = pack_address(address)
        return packed[:_V4_BYTES] if len(packed) == 4 else packed[:_V6_BYTES]

    def _cut(self, number: int) -> None:
        self._cut_off += 1
        _, cut = self._handshakes[number]
        self._forget(number)
        cut()

    def _forget(self, number: int) -> None:
        """Take a handshake out of those under way, if it is among them."""
        network, _ = self._handshakes.pop(number, (b"", None))
        neighbours = self._shaking.get(network)
        if neighbours is not None:
            neighbours.pop(number, None)
            if not neighbours:
                del self._shaking[network]

    def _leave(self, network: bytes) -> None:
        self._alive -= 1
        left = self._networks[network] - 1
        if left:
            self._networks[network] = left
        else:
            del self._networks[network]
        waiting, self._waiting = self._waiting, []
        for resume in waiting:
            resume()
