"""Logs to numbers in plain Python: where numpy is not installed, and for short logs.

The reading is simple.py's, which needs nothing but the standard library; what is made of it here are all the numbers
that any document holds. tally/ gives the same, faster.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from obfstats.formats.counts import Counts, Pairs
from obfstats.publish.logfiles import READING_ERRORS, reading_error
from obfstats.publish.report import Report
from obfstats.publish.simple import read_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.simple import Table

_HASH_SIZE = 40
_START = slice(0, 19)
_COUNTRY = slice(20, 22)
_FAMILIES = (b"v4", b"v6")


@dataclass(slots=True)
class _Row:
    """What is known about one country in one interval.

    Attributes:
        requests: how many lines.
        clients: which different ones, as they end behind the country.
    """

    requests: int = 0
    clients: set[bytes] = field(default_factory=set)


class _Columns(NamedTuple):
    """What a line says beside address and country; None where it does not."""

    transport: str | None
    family: str | None


def count(logs: Sequence[LogFile], advance: Callable[[int], None]) -> tuple[list[Counts], list[Report]]:
    """Count several logs as if they were one.

    Args:
        logs: where the lines are.
        advance: takes a file's bytes once it has been read.

    Returns:
        Every interval, sorted by start, and what each log was like.

    Raises:
        LogFileError: if one cannot be read.
    """
    rows: dict[bytes, _Row] = {}
    reports = []
    for log in logs:
        reports.append(_read(log, rows))
        advance(log.size or 0)
    starts = groupby(sorted(rows), key=lambda begin: begin[_START])
    counts = [
        _counts(start.decode(), {begin[_COUNTRY].decode(): rows[begin] for begin in begins}) for start, begins in starts
    ]
    return counts, reports


def _read(log: LogFile, rows: dict[bytes, _Row]) -> Report:
    """Read one log into rows."""
    table: Table = {}
    with log.open() as file:
        try:
            lines, damaged, first = read_log(file, table)
        except READING_ERRORS as error:
            raise reading_error(log.name, error) from None
    for begin, clients in table.items():
        row = rows.setdefault(begin, _Row())
        row.requests += len(clients)
        row.clients.update(clients)
    return Report(log.name, lines, damaged, first)


def _counts(start: str, rows: Mapping[str, _Row]) -> Counts:
    """Make the numbers of one interval, from the lines of each country."""
    ends = {end: _read_columns(end) for row in rows.values() for end in {client[_HASH_SIZE:] for client in row.clients}}
    with_transport = all(columns.transport is not None for columns in ends.values())
    with_family = all(columns.family is not None for columns in ends.values())
    addresses, families, transports = Counter[str](), Counter[str](), Counter[str]()
    by_country, pairs = Counter[tuple[str, str]](), Counter[tuple[str, str | None, str | None]]()
    for country, row in rows.items():
        clients = {(client[:_HASH_SIZE], ends[client[_HASH_SIZE:]]) for client in row.clients}
        addresses[country] = len({digest for digest, _ in clients})
        if with_family:
            families.update(columns.family or "" for _, columns in _different(clients, family=True))
        if with_transport:
            names = Counter(columns.transport or "" for _, columns in _different(clients, transport=True))
            transports.update(names)
            by_country.update({(country, name): number for name, number in names.items()})
        for _, columns in _different(clients, transport=with_transport, family=with_family):
            pairs[country, columns.transport, columns.family] += 1
    return Counts(
        start=start,
        requests={country: row.requests for country, row in rows.items()},
        lines={country: len(row.clients) for country, row in rows.items()},
        addresses=addresses,
        pairs=_pairs(pairs, with_transport=with_transport, with_family=with_family),
        families=families if with_family else None,
        transports=transports if with_transport else None,
        country_transports=by_country if with_transport else None,
    )


def _different(
    clients: Iterable[tuple[bytes, _Columns]], *, transport: bool = False, family: bool = False
) -> set[tuple[bytes, _Columns]]:
    """Give the clients that are different when only these columns are looked at."""
    return {
        (digest, _Columns(columns.transport if transport else None, columns.family if family else None))
        for digest, columns in clients
    }


def _pairs(
    numbers: Mapping[tuple[str, str | None, str | None], int], *, with_transport: bool, with_family: bool
) -> Pairs:
    """Add up what tor counts."""
    countries, families, transports = Counter[str](), Counter[str](), Counter[str]()
    for (country, transport, family), number in numbers.items():
        countries[country] += number
        if transport is not None:
            transports[transport] += number
        if family is not None:
            families[family] += number
    return Pairs(countries, families if with_family else None, transports if with_transport else None)


def _read_columns(end: bytes) -> _Columns:
    """Read what stands behind the hash."""
    words = end.split()
    family = words.pop().decode() if words and words[-1] in _FAMILIES else None
    return _Columns(words[0].decode() if words else None, family)
