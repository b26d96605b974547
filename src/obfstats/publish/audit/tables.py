"""The audit of the ticket's two tables (ticket 5047; tables.py of this package's parent writes them).

    Daily rounded total requests by country
    2012-02-07 14:01:04 de 16
    Daily rounded unique IPs by country
    2012-02-07 14:01:04 de 8

Several pairs of tables may stand one below the other. A row that comes again is an interval that was published twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from obfstats.formats.document import Document
from obfstats.formats.interval import INTERVAL_SECONDS
from obfstats.publish.audit.findings import Finding, not_over, numbered, twice
from obfstats.publish.audit.numbers import Numbers
from obfstats.publish.audit.recognising import CLIENTS_HEADING, REQUESTS_HEADING
from obfstats.publish.audit.spans import SHORTEST
from obfstats.publish.audit.strangers import Strangers
from obfstats.publish.simple import OVER_AFTER, is_date_time_country

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ROW_START = 23
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,11}")


@dataclass(slots=True)
class _Interval:
    """The rows of one interval: numbers by upper-case country code, in the order of the file."""

    requests: dict[str, int] = field(default_factory=dict)
    clients: dict[str, int] = field(default_factory=dict)


class _Tables:
    """All rows of a file."""

    def __init__(self) -> None:
        self.strangers = Strangers()
        self.intervals: dict[str, _Interval] = {}
        self.same: set[str] = set()
        self.different: set[str] = set()
        self._heading = b""

    def take(self, number: int, text: bytes) -> None:
        """Take one line, without its end."""
        if text in {REQUESTS_HEADING, CLIENTS_HEADING}:
            self._heading = text
            return
        begin, amount = text[:_ROW_START], text[_ROW_START:]
        if not is_date_time_country(begin):
            self.strangers.take_unknown(number, text)
        elif not _NUMBER.fullmatch(amount):
            self.strangers.take_damaged(number, text, "no number behind the country")
        elif not self._heading:
            self.strangers.take_damaged(number, text, "it stands before a table's heading")
        else:
            self._take_row(begin[:19].decode(), begin[20:22].decode().upper(), int(amount))

    def _take_row(self, start: str, country: str, amount: int) -> None:
        interval = self.intervals.setdefault(start, _Interval())
        numbers = interval.clients if self._heading == CLIENTS_HEADING else interval.requests
        before = numbers.get(country)
        numbers.setdefault(country, amount)
        if before is not None:
            (self.same if before == amount else self.different).add(start)


def audit_tables(lines: Iterable[bytes], now: datetime) -> list[Finding]:
    """Say what tables give away.

    Args:
        lines: the file's, with their ends.
        now: the time, UTC.
    """
    tables, numbers = _Tables(), Numbers()
    for number, line in enumerate(lines, 1):
        tables.take(number, line.removesuffix(b"\n"))
    for start, interval in tables.intervals.items():
        numbers.add(Document(start, INTERVAL_SECONDS, ips=interval.clients, requests=interval.requests))
    return [*tables.strangers.findings(), *_intervals(tables, now), *numbers.findings()]


def _intervals(tables: _Tables, now: datetime) -> Iterator[Finding]:
    """Give what there is to say about intervals."""
    starts = sorted(tables.intervals)
    if not starts:
        return
    when = f"from {starts[0]} to {starts[-1]}" if len(starts) > 1 else f"at {starts[0]}"
    yield Finding(f"{numbered(len(starts), 'interval begins', 'intervals begin')} {when}.")
    yield from twice(len(tables.different), len(tables.same - tables.different))
    moments = [datetime.fromisoformat(start).replace(tzinfo=UTC) for start in starts]
    early = sum(now - moment < OVER_AFTER for moment in moments)
    if early:
        yield not_over(early, f"the last one began at {starts[-1]}")
    lengths = [int((later - earlier).total_seconds()) for earlier, later in pairwise(moments)]
    short = [length for length in lengths if length < INTERVAL_SECONDS]
    if short:
        yield Finding(
            f"{numbered(len(short), 'interval was', 'intervals were')} cut short by a restart, the shortest to "
            f"{numbered(min(short), 'second')}: that dates clients to it, and tables do not say how long it was. Tor "
            "does not publish less than 23 hours.",
            is_alarm=min(short) < SHORTEST,
        )
