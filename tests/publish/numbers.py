"""All numbers of an interval that may be published, so that a test can work them out in a way of its own."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from obfstats.formats.counts import Pairs
from obfstats.formats.logline import LineError, LogLine, parse_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from obfstats.formats.counts import Counts


@dataclass(frozen=True, slots=True)
class Numbers:
    """Every projection of obfstats.formats.counts.Counts, with the start of its interval."""

    start: str
    requests: Mapping[str, int]
    lines: Mapping[str, int] = field(default_factory=dict)
    addresses: Mapping[str, int] | None = None
    pairs: Pairs | None = None
    families: Mapping[str, int] | None = None
    transports: Mapping[str, int] | None = None
    country_transports: Mapping[tuple[str, str], int] | None = None


def numbers_of(counts: Counts) -> Numbers:
    """Give all numbers of an interval."""
    return Numbers(
        counts.interval.label, counts.requests, counts.distinct_lines, counts.addresses, counts.pairs, counts.families,
        counts.transports, counts.country_transports,
    )  # fmt: skip


def by_hand(log: bytes) -> list[Numbers]:
    """Count a log in the plainest way: its good lines, read by the grammar, in sets."""
    intervals = defaultdict[str, list[LogLine]](list)
    for one in log.split(b"\n"):
        try:
            read = parse_line(one)
        except LineError:
            continue
        intervals[read.start].append(read)
    return [counts_by_hand(start, intervals[start]) for start in sorted(intervals)]


def counts_by_hand(start: str, lines: Sequence[LogLine]) -> Numbers:
    """Count the lines of one interval."""
    has_transport = all(one.transport is not None for one in lines)
    has_family = all(one.family is not None for one in lines)
    addresses = {(one.country, one.hash) for one in lines}
    pairs = {
        (one.country, one.hash, one.transport if has_transport else None, one.family if has_family else None)
        for one in lines
    }
    by_family = {(one.country, one.hash, one.family or "") for one in lines}
    by_transport = {(one.country, one.hash, one.transport or "") for one in lines}
    return Numbers(
        start,
        Counter(one.country for one in lines),
        Counter(one.country for one in set(lines)),
        Counter(country for country, _ in addresses),
        Pairs(
            Counter(country for country, *_ in pairs),
            Counter(str(family) for *_, family in pairs) if has_family else None,
            Counter(str(transport) for *_, transport, _ in pairs) if has_transport else None,
        ),
        Counter(family for *_, family in by_family) if has_family else None,
        Counter(transport for *_, transport in by_transport) if has_transport else None,
        Counter((country, transport) for country, _, transport in by_transport) if has_transport else None,
    )
