"""The packed lines of one interval, and the numbers that they give.

A row is 24 bytes: the 20 bytes of a hash, and one integer for the ids of country and suffix (packing.py). An interval
takes as much memory as its rows, until it is counted.

- Rows are kept in 256 buckets by the last byte of their hash, and a few buckets are counted at a time, so few that they
  fit into the processor's cache. Sorting millions of rows at once would wait for memory most of the time.
- They are sorted by the first four bytes of the hash with numpy's radix sort of 16-bit integers, which takes the same
  time on every processor. Neighbours are then compared as a whole.
- The numbers are exact for any hashes. Where neighbours have the same four bytes but are not equal (a client
  with several transports, or similar hashes), their rows are counted in a dict.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

from obfstats.formats.counts import ClientClass, Counts
from obfstats.formats.logline import parse_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from obfstats.formats.interval import Interval

    Rows = NDArray[np.uint64]
    Bools = NDArray[np.bool_]

ROW = np.dtype([("hash", "V20"), ("country_suffix", "<u4")])
"""A packed line. Rows are arrays of three words each, since numpy is faster with integers than with structures."""

ROW_WORDS = 3

COUNTRY_BITS = 10
"""The lower bits of `country_suffix` are the id of the country, the others the id of the suffix."""

_COUNTRY_MASK = (1 << COUNTRY_BITS) - 1
_COUNTRY_SUFFIX_SHIFT = np.uint64(32)
_BELOW_SUFFIX = np.uint64((1 << 32 + COUNTRY_BITS) - 1)
_SORTED_BYTES = np.uint64(0xFFFFFFFF)
_BUCKETS, _BUCKET_OFFSET = 256, 19
_ROWS_AT_ONCE = 1 << 15


class IntervalRows:
    """Keeps the rows of one interval and counts them."""

    def __init__(self) -> None:
        """Begin with no rows."""
        # Rows in the order of their buckets, and the offset at which each bucket begins; the last one is the end.
        self._chunks: list[tuple[Rows, list[int]]] = []
        self._number = 0

    def add(self, rows: Rows) -> None:
        """Add a copy of some rows."""
        buckets = rows.view(np.uint8)[:, _BUCKET_OFFSET]
        ends = np.bincount(buckets, minlength=_BUCKETS).cumsum()
        self._chunks.append((rows.take(buckets.argsort(kind="stable"), axis=0), [0, *ends.tolist()]))
        self._number += len(rows)

    def counts(self, interval: Interval, countries: Sequence[str], suffixes: Sequence[bytes]) -> Counts:
        """Count the rows; to be called once.

        Args:
            interval: the interval.
            countries: the country codes by id.
            suffixes: the suffixes by id.
        """
        suffixes = self._renumber_suffixes(suffixes)
        size = len(suffixes) << COUNTRY_BITS
        # Floats, as bincount gives them for booleans; they are exact up to 2**53.
        lines, single = np.zeros((2, size))
        clients = Counter[tuple[int, frozenset[int]]]()
        for some_rows in self._some_buckets():
            rows, is_client, is_unsure = _sort(some_rows)
            country_suffixes = (rows[:, 2] >> _COUNTRY_SUFFIX_SHIFT).view(np.int64)
            lines += np.bincount(country_suffixes, minlength=size)
            single += np.bincount(country_suffixes, is_client, minlength=size)
            if is_unsure is not None:
                clients += _count_in_dict(rows[is_unsure])
        requests = Counter[str]()
        for country_suffix in lines.nonzero()[0].tolist():
            requests[countries[country_suffix & _COUNTRY_MASK]] += int(lines[country_suffix])
        for country_suffix in single.nonzero()[0].tolist():
            clients[country_suffix & _COUNTRY_MASK, frozenset({country_suffix >> COUNTRY_BITS})] += int(
                single[country_suffix]
            )
        columns = [parse_columns(suffix) for suffix in suffixes]
        return Counts(
            interval,
            dict(requests),
            {
                ClientClass(countries[country_id], frozenset(columns[suffix_id] for suffix_id in suffix_ids)): number
                for (country_id, suffix_ids), number in clients.items()
            },
        )

    def _renumber_suffixes(self, suffixes: Sequence[bytes]) -> Sequence[bytes]:
        """Give the suffixes that occur here ids from 0 on, or each of many intervals would be counted by all suffixes.

        Returns:
            The suffixes by their new ids.
        """
        shift = np.uint64(32 + COUNTRY_BITS)
        occurs = np.zeros(len(suffixes), np.bool_)
        for rows, _ in self._chunks:
            occurs[rows[:, 2] >> shift] = True
        if not occurs.all():
            new_ids = occurs.cumsum(dtype=np.uint64) - np.uint64(1)
            for rows, _ in self._chunks:
                column = rows[:, 2]
                column[:] = (column & _BELOW_SUFFIX) | (new_ids[column >> shift] << shift)
        return [suffix for suffix, does_occur in zip(suffixes, occurs.tolist(), strict=True) if does_occur]

    def _some_buckets(self) -> Iterator[Rows]:
        """Give the rows of as many neighbouring buckets at a time as the cache holds."""
        step = _BUCKETS
        while step > 1 and self._number * step > _ROWS_AT_ONCE * _BUCKETS:
            step //= 2
        for first in range(0, _BUCKETS, step):
            yield np.concatenate([rows[begins[first] : begins[first + step]] for rows, begins in self._chunks])


def _sort(rows: Rows) -> tuple[Rows, Bools, Bools | None]:
    """Sort rows, and find the clients.

    Returns:
        The sorted rows; which of them is the first of a client whose rows are all equal; and which are of clients that
        are not decided here, None if there are none.
    """
    parts = rows.view("<u2")
    rows = rows.take(np.lexsort((parts[:, 1], parts[:, 0])), axis=0)
    # Rows with equal sorted bytes are a group. A group that has different rows is not decided here.
    differences = rows[1:, 0] ^ rows[:-1, 0]
    is_first = np.ones(len(rows), np.bool_)
    np.not_equal(differences & _SORTED_BYTES, 0, out=is_first[1:])
    differences |= rows[1:, 1] ^ rows[:-1, 1]
    differences |= rows[1:, 2] ^ rows[:-1, 2]
    is_unlike = (differences != 0) & ~is_first[1:]
    if not is_unlike.any():
        return rows, is_first, None
    groups = is_first.cumsum() - 1
    is_unsure_group = np.zeros(groups[-1] + 1, np.bool_)
    is_unsure_group[groups[1:][is_unlike]] = True
    is_unsure = is_unsure_group[groups]
    return rows, is_first & ~is_unsure, is_unsure


def _count_in_dict(rows: Rows) -> Counter[tuple[int, frozenset[int]]]:
    """Count clients by the ids of their country and of all their suffixes."""
    suffix_ids = defaultdict[tuple[bytes, int], set[int]](set)
    fields = rows.view(ROW)[:, 0]
    for hash_bytes, country_suffix in zip(fields["hash"].tolist(), fields["country_suffix"].tolist(), strict=True):
        suffix_ids[hash_bytes, country_suffix & _COUNTRY_MASK].add(country_suffix >> COUNTRY_BITS)
    return Counter((country_id, frozenset(ids)) for (_, country_id), ids in suffix_ids.items())
