"""One interval's exact numbers, and the one definition of every number that is published (design, decision 10).

Two mappings are counted, and nothing else:

    requests    lines of the log, that is counted connections, by country
    clients     different addresses, by country and by how they connected

A client is a hash within one country (ticket 5047, "unique IPs"). How it connected is the set of different columns,
(transport, family) pairs, that its lines have: clients of one country with the same set are one class. Every published
number is a projection of these two mappings, so no two of them can disagree.

Where one line of the interval lacks a column, the whole interval lacks it: a number of some clients must not look like
a number of all. Projections that need that column are None then.

Exact numbers exist in memory only. What is written down of them is rounded up or noisy: see formats/document.py.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from obfstats.formats.interval import Interval
    from obfstats.formats.logline import Columns

ROUNDING_STEP = 8
"""Published numbers are multiples of this, as Tor's are."""

_Label = TypeVar("_Label", bound="Hashable")


class ClientClass(NamedTuple):
    """Clients that cannot be told apart in any published number.

    Attributes:
        country: lower-case country code, or `??`.
        columns: every different (transport, family) that each of them connected with.
    """

    country: str
    columns: frozenset[Columns]


class Pairs(NamedTuple):
    """Different (address, transport) pairs, which is what tor counts (dir-spec, bridge-ips).

    Attributes:
        countries: by lower-case country code.
        families: by `v4` and `v6`, those that occur; None without that column.
        transports: by name; None without that column.
    """

    countries: Mapping[str, int]
    families: Mapping[str, int] | None = None
    transports: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """One interval's numbers, none of them rounded.

    Attributes:
        interval: start and length.
        requests: connections by lower-case country code.
        clients: different addresses by class; None where addresses are not known (old logs without addresses).
    """

    interval: Interval
    requests: Mapping[str, int]
    clients: Mapping[ClientClass, int] | None

    @property
    def distinct_lines(self) -> dict[str, int]:
        """Different lines by country, what `sort -u` leaves: an address with two transports is two (the ticket)."""
        return _by_country(self._count(lambda columns: columns))

    @property
    def addresses(self) -> dict[str, int] | None:
        """Different addresses by country; None where addresses are not known."""
        return None if self.clients is None else _by_country(self._count(lambda _: ""))

    @property
    def families(self) -> dict[str, int] | None:
        """Different addresses by `v4` and `v6`; None without that column."""
        return _by_label(self._count(lambda columns: columns.family or "")) if self._has_family() else None

    @property
    def transports(self) -> dict[str, int] | None:
        """Different addresses by transport, one with two transports under both; None without that column."""
        numbers = self.country_transports
        return None if numbers is None else _by_label(numbers)

    @property
    def country_transports(self) -> dict[tuple[str, str], int] | None:
        """The same by (country, transport); None without that column."""
        return self._count(lambda columns: columns.transport or "") if self._has_transport() else None

    @property
    def pairs(self) -> Pairs | None:
        """What tor counts; addresses, where transports are not known; None where addresses are not known."""
        if self.clients is None:
            return None
        has_transport, has_family = self._has_transport(), self._has_family()
        pairs = self._count(
            lambda columns: (columns.transport if has_transport else "", columns.family if has_family else "")
        )
        countries, families, transports = Counter[str](), Counter[str](), Counter[str]()
        for (country, (transport, family)), number in pairs.items():
            countries[country] += number
            transports[transport or ""] += number
            families[family or ""] += number
        return Pairs(
            dict(countries), dict(families) if has_family else None, dict(transports) if has_transport else None
        )

    def has_all_columns(self) -> bool:
        """Tell whether every line has both further columns."""
        return self._has_transport() and self._has_family()

    def _has_transport(self) -> bool:
        return self.clients is not None and all(each.transport is not None for each in _all_columns(self.clients))

    def _has_family(self) -> bool:
        return self.clients is not None and all(each.family is not None for each in _all_columns(self.clients))

    def _count(self, label: Callable[[Columns], _Label]) -> dict[tuple[str, _Label], int]:
        """Count clients by country and label; a client counts once for each different label that its columns have."""
        numbers = Counter[tuple[str, _Label]]()
        for (country, columns), number in (self.clients or {}).items():
            for each in {label(one) for one in columns}:
                numbers[country, each] += number
        return dict(numbers)


def round_up(number: int) -> int:
    """Round up to the next multiple of 8."""
    return -(-number // ROUNDING_STEP) * ROUNDING_STEP


def _all_columns(clients: Iterable[ClientClass]) -> Iterable[Columns]:
    return {columns for one in clients for columns in one.columns}


def _by_country(numbers: Mapping[tuple[str, _Label], int]) -> dict[str, int]:
    summed = Counter[str]()
    for (country, _), number in numbers.items():
        summed[country] += number
    return dict(summed)


def _by_label(numbers: Mapping[tuple[str, _Label], int]) -> dict[_Label, int]:
    summed = Counter[_Label]()
    for (_, label), number in numbers.items():
        summed[label] += number
    return dict(summed)
