"""Write what a log says as tor writes its own bridge statistics (dir-spec, bridge-stats-end and what follows it).

    bridge-stats-end 2026-11-23 12:22:27 (86400 s)
    bridge-ips ??=8,tr=8,us=8
    bridge-ip-versions v4=16,v6=8
    bridge-ip-transports <??>=8,<OR>=8,obfs3=8

So both can be put side by side (ticket 5047: equivalent, or at least easily comparable). As with tor:

- A client is an address and a transport: an address that came through two counts twice, in every line. Where the log
  does not name transports, a client is an address.
- Numbers are rounded up to a multiple of 8. Countries are sorted by what is left then, so that their order tells
  nothing of what was rounded away; transports are sorted by name.

The lines of versions and transports are there where the whole interval has these columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from obfstats.formats.document import sorted_by_size
from obfstats.formats.interval import format_time
from obfstats.publish.simple import round_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from obfstats.formats.counts import Counts

_FAMILIES = ("v4", "v6")


def statistics(intervals: Sequence[Counts]) -> bytes:
    """Give the lines of each interval, in order; those of one without known addresses are left out."""
    return "".join(f"{line}\n" for counts in intervals for line in _lines(counts)).encode()


def _lines(counts: Counts) -> Iterator[str]:
    """Give the lines of one interval."""
    pairs = counts.pairs
    if pairs is None:
        return
    yield f"bridge-stats-end {format_time(counts.interval.end)} ({counts.interval.seconds} s)"
    countries = {country: round_up(number) for country, number in pairs.countries.items()}
    yield f"bridge-ips {_cells(countries, sorted_by_size(countries))}"
    if pairs.families is not None:
        yield f"bridge-ip-versions {_cells(pairs.families, _FAMILIES)}"
    if pairs.transports is not None:
        yield f"bridge-ip-transports {_cells(pairs.transports, sorted(pairs.transports))}"


def _cells(numbers: Mapping[str, int], order: Iterable[str]) -> str:
    """Write numbers, rounded up, in a given order."""
    return ",".join(f"{name}={round_up(numbers.get(name, 0))}" for name in order)
