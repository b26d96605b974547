"""The clients of one interval: hashed addresses, their countries, and how often each connected.

- A packed address is looked up, for its country, and hashed. It is not kept. What is kept is dropped with the
  interval; the caller then draws a new secret.
- A later line may revoke a connection: its handshake failed, or tor could not be reached. Only the last `MAX_REVOCABLE`
  connections of the interval can be revoked. obfs4proxy gives a handshake 30 seconds, and a bad one up to a minute more
  before it logs the failure: a bridge would need 90 connections in every second to exceed the limit.
- A connection with a scrubbed address is a request of `??`, and no address.
- If some addresses are scrubbed, transports and families of the others are left out: numbers of some clients must not
  look like numbers of all.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from obfstats.formats.address import family_of
from obfstats.formats.counts import ClientClass, Counts
from obfstats.formats.logline import UNKNOWN_COUNTRY, Columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.formats.interval import Interval
    from obfstats.formats.oldlog import ClientConnected, ClientFailed, DestinationRefused

MAX_REVOCABLE = 1 << 13
"""Connections after which an earlier one can no longer be revoked."""

_SCRUBBED = -1
"""The client id of every connection whose address is unknown."""

_NO_PORT = 1 << 16
_PORT_BITS = 17

_Value = TypeVar("_Value")


class CountingContext(NamedTuple):
    """What counting needs from outside: countries, and hashes under a secret that can be renewed.

    Attributes:
        country_v4: gives the lower-case country code of a packed IPv4 address (4 bytes), or `??`.
        country_v6: the same for a packed IPv6 address (16 bytes).
        renew_secret: draws a new secret; called at the end of every interval.
        hash_address: hashes a packed address under the secret; the same address gives the same hash until the next
            `renew_secret`.
    """

    country_v4: Callable[[bytes], str]
    country_v6: Callable[[bytes], str]
    renew_secret: Callable[[], None]
    hash_address: Callable[[bytes], bytes]


class IntervalClients:
    """Counts the clients of one interval.

    Attributes:
        connections: how many there were and have not been revoked.
    """

    def __init__(self, context: CountingContext) -> None:
        self.connections = 0
        self._context = context
        self._client_ids: dict[bytes, int] = {}
        self._countries_and_families: list[tuple[str, str]] = []
        self._by_client: dict[tuple[int, str | None], int] = defaultdict(int)
        # The last connections, the latest first.
        self._client_ports = deque[int](maxlen=MAX_REVOCABLE)
        self._destinations = deque[bytes | None](maxlen=MAX_REVOCABLE)
        self._transports = deque[str | None](maxlen=MAX_REVOCABLE)

    def count(self, event: ClientConnected) -> None:
        """Count a connection."""
        client = _SCRUBBED if event.address is None else self._client_id(event.address)
        self.connections += 1
        self._by_client[client, event.transport] += 1
        self._client_ports.appendleft(_client_port(client, event.port))
        self._destinations.appendleft(event.destination)
        self._transports.appendleft(event.transport)

    def revoke_failed(self, event: ClientFailed) -> None:
        """Revoke the latest connection from an address and port, if there is one."""
        if event.address is None:
            self._revoke(self._client_ports, _client_port(_SCRUBBED, event.port))
        elif (
            self._client_ids and (client := self._client_ids.get(self._context.hash_address(event.address))) is not None
        ):
            self._revoke(self._client_ports, _client_port(client, event.port))

    def revoke_refused(self, event: DestinationRefused) -> None:
        """Revoke the latest connection to a destination, if there is one."""
        self._revoke(self._destinations, event.destination)

    @property
    def scrubbed_connections(self) -> int:
        """How many of the connections have no known address."""
        return sum(times for (client, _), times in self._by_client.items() if client == _SCRUBBED)

    def counts(self, interval: Interval) -> Counts:
        """Give the numbers so far; clients are None if every address is scrubbed.

        Args:
            interval: the interval.
        """
        scrubbed = self.scrubbed_connections
        requests = Counter[str]()
        columns: dict[int, set[Columns]] = defaultdict(set)
        for (client, transport), times in self._by_client.items():
            if not times:
                continue
            if client == _SCRUBBED:
                requests[UNKNOWN_COUNTRY] += times
            else:
                country, family = self._countries_and_families[client]
                requests[country] += times
                columns[client].add(Columns(None, None) if scrubbed else Columns(transport, family))
        clients = Counter(
            ClientClass(self._countries_and_families[client][0], frozenset(each)) for client, each in columns.items()
        )
        return Counts(interval, requests, None if 0 < scrubbed == self.connections else clients)

    def _client_id(self, packed: bytes) -> int:
        """Give the id of a client, a new one if it has not been seen before."""
        hash_bytes = self._context.hash_address(packed)
        client_id = self._client_ids.get(hash_bytes)
        if client_id is None:
            client_id = self._client_ids[hash_bytes] = len(self._client_ids)
            family = family_of(packed)
            lookup = self._context.country_v4 if family == "v4" else self._context.country_v6
            self._countries_and_families.append((lookup(packed), family))
        return client_id

    def _revoke(self, column: deque[_Value], value: _Value) -> None:
        """Revoke the latest connection that has a value in one of the columns."""
        try:
            index = column.index(value)
        except ValueError:
            return
        self._by_client[self._client_ports[index] >> _PORT_BITS, self._transports[index]] -= 1
        self.connections -= 1
        for each in (self._client_ports, self._destinations, self._transports):
            del each[index]


def _client_port(client: int, port: int | None) -> int:
    """Give one integer for a client and its port: an integer is found faster in a deque than a pair."""
    return client << _PORT_BITS | (_NO_PORT if port is None else port)
