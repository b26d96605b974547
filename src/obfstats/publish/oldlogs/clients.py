"""Who was there in one interval: hashed addresses, their countries, and how often each came.

An address goes in once, packed, to have its country looked up and to be hashed; nothing keeps it. What is kept is
forgotten with the interval, and the caller then draws a new secret.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from obfstats.formats.counts import ClientClass
from obfstats.formats.logline import UNKNOWN_COUNTRY, Columns
from obfstats.publish.oldlogs.sums import Sum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SCRUBBED = -1
"""Stands for every client whose address is not known."""


class Surroundings(NamedTuple):
    """What counting needs of the outside: countries, and hashes under a secret that can be changed.

    Attributes:
        country_v4: gives the lower-case country code of a packed IPv4 address (4 bytes), or `??`.
        country_v6: the same for a packed IPv6 address (16 bytes).
        renew: draws a new secret; called at the end of every interval.
        digest: hashes a packed address under the secret: the same one gives the same hash until the next `renew`.
    """

    country_v4: Callable[[bytes], str]
    country_v6: Callable[[bytes], str]
    renew: Callable[[], None]
    digest: Callable[[bytes], bytes]


class Clients:
    """The clients of one interval.

    Args:
        around: countries and hashes.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._numbers: dict[bytes, int] = {}
        self._countries: list[str] = []
        self._families: list[str] = []
        self._came: dict[str | None, Counter[int]] = defaultdict(Counter)

    def number(self, packed: bytes) -> int:
        """Give the number that stands for an address, a new one if it was not there before."""
        return self.numbers((packed,))[0]

    def numbers(self, packed: Iterable[bytes]) -> list[int]:
        """Give the numbers that stand for many addresses, new ones for those that were not there before."""
        digest, known = self._around.digest, self._numbers
        numbers = []
        for one in packed:
            digested = digest(one)
            number = known.get(digested)
            if number is None:
                number = known[digested] = len(known)
                is_v4 = len(one) == 4
                self._countries.append(self._around.country_v4(one) if is_v4 else self._around.country_v6(one))
                self._families.append("v4" if is_v4 else "v6")
            numbers.append(number)
        return numbers

    def known(self, packed: bytes) -> int | None:
        """Give the number that stands for an address; None if it was not there before."""
        return self._numbers.get(self._around.digest(packed)) if self._numbers else None

    def come(self, number: int, transport: str | None, times: int = 1) -> None:
        """Count connections.

        Args:
            number: of the address, or `SCRUBBED`.
            transport: its name; None where it is not known.
            times: how many there were; less than 0 to take some back.
        """
        self._came[transport][number] += times

    def come_many(self, times: Iterable[tuple[int, int]], transport: str | None) -> None:
        """Count many connections.

        Args:
            times: numbers of addresses, or `SCRUBBED`, and how often each came.
            transport: the transport of them all.
        """
        came = self._came[transport]
        for number, count in times:
            if count:
                came[number] += count

    @property
    def connections(self) -> int:
        """How many there were and have not been taken back."""
        return sum(came.total() for came in self._came.values())

    def sum_up(self) -> Sum:
        """Give the numbers of what has been counted up to now."""
        came = {transport: _positive(clients) for transport, clients in self._came.items()}
        came = {transport: clients for transport, clients in came.items() if clients}
        scrubbed = sum(clients.pop(SCRUBBED, 0) for clients in came.values())
        requests = Counter[str]()
        for clients in came.values():
            for country, times in zip(map(self._countries.__getitem__, clients), clients.values(), strict=True):
                requests[country] += times
        if scrubbed:
            requests[UNKNOWN_COUNTRY] += scrubbed
        return Sum(requests, scrubbed, self._classes(came, is_whole=not scrubbed))

    def _classes(self, came: dict[str | None, dict[int, int]], *, is_whole: bool) -> Counter[ClientClass]:
        """Give the numbers of different addresses by class.

        Args:
            came: clients by transport.
            is_whole: whether every client's address is known.
        """
        columns = defaultdict[int, set[Columns]](set)
        for transport, clients in came.items():
            for number in clients:
                columns[number].add(Columns(transport, self._families[number]) if is_whole else Columns())
        return Counter(ClientClass(self._countries[number], frozenset(columns)) for number, columns in columns.items())


def _positive(clients: Counter[int]) -> dict[int, int]:
    return {number: times for number, times in clients.items() if times > 0}
