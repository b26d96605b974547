"""Connections that may still turn out to have come to nothing, because a later line takes them back.

The last `REMEMBERED` ones are kept, under the numbers that stand for their hashed addresses, and never beyond their
interval. A bridge that has 90 of them in every second is not known: obfs4proxy gives a handshake 30 seconds, and a bad
one up to a minute more before it hangs up and says so.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from obfstats.publish.oldlogs.clients import SCRUBBED

if TYPE_CHECKING:
    from collections.abc import Callable

REMEMBERED = 1 << 13
"""Connections after which one is taken to have come to something."""

Client: TypeAlias = tuple[int, int | None]
"""The number of an address, and a port."""

C_SCRUBBED: Client = (SCRUBBED, None)
"""C obfsproxy scrubs the port as well, and tor's address."""

Taken: TypeAlias = tuple[int, str | None]
"""What is taken back: the number of an address, and a transport."""

_Key = TypeVar("_Key")


@dataclass(slots=True)
class _Connection:
    place: int
    number: int
    transport: str | None
    is_back: bool = False


class Failing:
    """The last connections.

    Attributes:
        place: how many there have been. Whoever knows that some cannot fail need not add them, and counts them here.
    """

    def __init__(self) -> None:
        self.place = 0
        self._swept = 0
        self._put_off: list[tuple[int, Callable[[], None]]] = []
        self._by_client: dict[Client, list[_Connection]] = defaultdict(list)
        self._by_destination: dict[bytes | None, list[_Connection]] = defaultdict(list)

    def add(self, client: Client, transport: str | None, destination: bytes | None = None) -> None:
        """Keep one.

        Args:
            client: whose it is.
            transport: its transport.
            destination: where it is to go, as far as that is said.
        """
        if self._put_off:
            self._catch_up()
        connection = _Connection(self.place, client[0], transport)
        self.place += 1
        self._by_client[client].append(connection)
        if destination is not None or client == C_SCRUBBED:
            self._by_destination[destination].append(connection)
        if self.place - self._swept > REMEMBERED:
            self._swept = self.place
            self._sweep(self._by_client)
            self._sweep(self._by_destination)

    def add_later(self, add: Callable[[], None]) -> None:
        """Put off adding the connections up to this place, until somebody asks for one: mostly nobody does.

        Args:
            add: adds them.
        """
        self._put_off = [(place, one) for place, one in self._put_off if self.place - place <= REMEMBERED]
        self._put_off.append((self.place, add))

    def take(self, client: Client) -> Taken | None:
        """Take back the latest of a client; give what that is, or None where there is nothing."""
        self._catch_up()
        return self._take(self._by_client.get(client))

    def take_refused(self, destination: bytes | None) -> Taken | None:
        """Take back the latest that was to go somewhere; give what that is, or None where there is nothing."""
        self._catch_up()
        return self._take(self._by_destination.get(destination))

    def _catch_up(self) -> None:
        """Add what was put off."""
        put_off, self._put_off, now = self._put_off, [], self.place
        for _, add in put_off:
            add()
        self.place = now

    def _take(self, connections: list[_Connection] | None) -> Taken | None:
        while connections:
            latest = connections.pop()
            if self._is_old(latest):
                return None
            if not latest.is_back:
                latest.is_back = True
                return latest.number, latest.transport
        return None

    def _sweep(self, kept: dict[_Key, list[_Connection]]) -> None:
        """Forget all that is too old, or has been taken back."""
        for key, connections in list(kept.items()):
            left = [one for one in connections if not one.is_back and not self._is_old(one)]
            if left:
                kept[key] = left
            else:
                del kept[key]

    def _is_old(self, connection: _Connection) -> bool:
        return self.place - connection.place > REMEMBERED
