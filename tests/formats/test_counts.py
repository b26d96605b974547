"""One interval's numbers: what the counter keeps, against sets of lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.counts import ClientClass, Counts
from obfstats.formats.interval import Interval
from obfstats.formats.logline import Columns, LogLine
from obfstats.record.aggregate import MAX_COLUMNS, ClientCounter, ClientTable
from tests.publish.numbers import counts_by_hand, numbers_of

if TYPE_CHECKING:
    from collections.abc import Sequence

START = "2012-02-07 14:01:04"

some_lines = st.lists(
    st.builds(
        LogLine,
        start=st.just(START),
        country=st.sampled_from(("de", "ir", "??")),
        hash=st.integers(0, 5).map("{:040x}".format),
        transport=st.sampled_from((None, "obfs3", "obfs4", "<??>")),
        family=st.sampled_from((None, "v4", "v6")),
    ),
    max_size=40,
)


def count(lines: Sequence[LogLine]) -> Counts:
    """Count lines, one after the other."""
    table = ClientTable(None)
    counter = ClientCounter(table)
    for line in lines:
        # A client is a hash within one country; the hashes drawn here differ in their last bytes alone.
        key = line.country.encode() + bytes.fromhex(line.hash)[2:]
        counter.count_request(line.country)
        counter.count_client(key, line.country, Columns(line.transport, line.family))
    table.wipe()
    return counter.counts(Interval.parse(START))


@given(some_lines)
def test_every_projection_is_that_of_sets_of_lines(lines: list[LogLine]) -> None:
    """Whatever columns the lines have, and whichever of them the interval lacks."""
    assert numbers_of(count(lines)) == counts_by_hand(START, lines)


@given(some_lines, st.randoms())
def test_the_order_of_lines_does_not_matter(lines: list[LogLine], random: object) -> None:
    """The same lines in another order, and twice, have the same clients."""
    shuffled = sorted(lines, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert count(shuffled) == count(lines)
    assert count(lines + shuffled).clients == count(lines).clients


def test_numbers_without_addresses_are_none() -> None:
    """An old log without addresses has connections and nothing else."""
    counts = Counts(Interval.parse(START), {"??": 7}, None)
    assert (counts.addresses, counts.pairs, counts.families, counts.transports) == (None, None, None, None)
    assert not counts.has_all_columns()


def test_a_client_with_two_transports_is_two_for_tor_and_one_for_the_ticket() -> None:
    """Comment 1 of the ticket counts addresses; tor counts (address, transport) pairs."""
    both = frozenset({Columns("obfs3", "v4"), Columns("obfs4", "v4")})
    counts = Counts(Interval.parse(START), {"de": 9}, {ClientClass("de", both): 3})
    assert counts.addresses == {"de": 3}
    assert counts.pairs is not None
    assert counts.pairs.countries == {"de": 6}
    assert counts.transports == {"obfs3": 3, "obfs4": 3}
    assert counts.families == {"v4": 3}


def test_classes_take_bounded_memory() -> None:
    """A client with more and more transports stays in the last class that fits, and is still one client."""
    counter = ClientCounter(ClientTable(None))
    longest = max(number for number in range(2000) if number * (number + 1) // 2 <= MAX_COLUMNS)
    for name in range(longest):
        counter.count_client(bytes(20), "de", Columns(f"t{name}"))
    with pytest.raises(OverflowError):
        counter.count_client(bytes(20), "de", Columns("one_more"))
    counts = counter.counts(Interval.parse(START))
    assert counts.addresses == {"de": 1}
    assert len(counts.transports or {}) == longest
