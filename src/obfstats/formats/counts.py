"""What is counted of one interval: the exact numbers, between the log and the document.

They exist in memory only. Whatever is written down of them is rounded up or noisy first: see formats/document.py for
what a document holds of them.

- A request is a line of the log: one counted connection.
- An address is a hash, within one country: one client as the ticket counts (ticket 5047, "unique IPs").
- A pair is an address and a transport: one client as tor counts (dir-spec, bridge-ips).
- Where one line of the interval lacks a column the whole interval lacks it: what counts a part must not look like a
  whole. Numbers that depend on it are None then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERVAL_SECONDS = 86_400
"""Length of an interval: the ticket's, and Tor's."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Numbers of different (address, transport) pairs; of addresses, where the log does not name transports.

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
        start: start of the interval, `YYYY-MM-DD HH:MM:SS`, UTC.
        requests: lines, by lower-case country code.
        lines: different lines by country: the ticket's second table, where an address with two transports is two.
        addresses: different addresses by country; None where they are not known (old logs without addresses).
        pairs: as tor counts.
        families: different addresses by `v4` and `v6`; None without that column.
        transports: different addresses by transport, one with two transports under both; None without that column.
        country_transports: the same by (country, transport); None without that column.
    """

    start: str
    requests: Mapping[str, int]
    lines: Mapping[str, int] = field(default_factory=dict)
    addresses: Mapping[str, int] | None = None
    pairs: Pairs | None = None
    families: Mapping[str, int] | None = None
    transports: Mapping[str, int] | None = None
    country_transports: Mapping[tuple[str, str], int] | None = None
