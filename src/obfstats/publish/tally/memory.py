"""Memory that is used again.

What a program touches for the first time the system has to find and to clear, which takes longer than everything that
is done with it here. So the rows of one interval are written where those of an earlier one have been.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from obfstats.publish.tally.fixed_lines import WORD, Rows

if TYPE_CHECKING:
    from obfstats.publish.tally.fixed_lines import Words

_LEAST = 1 << 6
"""Rows that there is room for at least."""

_WORTH_KEEPING = 1 << 14
"""Rows from which on room is used again; less is made as fast as it is found."""

_MOST_AT_FIRST = 1 << 24
"""Rows that room is made for before they have come; room that is not used is only a number."""


class Memory:
    """Room for rows and for what they are sorted by.

    Args:
        expected: rows that may come in one interval at most, as far as is known.
    """

    def __init__(self, expected: int) -> None:
        self._expected = min(max(expected, _LEAST), _MOST_AT_FIRST)
        self._spare = [Rows.empty(self._expected)]
        self._keys = np.empty(0, WORD)

    def take(self, count: int) -> Rows:
        """Give room for rows: the least there is that is enough, or twice as much as is needed."""
        enough = [rows for rows in self._spare if len(rows.kinds) >= count]
        if not enough:
            return Rows.empty(max(_LEAST, 2 * count))
        least = min(enough, key=lambda rows: len(rows.kinds))
        self._spare = [rows for rows in self._spare if rows is not least]
        return least

    def give_back(self, rows: Rows) -> None:
        """Take room back."""
        if len(rows.kinds) >= _WORTH_KEEPING:
            self._spare.append(rows)

    def keys(self, count: int) -> Words:
        """Give room for a word of each row, until the next time."""
        if len(self._keys) < count:
            # What there was is let go first, so that there never are two.
            self._keys = np.empty(0, WORD)
            self._keys = np.empty(max(count, self._expected), WORD)
        return self._keys[:count]
