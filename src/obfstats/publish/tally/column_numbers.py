"""Numbers of one interval's clients by transport and address family, from its different rows.

Most addresses come with one transport and in one way: theirs is the only row with their hash, and such rows are only
added up. The rows of the others are counted once for each address and whatever is asked for.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from obfstats.formats.counts import Pairs
from obfstats.publish.tally.fixed_lines import COUNTRIES, END_BITS, END_SHIFT
from obfstats.publish.tally.repeats import END, find_repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from obfstats.publish.tally.fixed_lines import Rows, Words
    from obfstats.publish.tally.repeats import Numbers, Workers

_Label = TypeVar("_Label", bound="Hashable")

_END = (1 << END_BITS) - 1

_FAMILIES = ("v4", "v6")


class ColumnNumbers:
    """The numbers of one interval.

    Args:
        rows: its rows; none is there twice.
        room: gives memory for so many words.
        ends: what stands behind the rows' hashes, by number.
        workers: do both halves of what can be done at the same time; None where there is nobody to share it with.

    Attributes:
        repeated: rows whose address has another row that is not among these, by country's number.
    """

    def __init__(
        self, rows: Rows, room: Callable[[int], Words], ends: Mapping[int, bytes], workers: Workers | None
    ) -> None:
        self._columns = {number: _read(end) for number, end in ends.items()}
        self._has_transport = all(transport for transport, _ in self._columns.values())
        self._has_family = all(family for _, family in self._columns.values())
        same = find_repeats(rows, room, workers, with_ends=False, want_pairs=True)
        self.repeated = same.again
        is_several = np.zeros(len(rows.kinds), np.bool_)
        is_several[same.pairs.ravel()] = True
        # Country and end together, as they stand in the third word.
        kinds = rows.kinds >> END_SHIFT
        self._single_kinds, self._single_numbers = np.unique(kinds[~is_several], return_counts=True)
        several = np.flatnonzero(is_several)
        words = np.stack((*rows.hashes.take(several, axis=0).T, rows.kinds.take(several) & ~END))
        order = np.lexsort(words)
        is_new = np.zeros(len(order), np.bool_)
        is_new[1:] = (np.diff(words[:, order]) != 0).any(axis=0)
        self._addresses = np.cumsum(is_new)
        self._kinds = kinds[several[order]]

    def pairs(self) -> Pairs:
        """Give the numbers of different addresses with their transport and family, as tor counts them."""
        kept = {
            number: (transport if self._has_transport else "", family if self._has_family else "")
            for number, (transport, family) in self._columns.items()
        }
        countries, transports, families = Counter[str](), Counter[str](), Counter[str]()
        for (country, (transport, family)), number in self._count(kept).items():
            countries[country] += number
            transports[transport] += number
            families[family] += number
        return Pairs(countries, families if self._has_family else None, transports if self._has_transport else None)

    def families(self) -> dict[str, int] | None:
        """Give the numbers of different addresses by family; None where a line does not tell it."""
        if not self._has_family:
            return None
        return _without_country(self._count({number: family for number, (_, family) in self._columns.items()}))

    def country_transports(self) -> dict[tuple[str, str], int] | None:
        """Give the numbers of different addresses by country and transport; None where a line does not tell it."""
        if not self._has_transport:
            return None
        return self._count({number: transport for number, (transport, _) in self._columns.items()})

    def transports(self) -> dict[str, int] | None:
        """Give the numbers of different addresses by transport; None where a line does not tell it."""
        numbers = self.country_transports()
        return None if numbers is None else _without_country(numbers)

    def _count(self, labels: Mapping[int, _Label]) -> dict[tuple[str, _Label], int]:
        """Count different addresses by country and label.

        Args:
            labels: of every end, by its number.
        """
        numbers = Counter[tuple[str, _Label]]()
        for kind, number in zip(self._single_kinds.tolist(), self._single_numbers.tolist(), strict=True):
            numbers[COUNTRIES[kind >> END_BITS], labels[kind & _END]] += number
        different = list(dict.fromkeys(labels.values()))
        label_of = np.zeros(max(labels) + 1, np.intp)
        label_of[list(labels)] = [different.index(label) for label in labels.values()]
        label = label_of[self._kinds & np.uint64(_END)]
        # Each address once with each label, and then the country, which is the same for all of an address's rows.
        _, once = np.unique(self._addresses * len(different) + label, return_index=True)
        kinds = (self._kinds[once] >> np.uint64(END_BITS)) * np.uint64(len(different)) + label[once].astype(np.uint64)
        for kind, number in zip(*(found.tolist() for found in np.unique(kinds, return_counts=True)), strict=True):
            numbers[COUNTRIES[kind // len(different)], different[kind % len(different)]] += number
        return dict(numbers)


def by_country(numbers: Numbers) -> dict[str, int]:
    """Name the countries of those numbers that are not 0."""
    return {COUNTRIES[number]: int(numbers[number]) for number in np.flatnonzero(numbers).tolist()}


def _without_country(numbers: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Add up the countries."""
    summed = Counter[str]()
    for (_, label), number in numbers.items():
        summed[label] += number
    return dict(summed)


def _read(end: bytes) -> tuple[str, str]:
    """Read transport and family from what stands behind a hash; empty where it does not."""
    words = end.decode("ascii").split()
    family = words.pop() if words and words[-1] in _FAMILIES else ""
    return words[0] if words else "", family
