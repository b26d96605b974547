"""What must be nowhere, and how it is looked for: clients' addresses in every form, and what leads back to them."""

from __future__ import annotations

import hashlib
import re
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FORMS = ("text", "text with dashes", "decimal", "hexadecimal", "reversed hexadecimal", "packed", "reversed packed")
"""The forms of an address that are looked for."""


def forms(address: str) -> tuple[bytes, ...]:
    """Write an address down in every form, in the order of `FORMS`."""
    packed = IPv4Address(address).packed
    backwards = packed[::-1]
    texts = (address, address.replace(".", "-"), str(int.from_bytes(packed, "big")), packed.hex(), backwards.hex())
    return (*(text.encode() for text in texts), packed, backwards)


def find_addresses(text: bytes, addresses: Iterable[str]) -> list[str]:
    """Say in which forms any of the addresses stands in a text; the addresses themselves are not repeated.

    Eight hexadecimal digits turn up inside the log's hashes by chance, so that form counts as a word of its own only;
    what the hashes may hide is looked for with `plain_hashes`.
    """
    lowered = text.lower()
    words = set(re.findall(rb"[0-9a-f]+", lowered.replace(b"0x", b" ")))
    found = set()
    for address in addresses:
        for name, form in zip(FORMS, forms(address), strict=True):
            if name.endswith("hexadecimal"):
                here = form in words
            elif name.endswith("packed"):
                here = form in text
            else:
                here = form in lowered
            if here:
                found.add(name)
    return sorted(found)


def plain_hashes(addresses: Iterable[str]) -> Iterator[str]:
    """Hash addresses without a secret in the ways that come to mind, which anybody could look up: 40 digits each."""
    for address in addresses:
        for form in (address.encode(), IPv4Address(address).packed):
            for name in ("sha1", "sha256", "blake2b"):
                yield hashlib.new(name, form, usedforsecurity=False).hexdigest()[:40]
            yield hashlib.blake2b(form, digest_size=20).hexdigest()
