"""The ticket's two tables, byte for byte as its shell pipeline prints them (ticket 5047; simple.py makes the same)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obfstats.publish.simple import round_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from obfstats.formats.counts import Counts


def tables(counts: Sequence[Counts]) -> bytes:
    """Write both tables.

    Args:
        counts: the intervals that are to be in them, sorted by start.
    """
    requests = [line for one in counts for line in _rows(one.interval.label, one.requests)]
    clients = [line for one in counts for line in _rows(one.interval.label, one.lines)]
    return "".join(
        ["Daily rounded total requests by country\n", *requests, "Daily rounded unique IPs by country\n", *clients]
    ).encode()


def _rows(start: str, numbers: Mapping[str, int]) -> Iterator[str]:
    for country, number in sorted(numbers.items()):
        yield f"{start} {country} {round_up(number)}\n"
