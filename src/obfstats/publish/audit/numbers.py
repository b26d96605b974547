"""What the numbers of documents tell: whether they are rounded, in which order they stand, how small they are.

Numbers with noise are another matter (noise.py has the promise): they are neither rounded nor sorted by what was
rounded away, and no other number of the same clients may stand beside them.
"""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from obfstats.formats.document import sorted_by_size
from obfstats.publish.audit.findings import Finding, numbered
from obfstats.publish.audit.margins import narrow
from obfstats.publish.noise import MAX_EPSILON
from obfstats.publish.simple import round_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from obfstats.formats.document import Document

SMALLEST = round_up(1)
"""What one client gives, or as many."""

_FEW = 10
"""Transports that are named."""


class _Margins(NamedTuple):
    """What lines beside each other tell, in all documents together."""

    cells: int = 0
    narrowed: int = 0
    known: int = 0
    inconsistent: int = 0


class Numbers:
    """The numbers of many documents, added up as they come."""

    def __init__(self, *, counts_pairs: bool = False) -> None:
        """Begin with none.

        Args:
            counts_pairs: whether a client is an address and a transport, as for tor.
        """
        self._counts_pairs = counts_pairs
        self._countries: set[str] = set()
        self._transports: set[str] = set()
        self._exact = 0
        self._unordered = 0
        self._cells = 0
        self._small = 0
        self._single_requests = 0
        self._margins = _Margins()
        self._epsilons: Counter[Fraction] = Counter()
        self._beside_noise = 0
        self._requests_beside_noise = 0

    def add(self, document: Document) -> None:
        """Take one document."""
        self._countries.update(document.ips or (), document.requests or ())
        self._transports.update(document.ip_transports or ())
        self._unordered += not _is_ordered(document)
        if document.epsilon is None:
            self._add_rounded(document)
        else:
            self._add_noisy(document)

    def findings(self) -> Iterator[Finding]:
        """Give what was found."""
        if self._countries:
            yield Finding(f"There are numbers of {numbered(len(self._countries), 'country', 'countries')}.")
        if self._transports:
            names = sorted(self._transports)
            more = f" and {len(names) - _FEW:,} more" if len(names) > _FEW else ""
            yield Finding(f"Transports that are named: {', '.join(names[:_FEW])}{more}.")
        if self._exact:
            yield Finding(
                f"{numbered(self._exact, 'number is', 'numbers are')} not rounded up to a multiple of {SMALLEST}: one "
                "client more or less shows.",
                is_alarm=True,
            )
        if self._unordered:
            yield Finding(
                f"The order of numbers is neither by size nor by name, in {numbered(self._unordered, 'interval')}: it "
                "may tell what was rounded away. Sort them after rounding.",
                is_alarm=True,
            )
        yield from self._small_findings()
        yield from _margin_findings(self._margins)
        yield from self._noise_findings()

    def _add_rounded(self, document: Document) -> None:
        exact = sum(number % SMALLEST != 0 for numbers in _lines(document) for number in numbers.values())
        self._exact += exact
        clients, requests = document.ips or {}, document.requests or {}
        small = [code for code, number in clients.items() if 0 < number <= SMALLEST]
        self._cells += len(clients)
        self._small += len(small)
        self._single_requests += sum(0 < requests.get(code, 0) <= SMALLEST for code in small)
        if exact:
            return
        found, margins = narrow(document, counts_pairs=self._counts_pairs), self._margins
        self._margins = _Margins(
            margins.cells + found.cells,
            margins.narrowed + found.narrowed,
            margins.known + found.known,
            margins.inconsistent + (not found.is_consistent),
        )

    def _add_noisy(self, document: Document) -> None:
        self._epsilons[Fraction(document.epsilon or 0)] += 1
        self._requests_beside_noise += document.requests is not None
        self._beside_noise += any(
            numbers is not None
            for numbers in (document.ip_versions, document.ip_transports, document.ip_country_transports)
        )

    def _small_findings(self) -> Iterator[Finding]:
        if not self._small:
            return
        text = (
            f"{self._small:,} of {numbered(self._cells, 'number')} of clients by country and interval "
            f"{'is' if self._small == 1 else 'are'} {SMALLEST}: that somebody was there, one to eight."
        )
        if self._single_requests:
            text += f" Beside {self._single_requests:,} of them there are no more than {SMALLEST} requests."
        yield Finding(text)

    def _noise_findings(self) -> Iterator[Finding]:
        if self._requests_beside_noise:
            yield Finding(
                f"Beside the noise of {numbered(self._requests_beside_noise, 'interval')} there are requests: one "
                "client makes any number of them, so that no noise is enough.",
                is_alarm=True,
            )
        if self._beside_noise:
            yield Finding(
                f"Beside the noise of {numbered(self._beside_noise, 'interval')} there are other numbers of the same "
                "clients: they take away what the noise promises.",
                is_alarm=True,
            )
        for epsilon, releases in sorted(self._epsilons.items()):
            yield Finding(
                f"{numbered(releases, 'interval has', 'intervals have')} noise of epsilon {_decimal(epsilon)}: "
                "whatever odds a reader gave that a client was there, one release changes them by a factor of "
                f"{_factor(epsilon)} at most."
            )
            if epsilon > MAX_EPSILON:
                yield Finding(f"Noise of epsilon {_decimal(epsilon)} is next to none.", is_alarm=True)
        total = sum(epsilon * releases for epsilon, releases in self._epsilons.items())
        if self._epsilons.total() > 1:
            yield Finding(
                f"For a client who came in each of these {self._epsilons.total():,} intervals they add up to epsilon "
                f"{_decimal(Fraction(total))}, a factor of {_factor(Fraction(total))}."
            )


def _lines(document: Document) -> Iterator[Mapping[str, int]]:
    """Give the numbers of each line."""
    for numbers in (document.ips, document.requests, document.ip_versions, document.ip_transports):
        yield numbers or {}
    yield {"/".join(key): number for key, number in (document.ip_country_transports or {}).items()}


def _is_ordered(document: Document) -> bool:
    """Tell whether the order of every line is one that anybody could have made from what is published."""
    *lines, by_transport = _lines(document)
    place = {code: place for place, code in enumerate(document.ips or ())}
    of_countries = sorted(by_transport, key=lambda name: (place.get(name[:2], len(place)), name))
    return all(list(numbers) in (sorted_by_size(numbers), sorted(numbers)) for numbers in lines) and (
        list(by_transport) in (of_countries, sorted_by_size(by_transport), sorted(by_transport))
    )


def _margin_findings(margins: _Margins) -> Iterator[Finding]:
    if margins.inconsistent:
        yield Finding(
            f"The numbers of {numbered(margins.inconsistent, 'interval')} cannot all be true: what the same clients "
            "add up to differs from line to line."
        )
    if margins.known:
        yield Finding(
            f"{numbered(margins.known, 'number')} can be told exactly, as if not rounded at all, because other lines "
            "split the same clients up as well. Leave those lines out.",
            is_alarm=True,
        )
    if closer := margins.narrowed - margins.known:
        yield Finding(
            f"{numbered(closer, 'number')} of {margins.cells:,} can be told closer than to the eight that rounding "
            "leaves open, because other lines split the same clients up as well."
        )


def _decimal(number: Fraction) -> str:
    """Write a number that has six decimals at most."""
    return f"{float(number):,.6f}".rstrip("0").rstrip(".")


def _factor(epsilon: Fraction) -> str:
    """Write how much a release can change."""
    if epsilon > MAX_EPSILON:
        return "more than 400 million, which promises nothing"
    factor = math.exp(epsilon)
    return f"{factor:,.2f}" if factor < 100 else f"{factor:,.0f}"
