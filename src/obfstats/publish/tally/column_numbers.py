"""Numbers of one interval's clients by transport and address family, from its different rows.

Most addresses come with one transport and in one way: theirs is the only row with their hash, and such rows are only
added up. The rows of the others are counted once for each address and whatever is asked for.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from obfstats.formats.counts import ClientClass
from obfstats.formats.logline import parse_columns
from obfstats.publish.tally.fixed_lines import COUNTRIES, END_BITS, END_SHIFT
from obfstats.publish.tally.repeats import END, find_repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from obfstats.publish.tally.fixed_lines import Rows, Words
    from obfstats.publish.tally.repeats import Numbers, Workers

_END = (1 << END_BITS) - 1


class ColumnNumbers:
    """The numbers of one interval.

    Args:
        rows: its rows; none is there twice.
        room: gives memory for so many words.
        ends: what stands behind the rows' hashes, by number.
        workers: do both halves of what can be done at the same time; None where there is nobody to share it with.
    """

    def __init__(
        self, rows: Rows, room: Callable[[int], Words], ends: Mapping[int, bytes], workers: Workers | None
    ) -> None:
        self._columns = {number: parse_columns(end) for number, end in ends.items()}
        same = find_repeats(rows, room, workers, with_ends=False, want_pairs=True)
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

    def classes(self) -> Counter[ClientClass]:
        """Give the numbers of different addresses by class."""
        classes = Counter[ClientClass]()
        for kind, number in zip(self._single_kinds.tolist(), self._single_numbers.tolist(), strict=True):
            columns = frozenset({self._columns[kind & _END]})
            classes[ClientClass(COUNTRIES[kind >> END_BITS], columns)] += number
        rows = zip(self._addresses.tolist(), self._kinds.tolist(), strict=True)
        for _, same in groupby(rows, key=itemgetter(0)):
            kinds = [kind for _, kind in same]
            columns = frozenset(self._columns[kind & _END] for kind in kinds)
            classes[ClientClass(COUNTRIES[kinds[0] >> END_BITS], columns)] += 1
        return classes


def by_country(numbers: Numbers) -> dict[str, int]:
    """Name the countries of those numbers that are not 0."""
    return {COUNTRIES[number]: int(numbers[number]) for number in np.flatnonzero(numbers).tolist()}
