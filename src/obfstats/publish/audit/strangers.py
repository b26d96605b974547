"""Lines that do not belong into what is published: they may hold anything, and are only counted.

What is looked for in them is what must never get out: an IP address, and 40 hex digits, which are a hash of the log or
a fingerprint. Lines that are of the grammar have room for neither.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from obfstats.publish.audit.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_IPV4 = re.compile(rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_HEX_AND_COLONS = re.compile(rb"[0-9A-Fa-f:]{2,}")
_HEX40 = re.compile(rb"[0-9A-Fa-f]{40}")
_FINGERPRINT = re.compile(rb"fingerprint [0-9A-Fa-f ]{40,50}")


def has_address(line: bytes) -> bool:
    """Tell whether something in a line looks like an IP address."""
    return _IPV4.search(line) is not None or any(
        b"::" in match[0] or match[0].count(b":") >= 7 for match in _HEX_AND_COLONS.finditer(line)
    )


class Strangers:
    """How many such lines there are, and where the first one is."""

    def __init__(self) -> None:
        self._unknown = _Places()
        self._damaged = _Places()
        self._fingerprints = _Places()
        self._addresses = _Places()
        self._hashes = _Places()
        self._reason = ""

    def take_unknown(self, number: int, line: bytes) -> None:
        """Take a line that begins with no keyword that is known.

        Args:
            number: which line of the file it is, counted from 1.
            line: its bytes.
        """
        if _FINGERPRINT.fullmatch(line.rstrip()):
            self._fingerprints.add(number)
            return
        self._unknown.add(number)
        self._search(number, line)

    def take_damaged(self, number: int, line: bytes, reason: str) -> None:
        """Take a line whose keyword is known and that is not of the grammar, or not in its place.

        Args:
            number: which line of the file it is, counted from 1.
            line: its bytes.
            reason: what is wrong with it, in words that do not quote it.
        """
        self._reason = self._reason or reason
        self._damaged.add(number)
        self._search(number, line)

    def findings(self) -> Iterator[Finding]:
        """Give what was found: alarms all of them."""
        if self._fingerprints:
            yield _alarm(
                f"{self._fingerprints} there is the bridge's fingerprint itself, by which the bridge can be found. "
                "Publish its hash: --fingerprint HEX writes that."
            )
        if self._addresses:
            yield _alarm(f"{self._addresses} there is something that looks like an IP address.")
        if self._hashes:
            yield _alarm(f"{self._hashes} there are 40 hex digits where none belong: a hash, or a fingerprint.")
        if self._unknown:
            yield _alarm(
                f"{self._unknown} there is a keyword that is not known: what is not understood must not be published."
            )
        if self._damaged:
            yield _alarm(f"{self._damaged} something is wrong ({self._reason}): it may hold anything.")

    def _search(self, number: int, line: bytes) -> None:
        if has_address(line):
            self._addresses.add(number)
        if _HEX40.search(line):
            self._hashes.add(number)


class _Places:
    """Lines of one sort: how many, and which is the first."""

    def __init__(self) -> None:
        self._count = 0
        self._first = 0

    def add(self, number: int) -> None:
        self._first = self._first or number
        self._count += 1

    def __bool__(self) -> bool:
        return self._count > 0

    def __str__(self) -> str:
        if self._count == 1:
            return f"In line {self._first:,}"
        return f"In {self._count:,} lines, the first is line {self._first:,},"


def _alarm(text: str) -> Finding:
    return Finding(text, is_alarm=True)
