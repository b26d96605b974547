"""The clients of an interval are counted exactly, for any number of rows and for hashes as similar as can be."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.formats.counts import ClientClass
from obfstats.formats.interval import Interval
from obfstats.formats.logline import Columns, parse_columns
from obfstats.publish.tally.interval_rows import COUNTRY_BITS, ROW, ROW_WORDS, IntervalRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Table = NDArray[np.uint64]

INTERVAL = Interval.parse("2012-02-07 14:01:04")
COUNTRIES = ["??", "de", "fr", "us"]
SUFFIXES = [b"", b" obfs2", b" obfs3 v4", b" obfs3 v6"]
MANY = 200_000
"""More rows than are sorted at once."""


def pack(table: Table) -> NDArray[np.uint64]:
    """Pack a table's rows: the first 8, next 8 and last 4 bytes of a hash, and the numbers of country and suffix."""
    rows = np.empty((len(table), ROW_WORDS), np.uint64)
    rows[:, :2] = table[:, :2]
    rows[:, 2] = table[:, 2] | table[:, 3] << np.uint64(32) | table[:, 4] << np.uint64(32 + COUNTRY_BITS)
    return rows


def check(table: Table, chunk: int) -> None:
    """Compare the numbers of a table's rows, added in chunks, with those of sets."""
    rows = IntervalRows()
    for first in range(0, len(table), chunk):
        rows.add(pack(table[first : first + chunk]))
    counts = rows.counts(INTERVAL, COUNTRIES, SUFFIXES)
    columns = defaultdict[tuple[int, ...], set[Columns]](set)
    for *client, suffix in table.tolist():
        columns[tuple(client)].add(parse_columns(SUFFIXES[suffix]))
    assert counts.requests == Counter(COUNTRIES[number] for number in table[:, 3].tolist())
    assert counts.clients == Counter(
        ClientClass(COUNTRIES[country], frozenset(several)) for (*_, country), several in columns.items()
    )


small = st.integers(0, 2)


@given(st.lists(st.tuples(*[small] * 5), min_size=1, max_size=50), st.integers(1, 60))
@settings(max_examples=200, deadline=None)
def test_few_rows(table: list[tuple[int, ...]], chunk: int) -> None:
    """Rows are one client only if hash and country are equal."""
    check(np.array(table, np.uint64).reshape(-1, 5), chunk)


@pytest.mark.parametrize(
    "highest",
    [
        (2**63, 2**63, 2**32, 4, 1),
        (2**63, 2**63, 2**32, 4, 4),
        (2**63, 1, 1, 1, 1),
        (1, 2**63, 1, 1, 1),
        (1, 1, 2**32, 1, 1),
        (2**17, 1, 1, 1, 1),
        (2**17, 2**17, 1, 4, 4),
        (2**9, 2**9, 2, 2, 2),
        (2, 2, 2, 2, 2),
        (1, 1, 1, 1, 1),
    ],
    ids=[
        "as hashes are", "and with transports", "first bytes", "middle bytes", "last bytes", "few first bytes",
        "few bytes", "few of all", "bits", "one client",
    ],
)  # fmt: skip
def test_many_rows(highest: Sequence[int]) -> None:
    """More rows than are sorted at once; many are of clients that occurred before."""
    random = np.random.default_rng(5047)
    table = np.stack([random.integers(0, high, MANY * 2 // 3, np.uint64) for high in highest], axis=1)
    check(table[random.integers(0, len(table), MANY)], 1 << 15)


def test_clients_with_several_transports() -> None:
    """Each client is in the class of all its transports, in any order of its lines."""
    random = np.random.default_rng(5047)
    table = np.stack([random.integers(0, high, 30_000, np.uint64) for high in (2**63, 2**63, 2**32, 4, 4)], axis=1)
    table = np.concatenate([table] * 4)
    table[:, 4] = random.integers(0, 4, len(table))
    check(table[random.permutation(len(table))], 1 << 15)


def test_a_row_is_24_bytes() -> None:
    """A line takes the memory of its hash, and four bytes."""
    assert ROW.itemsize == 8 * ROW_WORDS == 24
