"""From exact numbers to a document: rounded up, or noisy (ticket 5047, comments 1 to 3).

Rounding up to a multiple of 8 is done last, on each number by itself; what is published is sorted afterwards
(formats/document.py), so that the order gives nothing back. A document with noise holds the unique addresses and no
other number: each further one would cost privacy of its own (noise.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha1
from typing import TYPE_CHECKING, TypeVar

from obfstats.formats.document import Document
from obfstats.formats.interval import format_time
from obfstats.publish.noise import noisy, write_epsilon
from obfstats.publish.simple import round_up

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from obfstats.formats.counts import Counts
    from obfstats.formats.document import GeoIpSource

_Name = TypeVar("_Name")

_FINGERPRINT = re.compile("[0-9A-Fa-f]{40}")


@dataclass(frozen=True, slots=True)
class Heading:
    """What documents say beside numbers.

    Attributes:
        fingerprint: the bridge's, hashed; None to leave it out.
        extended: whether there are more lines than the ticket's four.
        geoip: where countries of IPv4 come from, if that is known.
        geoip6: the same for IPv6.
    """

    fingerprint: str | None = None
    extended: bool = False
    geoip: GeoIpSource | None = None
    geoip6: GeoIpSource | None = None


def hash_fingerprint(fingerprint: str) -> str:
    """Hash a bridge's fingerprint, as it is published: SHA-1 over its 20 bytes (ticket 5047, comment 5).

    Args:
        fingerprint: 40 hex digits.

    Raises:
        ValueError: if it is something else.
    """
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise ValueError("a fingerprint has 40 hexadecimal digits")
    return sha1(bytes.fromhex(fingerprint), usedforsecurity=False).hexdigest()


def rounded_document(counts: Counts, heading: Heading) -> Document:
    """Round an interval's numbers up to multiples of 8."""
    more = heading.extended
    by_country = counts.country_transports if more else None
    return Document(
        end=format_time(counts.interval.end),
        seconds=counts.interval.seconds,
        fingerprint=heading.fingerprint,
        ips=_upper(_rounded(counts.addresses)),
        requests=_upper(_rounded(counts.requests)),
        ip_versions=_rounded(_both(counts.families)) if more else None,
        ip_transports=_rounded(counts.transports) if more else None,
        ip_country_transports=None
        if by_country is None
        else {(country.upper(), name): round_up(number) for (country, name), number in by_country.items()},
        geoip=heading.geoip if more else None,
        geoip6=heading.geoip6 if more else None,
        is_typed=more,
    )


def noisy_document(counts: Counts, heading: Heading, codes: Sequence[str], epsilon: Fraction) -> Document:
    """Add noise to an interval's unique addresses. Every call draws anew: see that it is called once (ledger.py).

    Args:
        counts: of an interval whose addresses are known.
        heading: what else is said.
        codes: the countries that the GeoIP source can tell, whether somebody came from there or not.
        epsilon: how much a release may tell of one client.
    """
    more = heading.extended
    return Document(
        end=format_time(counts.interval.end),
        seconds=counts.interval.seconds,
        fingerprint=heading.fingerprint,
        epsilon=write_epsilon(epsilon),
        ips=_upper(noisy(counts.addresses or {}, codes, epsilon)),
        geoip=heading.geoip if more else None,
        geoip6=heading.geoip6 if more else None,
        is_typed=more,
    )


def _rounded(numbers: Mapping[_Name, int] | None) -> dict[_Name, int] | None:
    return None if numbers is None else {name: round_up(number) for name, number in numbers.items()}


def _upper(numbers: Mapping[str, int] | None) -> dict[str, int] | None:
    return None if numbers is None else {code.upper(): number for code, number in numbers.items()}


def _both(families: Mapping[str, int] | None) -> Mapping[str, int] | None:
    """Have both families stand there, as tor has them: none of one is no news."""
    return None if families is None else {"v4": 0, "v6": 0, **families}
