"""What the lines of one document tell of each other: totals beside their cells (threats, "A reader").

A number that was rounded up to 48 leaves open 41 to 48. Lines that split the same clients up in another way narrow
that: sixteen countries with 8 each, beside 16 clients in all, have one client each. What can be worked out is found by
going through these rules until nothing changes, as any reader could:

- the countries together are the address families together; where clients are pairs (tor) the transports as well;
- a transport is the sum of its countries; a country has no more clients than its transports together, and none of
  these has more than the country;
- a client has one transport at least, and sends one request at least.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from obfstats.publish.simple import round_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obfstats.formats.document import Document

_Name = TypeVar("_Name")

_STEP = round_up(1)
_MOST_ROUNDS = 20
"""Times that all rules are applied; far more than anything but a forgery needs."""


@dataclass(slots=True)
class _Cell:
    """A number of a document: what it may have been before it was rounded."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What came of one document.

    Attributes:
        cells: how many numbers it has.
        narrowed: how many of them can be told closer than rounding leaves open.
        known: how many of these exactly.
        is_consistent: whether its numbers can be true together; where not, nothing is said of them.
    """

    cells: int
    narrowed: int = 0
    known: int = 0
    is_consistent: bool = True


@dataclass(slots=True)
class _Rules:
    """Cells, and which of them together are no more than which others."""

    cells: list[_Cell] = field(default_factory=list)
    no_more: list[tuple[list[_Cell], list[_Cell]]] = field(default_factory=list)

    def add_cells(self, numbers: Mapping[_Name, int] | None) -> dict[_Name, _Cell]:
        made = {name: _Cell(max(0, n - _STEP + 1), n) for name, n in (numbers or {}).items()}
        self.cells += made.values()
        return made

    def equal(self, ones: list[_Cell], others: list[_Cell]) -> None:
        self.at_most(ones, others)
        self.at_most(others, ones)

    def at_most(self, ones: list[_Cell], others: list[_Cell]) -> None:
        if ones and others:
            self.no_more.append((ones, others))


def narrow(document: Document, *, counts_pairs: bool) -> Narrowed:
    """Find out what a document's lines tell of each other.

    Args:
        document: one without noise, of which all numbers are rounded.
        counts_pairs: whether a client is an address and a transport, as for tor.
    """
    rules = _rules(document, counts_pairs=counts_pairs)
    before = [(cell.low, cell.high) for cell in rules.cells]
    for _ in range(_MOST_ROUNDS):
        changes = [_apply(ones, others) for ones, others in rules.no_more]
        if any(cell.low > cell.high for cell in rules.cells):
            return Narrowed(len(before), is_consistent=False)
        if not any(changes):
            break
    narrowed = [cell for cell, bounds in zip(rules.cells, before, strict=True) if (cell.low, cell.high) != bounds]
    return Narrowed(len(before), len(narrowed), sum(cell.low == cell.high for cell in narrowed))


def _rules(document: Document, *, counts_pairs: bool) -> _Rules:
    rules = _Rules()
    countries, requests = rules.add_cells(document.ips), rules.add_cells(document.requests)
    families, transports = rules.add_cells(document.ip_versions), rules.add_cells(document.ip_transports)
    both = rules.add_cells(document.ip_country_transports)
    all_countries, all_transports = [*countries.values()], [*transports.values()]
    rules.equal(all_countries, [*families.values()])
    rules.at_most(all_countries, all_transports)
    rules.at_most([*families.values()], all_transports)
    if counts_pairs:
        rules.at_most(all_transports, all_countries)
        rules.at_most(all_transports, [*families.values()])
    of_country: defaultdict[str, list[_Cell]] = defaultdict(list)
    of_transport: defaultdict[str, list[_Cell]] = defaultdict(list)
    for (country, transport), cell in both.items():
        of_country[country].append(cell)
        of_transport[transport].append(cell)
    for name, cell in transports.items():
        rules.at_most([cell], all_countries)
        rules.equal([cell], of_transport[name])
    for name, cell in countries.items():
        rules.at_most([cell], of_country[name])
        for part in of_country[name]:
            rules.at_most([part], [cell])
        if name in requests:
            rules.at_most([cell], [requests[name]])
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
