"""Each network's share of the connections: an IPv4 /24, an IPv6 /48.

A client that fills the share until it is refused learns how many connections its neighbours have: the share less its
own. So the limit is drawn:

- It lies between a half and all of the share. One part of the draw depends on the network and a key of this process,
  so that repeating does not help to find the number itself; the other part is drawn anew each time, so that a change of
  the number does not show either.
- A network that was refused stays full until it has fewer connections again, by a random number. So each new draw costs
  an attacker as many new connections, and trying at the limit tells nothing.
- A share below about a hundred is too small to hide much.

Networks are kept only as long as they are connected; an address never.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING

from obfstats.proxy.limits import network_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.formats.address import ClientAddress

OVER_SHARE = "over the limit per network; see --max-per-network"

KEY_LENGTH = 32

_LIMIT_DIVISOR = 4
"""Each of the two parts of the draw takes at most 1/4 of the share away."""

_GAP_DIVISOR = 8
"""A network is full until it has at most 1/8 of the share fewer connections."""


@dataclass(slots=True)
class _Network:
    """A network that is connected.

    Attributes:
        limit: how many connections it may have.
        count: how many it has.
        is_full: whether it was refused, and has not had `limit` again.
    """

    limit: int
    count: int = 0
    is_full: bool = False


class NetworkShares:
    """The shares of all networks, for all listeners of a program together."""

    def __init__(self, share: int, key: bytes, draw: Callable[[float, float], float]) -> None:
        """Set up.

        Args:
            share: how many connections a network may have at most.
            key: KEY_LENGTH random bytes.
            draw: returns a random number between two.
        """
        self._share = share
        self._key = key
        self._draw = draw
        self._networks: dict[bytes, _Network] = {}

    def take(self, client: ClientAddress) -> Callable[[], None] | None:
        """Take a connection's part of its network's share.

        Args:
            client: the connection's other end.

        Returns:
            what to call, once, when the connection is closed; None if its network is full.
        """
        name = network_of(client)
        network = self._networks.get(name)
        if network is None:
            network = self._networks[name] = _Network(self._draw_limit(name))
        if network.is_full and network.count <= network.limit:
            network.limit, network.is_full = max(network.count + 1, self._draw_limit(name)), False
        if not network.is_full and network.count >= network.limit:
            gap = 1 + self._draw_below(self._share // _GAP_DIVISOR)
            network.limit, network.is_full = max(0, network.count - gap), True
        if network.is_full:
            return None
        network.count += 1
        return partial(self._release, name, network)

    def _draw_limit(self, name: bytes) -> int:
        part = self._share // _LIMIT_DIVISOR
        digest = blake2b(name, key=self._key, digest_size=8).digest()
        return self._share - int.from_bytes(digest) % (part + 1) - self._draw_below(part)

    def _draw_below(self, most: int) -> int:
        """Draw a number from 0 to `most`."""
        return min(most, int(self._draw(0.0, most + 1.0)))

    def _release(self, name: bytes, network: _Network) -> None:
        network.count -= 1
        if not network.count:
            del self._networks[name]
