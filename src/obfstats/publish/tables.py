"""The ticket's two tables of numbers that are rounded up (ticket 5047).

    Daily rounded total requests by country
    2012-02-07 14:01:04 de 16
    Daily rounded unique IPs by country
    2012-02-07 14:01:04 de 8

The tables are the bytes that the ticket's shell pipeline and simple.py write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from obfstats.formats.counts import round_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from obfstats.formats.counts import Counts

REQUESTS_TITLE = "Daily rounded total requests by country"
CLIENTS_TITLE = "Daily rounded unique IPs by country"


def write_tables(intervals: Sequence[Counts]) -> bytes:
    """Write both tables.

    Args:
        intervals: sorted by start.
    """
    requests = [row for counts in intervals for row in _rows(counts.interval.label, counts.requests)]
    clients = [row for counts in intervals for row in _rows(counts.interval.label, counts.distinct_lines)]
    return "".join([f"{REQUESTS_TITLE}\n", *requests, f"{CLIENTS_TITLE}\n", *clients]).encode()


def _rows(start: str, numbers: Mapping[str, int]) -> Iterator[str]:
    for country, number in sorted(numbers.items()):
        yield f"{start} {country} {round_up(number)}\n"
