"""From exact numbers to a document: rounded up, or with noise, and never longer than readers accept.

Each number is rounded up to a multiple of 8 by itself, as the last step; what is published is sorted afterwards
(formats/document.py), so that the order gives nothing back (ticket 5047, comments 1 to 3). A document with noise holds
the different addresses by country and no other number: each further number would cost privacy of its own (noise.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from hashlib import sha1
from typing import TYPE_CHECKING, TypeVar

from obfstats.formats.address import WHOLE_IPV6
from obfstats.formats.counts import round_up
from obfstats.formats.document import INSTANCE_NAME, Document, DocumentError, find_minor, write_document
from obfstats.formats.interval import format_time
from obfstats.publish.noise import add_noise, write_epsilon

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from fractions import Fraction

    from obfstats.formats.counts import Counts
    from obfstats.formats.document import GeoIpSource

_Name = TypeVar("_Name")

FAMILIES = {"v4": 0, "v6": 0}
"""Both address families, without a client; a published line names both, as tor's does."""

_FINGERPRINT = re.compile("[0-9A-Fa-f]{40}")


@dataclass(frozen=True, slots=True)
class DocumentOptions:
    """What documents contain beside the interval and its numbers.

    Attributes:
        fingerprint: the bridge's hashed fingerprint; None to leave it out.
        extended: whether to add the lines that the ticket's document does not have.
        geoip: where the countries of IPv4 addresses come from, if known.
        geoip6: the same for IPv6.
        ipv6_prefix: bits of an IPv6 address that told clients apart.
        instance: name of one of several instances of a bridge; None for the only one.
    """

    fingerprint: str | None = None
    extended: bool = False
    geoip: GeoIpSource | None = None
    geoip6: GeoIpSource | None = None
    ipv6_prefix: int = field(default=WHOLE_IPV6, kw_only=True)
    instance: str | None = field(default=None, kw_only=True)


def hash_fingerprint(fingerprint: str) -> str:
    """Hash a bridge's fingerprint as Tor publishes it: SHA-1 over its 20 bytes (ticket 5047, comment 5).

    Args:
        fingerprint: 40 hex digits.

    Raises:
        ValueError: if it is something else.
    """
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise ValueError("a fingerprint has 40 hexadecimal digits")
    return sha1(bytes.fromhex(fingerprint), usedforsecurity=False).hexdigest()


def parse_instance(text: str) -> str:
    """Check the name of an instance.

    Raises:
        ValueError: if it is none.
    """
    if not INSTANCE_NAME.fullmatch(text):
        raise ValueError(
            "give 1 to 32 letters, digits, '-', '_' and '.', beginning with a letter or digit, without an IP address"
        )
    return text


def rounded_document(counts: Counts, options: DocumentOptions) -> Document:
    """Round an interval's numbers up to multiples of 8."""
    document = replace(
        _empty_document(counts, options),
        ips=_upper(_rounded(counts.addresses)),
        requests=_upper(_rounded(counts.requests)),
    )
    if not options.extended:
        return document
    families, cells = counts.families, _rounded(counts.country_transports)
    return replace(
        document,
        ip_versions=None if families is None else _rounded(FAMILIES | families),
        ip_transports=_rounded(counts.transports),
        ip_country_transports=None
        if cells is None
        else {(country.upper(), transport): number for (country, transport), number in cells.items()},
    )


def noisy_document(counts: Counts, options: DocumentOptions, codes: Sequence[str], epsilon: Fraction) -> Document:
    """Add noise to an interval's different addresses.

    Every call draws new noise, so call it once for an interval (ledger.py).

    Args:
        counts: an interval whose addresses are known.
        options: what else the document contains.
        codes: every country of the GeoIP source, with a client or not.
        epsilon: bound on what a release reveals of one client.
    """
    return replace(
        _empty_document(counts, options),
        epsilon=write_epsilon(epsilon),
        ips=_upper(add_noise(counts.addresses or {}, codes, epsilon)),
    )


def write_within_limit(document: Document, warn: Callable[[str], None]) -> bytes:
    """Write a document; where it would be too long, leave out its longest lines.

    A bridge with five transports and clients from every country stays far below the limit. A log that names hundreds
    of transports does not, and its other numbers are still worth publishing.

    Args:
        document: the document.
        warn: gets a sentence for the operator about what is left out.

    Raises:
        DocumentError: if it cannot be written in any case.
    """
    without_cells = replace(document, ip_country_transports=None)
    for shorter, left_out in (
        (document, ""),
        (without_cells, "transports by country"),
        (replace(without_cells, ip_transports=None), "transports"),
    ):
        try:
            text = write_document(shorter)
        except DocumentError:
            continue
        if left_out:
            warn(f"the document that ends {document.end} would be too long: its {left_out} are left out")
        return text
    return write_document(document)


def _empty_document(counts: Counts, options: DocumentOptions) -> Document:
    """Make an interval's document without numbers."""
    document = Document(
        end=format_time(counts.interval.end),
        seconds=counts.interval.seconds,
        fingerprint=options.fingerprint,
        geoip=options.geoip if options.extended else None,
        geoip6=options.geoip6 if options.extended else None,
        ipv6_prefix=None if options.ipv6_prefix == WHOLE_IPV6 else options.ipv6_prefix,
        instance=options.instance,
    )
    minor = find_minor(document)
    return replace(document, minor=minor if minor or options.extended else None)


def _rounded(numbers: Mapping[_Name, int] | None) -> dict[_Name, int] | None:
    return None if numbers is None else {name: round_up(number) for name, number in numbers.items()}


def _upper(numbers: Mapping[str, int] | None) -> dict[str, int] | None:
    return None if numbers is None else {code.upper(): number for code, number in numbers.items()}
