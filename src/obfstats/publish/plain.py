"""Logs to numbers in plain Python: where numpy is not installed, and for short logs.

The reading is simple.py's, which needs nothing but the standard library; what is made of it here are all the numbers
that any document holds. tally/ gives the same, faster.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from obfstats.formats.counts import ClientClass, Counts
from obfstats.formats.interval import Interval
from obfstats.formats.logline import Columns, parse_columns
from obfstats.publish.logfiles import READING_ERRORS, reading_error
from obfstats.publish.report import Report
from obfstats.publish.simple import read_log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.simple import Table

_HASH_SIZE = 40
_START = slice(0, 19)
_COUNTRY = slice(20, 22)


@dataclass(slots=True)
class _Row:
    """What is known about one country in one interval.

    Attributes:
        requests: how many lines.
        clients: which different ones, as they end behind the country.
    """

    requests: int = 0
    clients: set[bytes] = field(default_factory=set)


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
    clients = Counter[ClientClass]()
    for country, row in rows.items():
        columns = defaultdict[bytes, set[Columns]](set)
        for client in row.clients:
            columns[client[:_HASH_SIZE]].add(parse_columns(client[_HASH_SIZE:-1]))
        clients.update(ClientClass(country, frozenset(each)) for each in columns.values())
    return Counts(Interval.parse(start), {country: row.requests for country, row in rows.items()}, clients)
