"""The rows of one interval while it is counted, and the numbers that are made of them.

Rows are kept until the interval is over, so that the same client is found again. Should a million and more of them be
there and most of them repeat others, the repeats are thrown away: memory is a matter of how many different clients
come in an interval, and not of how long the log is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from obfstats.formats.counts import ClientClass, Counts
from obfstats.formats.interval import Interval
from obfstats.formats.logline import Columns
from obfstats.publish.tally.column_numbers import ColumnNumbers, by_country
from obfstats.publish.tally.fixed_lines import COUNTRIES, WORD, Rows, different
from obfstats.publish.tally.repeats import find_repeats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obfstats.publish.tally.fixed_lines import Words
    from obfstats.publish.tally.general_lines import Run
    from obfstats.publish.tally.memory import Memory
    from obfstats.publish.tally.repeats import Workers

_SAMPLED = np.uint8(0x3F)
"""One in 64 clients is looked at to find out whether most rows repeat others: whose last digits are noughts here."""


_NOBODY = np.zeros(len(COUNTRIES), np.int64)


class IntervalRows:
    """One interval's rows.

    Args:
        start: the interval's start.
        memory: where they are kept.
        limit: how many there may be before repeated ones are thrown away.
        workers: do both halves of what can be done at the same time; None where there is nobody to share it with.
    """

    def __init__(self, start: bytes, memory: Memory, limit: int, workers: Workers | None) -> None:
        self._start, self._memory, self._limit, self._workers = start, memory, limit, workers
        self._room = memory.take(0)
        self._count = 0
        self._ends: set[int] = set()
        self._sample: list[Words] = []
        self._sampled = 0
        # Of the rows that are left after repeated ones were thrown away.
        self._requests = self._different = _NOBODY

    def add(self, run: Run) -> None:
        """Add rows."""
        self._ends |= run.ends
        added = len(run.rows.kinds)
        if self._count + added > self._limit:
            if self._mostly_repeated():
                self._settle(throw_away=True)
            self._limit = max(self._limit, 2 * (self._count + added))
        if self._count + added > len(self._room.kinds):
            self._grow(added)
        place = self._room.part(self._count, self._count + added)
        place.hashes[:] = run.rows.hashes
        place.kinds[:] = run.rows.kinds
        self._count += added

    def leave(self) -> None:
        """Give the memory back; there are no rows any more."""
        self._memory.give_back(self._room)
        self._room = Rows.empty(0)
        self._count = 0

    def counts(self, ends: Sequence[bytes]) -> Counts:
        """Give the interval's numbers, for once, at the end.

        Args:
            ends: what may stand behind the hashes, by number.
        """
        has_columns = self._ends != {0}
        self._settle(throw_away=has_columns)
        requests, lines = by_country(self._requests), by_country(self._different)
        interval = Interval.parse(self._start.decode())
        if not has_columns:
            only = frozenset({Columns()})
            return Counts(interval, requests, {ClientClass(country, only): lines[country] for country in lines})
        present = {number: ends[number] for number in self._ends}
        return Counts(
            interval, requests, ColumnNumbers(self._rows(), self._memory.keys, present, self._workers).classes()
        )

    def _grow(self, added: int) -> None:
        """Let rows have more memory."""
        rows, before = self._rows(), self._room
        self._room = self._memory.take(self._count + added)
        self._room.hashes[: self._count] = rows.hashes
        self._room.kinds[: self._count] = rows.kinds
        self._memory.give_back(before)

    def _rows(self) -> Rows:
        return self._room.part(0, self._count)

    def _mostly_repeated(self) -> bool:
        """Tell whether more than half of the rows seem to repeat others, judging by a few clients."""
        rows = self._room.part(self._sampled, self._count)
        last_digits = rows.kinds.view(np.uint8)[:: WORD.itemsize]
        self._sample.append(rows.hashes[:, 0][last_digits & _SAMPLED == 0])
        self._sampled = self._count
        sample = np.concatenate(self._sample)
        # Where far fewer rows than that are looked at, some other client has many.
        is_one_sided = 2 * len(sample) * (int(_SAMPLED) + 1) < self._count
        return is_one_sided or 2 * len(different(sample)) <= len(sample)

    def _settle(self, *, throw_away: bool) -> None:
        """Count the rows, and throw repeated ones away, or all: then they must not be looked at any more."""
        rows = self._rows()
        repeats = find_repeats(
            rows,
            self._memory.keys,
            self._workers,
            with_ends=self._ends != {0},
            want_pairs=throw_away,
            may_spoil=not throw_away,
        )
        self._requests = self._requests + repeats.rows - self._different
        self._different = repeats.rows - repeats.again
        if throw_away:
            is_kept = np.ones(self._count, np.bool_)
            is_kept[repeats.pairs[1]] = False
            self._count = int(np.count_nonzero(is_kept))
            self._sample, self._sampled = [], 0
            rows.hashes[: self._count] = rows.hashes[is_kept]
            rows.kinds[: self._count] = rows.kinds[is_kept]
