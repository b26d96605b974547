"""What the numbers of documents reveal: whether they are rounded, in which order they are, how small they are.

A number that was rounded up to 48 leaves open 41 to 48. Lines that split up the same clients in another way narrow
that: sixteen countries with 8 each, next to 16 clients in all, have one client each. `infer_bounds` finds what any
reader could infer, by applying these rules until nothing changes:

- the sum of the countries is that of the address families; where clients are counted as tor counts them, that of the
  transports as well;
- a transport is the sum of its countries; a country has no more clients than its transports together, and none of
  these has more clients than the country;
- a client has at least one transport and makes at least one request with each, so a country's transports together are
  at most its requests.

Numbers with noise are different (noise.py has the promise): they are neither rounded nor sorted by what was rounded
away, and no other number of the same clients may be published with them. noise_checks.py checks the noise.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from obfstats.formats.counts import ROUNDING_STEP
from obfstats.formats.document import sorted_by_size
from obfstats.publish.audit.findings import Code, finding
from obfstats.publish.audit.noise_checks import NoisyNumbers, has_same_noise, has_too_little_noise
from obfstats.publish.noise import MAX_EPSILON

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from obfstats.formats.document import Document
    from obfstats.publish.audit.findings import Finding

_Name = TypeVar("_Name")

_MAX_NAMED = 10
"""Transports that are named."""

_MIN_NOISY_COUNTRIES = 200
"""Countries that a document with noise names at least: tor's GeoIP files have 260, iptocc nearly as many."""

_TOO_LARGE = 100_000_000
"""Larger than any number of a bridge. As integers, most IPv4 addresses are larger."""

# No name has four numbers with dots or more than 32 characters: an address in another form, or a part of a hash.
_SUSPICIOUS_NAME = re.compile(r"[0-9]{1,3}(?:[_-][0-9]{1,3}){3}|(?=[a-f]*[0-9])[0-9a-f]{8}", re.IGNORECASE)

_MAX_ROUNDS = 20
"""How often all rules are applied; far more than anything but a forgery needs."""


class PublishedNumbers:
    """The numbers of many documents, added up document by document."""

    def __init__(self, *, counts_pairs: bool = False) -> None:
        """Start with none.

        Args:
            counts_pairs: whether a client is an address and a transport, as for tor.
        """
        self._counts_pairs = counts_pairs
        self._countries: set[str] = set()
        self._transports: set[str] = set()
        self._instances: set[str] = set()
        self._counts = Counter[Code]()
        self._clients = 0
        self._inferable = 0
        self._epsilons = Counter[Fraction]()
        self._noisy: list[NoisyNumbers] = []
        self._fewest_countries = _MIN_NOISY_COUNTRIES

    def add(self, document: Document) -> None:
        """Add one document's numbers."""
        self._countries.update(document.ips or (), document.requests or ())
        self._transports.update(document.ip_transports or ())
        self._transports.update(transport for _, transport in document.ip_country_transports or ())
        self._instances.update({document.instance or ""} - {""})
        self._counts[Code.TOO_LARGE] += sum(
            number >= _TOO_LARGE for numbers in _lines(document) for number in numbers.values()
        )
        self._counts[Code.UNORDERED] += not _is_ordered(document)
        if document.epsilon is None:
            self._add_rounded(document)
        else:
            self._add_noisy(document.ips or {}, document)
            others = document.ip_versions, document.ip_transports, document.ip_country_transports
            self._counts[Code.NOISE_WITH_REQUESTS] += document.requests is not None
            self._counts[Code.NOISE_WITH_OTHER_NUMBERS] += any(numbers is not None for numbers in others)

    def findings(self) -> Iterator[Finding]:
        """Give what was found."""
        if self._countries:
            yield finding(Code.COUNTRIES, countries=len(self._countries))
        suspicious = {name for name in self._transports | self._instances if is_suspicious_name(name)}
        if suspicious:
            yield finding(Code.SUSPICIOUS_NAMES, names=len(suspicious))
        names = sorted(self._transports - suspicious)
        if names:
            more = f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
            yield finding(Code.TRANSPORTS, names=", ".join(names[:_MAX_NAMED]) + more)
        yield from self._numbered(Code.NOT_ROUNDED, "numbers")
        yield from self._numbered(Code.ZEROS, "numbers")
        yield from self._numbered(Code.TOO_LARGE, "numbers")
        yield from self._numbered(Code.UNORDERED, "intervals")
        yield from self._numbered(Code.SMALL_NUMBERS, "small", numbers=self._clients)
        yield from self._numbered(Code.CONTRADICTION, "intervals")
        yield from self._numbered(Code.INFERRED_EXACTLY, "numbers")
        yield from self._numbered(Code.INFERRED_CLOSELY, "numbers", cells=self._inferable)
        yield from self._numbered(Code.NOISE_WITH_REQUESTS, "intervals")
        yield from self._numbered(Code.NOISE_WITH_OTHER_NUMBERS, "intervals")
        yield from self._noise_findings()

    def _numbered(self, code: Code, name: str, **values: int) -> Iterator[Finding]:
        if self._counts[code]:
            yield finding(code, **{name: self._counts[code]}, **values)

    def _add_rounded(self, document: Document) -> None:
        clients, requests = document.ips or {}, document.requests or {}
        self._clients += len(clients)
        self._counts[Code.SMALL_NUMBERS] += sum(0 < number <= ROUNDING_STEP for number in clients.values())
        by_country = clients, requests, document.ip_country_transports or {}
        self._counts[Code.ZEROS] += sum(not number for numbers in by_country for number in numbers.values())
        exact = sum(number % ROUNDING_STEP != 0 for numbers in _lines(document) for number in numbers.values())
        self._counts[Code.NOT_ROUNDED] += exact
        if exact:
            return
        inferred = infer_bounds(document, counts_pairs=self._counts_pairs)
        self._inferable += inferred.cells
        self._counts[Code.INFERRED_EXACTLY] += inferred.exact
        self._counts[Code.INFERRED_CLOSELY] += inferred.closer
        self._counts[Code.CONTRADICTION] += not inferred.is_consistent

    def _add_noisy(self, numbers: Mapping[str, int], document: Document) -> None:
        epsilon = Fraction(document.epsilon or 0)
        self._epsilons[epsilon] += 1
        bridge = document.fingerprint or "", document.instance or ""
        self._noisy.append(NoisyNumbers(bridge, epsilon, document.end, sorted(numbers.items())))
        if len(numbers) < _MIN_NOISY_COUNTRIES or "??" not in numbers:
            self._counts[Code.FEW_COUNTRIES] += 1
            self._fewest_countries = min(self._fewest_countries, len(numbers))
        self._counts[Code.TOO_LITTLE_NOISE] += has_too_little_noise(numbers, epsilon)

    def _noise_findings(self) -> Iterator[Finding]:
        yield from self._numbered(Code.FEW_COUNTRIES, "intervals", fewest=self._fewest_countries)
        yield from self._numbered(Code.TOO_LITTLE_NOISE, "intervals")
        same = sum(has_same_noise(one, other) for one, other in pairwise(sorted(self._noisy)))
        if same:
            yield finding(Code.SAME_NOISE, intervals=same)
        for epsilon, releases in sorted(self._epsilons.items()):
            yield finding(Code.NOISE, intervals=releases, epsilon=_decimal(epsilon), factor=_factor(epsilon))
            if epsilon > MAX_EPSILON:
                yield finding(Code.WEAK_NOISE, epsilon=_decimal(epsilon))
        if self._epsilons.total() > 1:
            total = Fraction(sum(epsilon * releases for epsilon, releases in self._epsilons.items()))
            yield finding(
                Code.NOISE_SUM, intervals=self._epsilons.total(), epsilon=_decimal(total), factor=_factor(total)
            )


def is_suspicious_name(name: str) -> bool:
    """Tell whether the name of a transport or an instance looks like an address or a hash."""
    return _SUSPICIOUS_NAME.search(name) is not None


def _lines(document: Document) -> Iterator[Mapping[str, int]]:
    """Give the numbers of each line."""
    for numbers in (document.ips, document.requests, document.ip_versions, document.ip_transports):
        yield numbers or {}
    yield {"/".join(key): number for key, number in (document.ip_country_transports or {}).items()}


def _is_ordered(document: Document) -> bool:
    """Tell whether the order of every line is one that any reader could make of the published numbers."""
    *lines, by_transport = _lines(document)
    rank = {code: rank for rank, code in enumerate(document.ips or ())}
    by_country = sorted(by_transport, key=lambda name: (rank.get(name[:2], len(rank)), name))
    return all(list(numbers) in (sorted_by_size(numbers), sorted(numbers)) for numbers in lines) and (
        list(by_transport) in (by_country, sorted_by_size(by_transport), sorted(by_transport))
    )


def _decimal(number: Fraction) -> str:
    """Write a number that has at most six decimals."""
    return f"{float(number):,.6f}".rstrip("0").rstrip(".")


def _factor(epsilon: Fraction) -> str:
    """Write by how much a release can change odds."""
    if epsilon > MAX_EPSILON:
        return "more than 400 million, which promises nothing"
    factor = math.exp(epsilon)
    return f"{factor:,.2f}" if factor < 100 else f"{factor:,.0f}"


class Inferred(NamedTuple):
    """What can be inferred from one document.

    Attributes:
        cells: how many numbers it has.
        exact: how many of them can be inferred exactly.
        closer: how many others can be inferred more closely than rounding leaves open.
        is_consistent: whether all numbers can be true together; if not, nothing is inferred.
    """

    cells: int
    exact: int = 0
    closer: int = 0
    is_consistent: bool = True


@dataclass(slots=True)
class _Cell:
    """A number of a document: the bounds of its value before rounding."""

    low: int
    high: int


@dataclass(slots=True)
class _Rules:
    """Cells, and pairs of lists of cells: the sum of the first list is at most the sum of the second."""

    cells: list[_Cell] = field(default_factory=list)
    at_most: list[tuple[list[_Cell], list[_Cell]]] = field(default_factory=list)

    def add_cells(self, numbers: Mapping[_Name, int] | None) -> dict[_Name, _Cell]:
        made = {name: _Cell(max(0, n - ROUNDING_STEP + 1), n) for name, n in (numbers or {}).items()}
        self.cells += made.values()
        return made

    def add(self, ones: list[_Cell], others: list[_Cell]) -> None:
        if ones and others:
            self.at_most.append((ones, others))

    def add_equal(self, ones: list[_Cell], others: list[_Cell]) -> None:
        self.add(ones, others)
        self.add(others, ones)


def infer_bounds(document: Document, *, counts_pairs: bool) -> Inferred:
    """Infer what a document's numbers were before rounding.

    Args:
        document: one without noise, whose numbers are all rounded.
        counts_pairs: whether a client is an address and a transport, as for tor.
    """
    rules = _make_rules(document, counts_pairs=counts_pairs)
    rounded = [(cell.low, cell.high) for cell in rules.cells]
    for _ in range(_MAX_ROUNDS):
        changes = [_apply(ones, others) for ones, others in rules.at_most]
        if any(cell.low > cell.high for cell in rules.cells):
            return Inferred(len(rounded), is_consistent=False)
        if not any(changes):
            break
    changed = [cell for cell, bounds in zip(rules.cells, rounded, strict=True) if (cell.low, cell.high) != bounds]
    exact = sum(cell.low == cell.high for cell in changed)
    return Inferred(len(rounded), exact, len(changed) - exact)


def _make_rules(document: Document, *, counts_pairs: bool) -> _Rules:
    rules = _Rules()
    countries, requests = rules.add_cells(document.ips), rules.add_cells(document.requests)
    families, transports = rules.add_cells(document.ip_versions), rules.add_cells(document.ip_transports)
    both = rules.add_cells(document.ip_country_transports)
    all_countries, all_families, all_transports = [*countries.values()], [*families.values()], [*transports.values()]
    rules.add_equal(all_countries, all_families)
    rules.add(all_countries, all_transports)
    rules.add(all_families, all_transports)
    if counts_pairs:
        rules.add(all_transports, all_countries)
        rules.add(all_transports, all_families)
    of_country: defaultdict[str, list[_Cell]] = defaultdict(list)
    of_transport: defaultdict[str, list[_Cell]] = defaultdict(list)
    for (country, transport), cell in both.items():
        of_country[country].append(cell)
        of_transport[transport].append(cell)
    for name, cell in transports.items():
        rules.add([cell], all_countries)
        rules.add_equal([cell], of_transport[name])
    for name, cell in countries.items():
        rules.add([cell], of_country[name])
        for part in of_country[name]:
            rules.add([part], [cell])
    rules.add(all_transports, [*requests.values()])
    for name, cell in requests.items():
        rules.add(of_country[name], [cell])
        if name in countries:
            rules.add([countries[name]], [cell])
    return rules


def _apply(ones: list[_Cell], others: list[_Cell]) -> bool:
    """Narrow the cells of one rule; tell whether anything changed."""
    least, most = sum(cell.low for cell in ones), sum(cell.high for cell in others)
    has_changed = False
    for cell in ones:
        high = most - least + cell.low
        if high < cell.high:
            cell.high, has_changed = high, True
    for cell in others:
        low = least - most + cell.high
        if low > cell.low:
            cell.low, has_changed = low, True
    return has_changed
