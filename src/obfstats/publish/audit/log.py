"""The audit of a statistics log (docs/statistics-log.md): what it reveals to an attacker who takes the disk.

A log must never leave the machine. The findings tell how much it reveals, and whether anything else is wrong with it.
Memory grows with the number of different hashes.
"""

from __future__ import annotations

from binascii import unhexlify
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from obfstats.formats.interval import INTERVAL_SECONDS, LABEL_LENGTH, parse_time
from obfstats.formats.logline import HASH_OFFSET, SUFFIX_OFFSET, find_damage, parse_columns
from obfstats.publish.audit.findings import Code, finding
from obfstats.publish.audit.numbers import is_suspicious_name
from obfstats.publish.audit.published import audit_moments, has_address
from obfstats.publish.intervals import has_all_lines, interval_lengths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from obfstats.publish.audit.findings import Finding

_HASH_SIZE = 20

_MAX_NAMED = 7
"""Intervals up to which each has a finding of its own."""

_MIN_RUN = 4
"""Lines in ascending order, on average, from which batches are taken to be sorted; in random order they are two."""

_MIN_CLIENTS = 6
"""Clients from which on a byte that all their hashes share is no chance: 20 * 256^-5, one in 50 billion."""


@dataclass(slots=True, repr=False)
class _CountryDay:
    """One country in one interval.

    Attributes:
        first_client: its first client's hash.
        lines: its connections.
        has_single_client: whether all of them are that client's.
    """

    first_client: bytes
    lines: int = 0
    has_single_client: bool = True


@dataclass(slots=True, repr=False)
class _IntervalLines:
    """One interval.

    Attributes:
        countries: those with a connection.
        lines: its connections.
        clients: different hashes that no earlier interval has.
        first_hash: the first of these, as a number.
        differences: the bits in which another differs from it.
        runs: how many runs of ascending lines it has. A batch is written sorted, so there are at least as many batches.
        latest: the latest line.
    """

    countries: list[_CountryDay] = field(default_factory=list)
    lines: int = 0
    clients: int = 0
    first_hash: int = 0
    differences: int = 0
    runs: int = 0
    latest: bytes = b""

    def add(self, line: bytes, *, is_adjacent: bool) -> None:
        """Count a line; `is_adjacent` if the line before it in the file is of this interval as well."""
        self.lines += 1
        self.runs += not is_adjacent or line < self.latest
        self.latest = line

    def add_client(self, hash_bytes: bytes) -> None:
        """Count a client."""
        number = int.from_bytes(hash_bytes, "big")
        self.first_hash = self.first_hash if self.clients else number
        self.differences |= number ^ self.first_hash
        self.clients += 1

    def has_regular_hashes(self) -> bool:
        """Tell whether a byte is the same in all hashes, of too many clients for chance."""
        return self.clients >= _MIN_CLIENTS and 0 in self.differences.to_bytes(_HASH_SIZE, "big")


class _Log:
    """What has been read of a log."""

    def __init__(self) -> None:
        self.lines = 0
        self.damaged = 0
        self.addresses = 0
        self.intervals: dict[str, _IntervalLines] = {}
        self.suffixes: set[bytes] = set()
        self.reused_hashes: set[bytes] = set()
        self._interval_of_hash: dict[bytes, _IntervalLines] = {}
        self._prefixes: dict[bytes, tuple[_IntervalLines, _CountryDay]] = {}
        self._latest: _IntervalLines | None = None

    def add(self, line: bytes) -> None:
        self.lines += 1
        if find_damage(line):
            self.damaged += 1
            self.addresses += has_address(line)
            return
        prefix = line[:HASH_OFFSET]
        hash_bytes = unhexlify(line[HASH_OFFSET:SUFFIX_OFFSET])
        interval, country = self._prefixes.get(prefix) or self._add_prefix(prefix, hash_bytes)
        country.lines += 1
        country.has_single_client &= hash_bytes == country.first_client
        interval.add(line, is_adjacent=interval is self._latest)
        self._latest = interval
        first_interval = self._interval_of_hash.get(hash_bytes)
        if first_interval is None:
            self._interval_of_hash[hash_bytes] = interval
            interval.add_client(hash_bytes)
        elif first_interval is not interval:
            self.reused_hashes.add(hash_bytes)
        self.suffixes.add(line[SUFFIX_OFFSET:].rstrip(b"\n"))

    def _add_prefix(self, prefix: bytes, hash_bytes: bytes) -> tuple[_IntervalLines, _CountryDay]:
        interval = self.intervals.setdefault(prefix[:LABEL_LENGTH].decode(), _IntervalLines())
        country = _CountryDay(hash_bytes)
        interval.countries.append(country)
        self._prefixes[prefix] = interval, country
        return interval, country


def audit_log(lines: Iterable[bytes], now: datetime, mode: int | None) -> list[Finding]:
    """Find what a log reveals.

    Args:
        lines: the file's, with their newlines.
        now: the time, UTC.
        mode: the file's permissions; None where it has none.
    """
    log = _Log()
    for line in lines:
        log.add(line)
    starts = {start: parse_time(start) for start in sorted(log.intervals)}
    return [
        finding(Code.HASHES),
        *_audit_secrecy(log, mode),
        *_audit_size(log),
        *_audit_single_clients(log),
        _audit_batches(log, starts, now),
        *audit_moments(list(starts.values())),
        *_audit_intervals(starts, now),
    ]


def _audit_secrecy(log: _Log, mode: int | None) -> Iterator[Finding]:
    if mode is not None and mode & 0o077:
        yield finding(Code.PERMISSIONS, mode=f"{mode & 0o777:04o}")
    if log.reused_hashes:
        yield finding(Code.REUSED_HASHES, hashes=len(log.reused_hashes))
    regular = sum(interval.has_regular_hashes() for interval in log.intervals.values())
    if regular:
        yield finding(Code.REGULAR_HASHES, intervals=regular)
    transports = {parse_columns(suffix).transport for suffix in log.suffixes} - {None}
    suspicious = sum(is_suspicious_name(str(name)) for name in transports)
    if suspicious:
        yield finding(Code.SUSPICIOUS_NAMES, names=suspicious)
    if log.addresses:
        yield finding(Code.DAMAGED_ADDRESSES, lines=log.addresses)


def _audit_size(log: _Log) -> Iterator[Finding]:
    sizes = sorted(interval.lines for interval in log.intervals.values())
    each = f"{sizes[0]:,}" if sizes[0] == sizes[-1] else f"{sizes[0]:,} to {sizes[-1]:,}"
    yield finding(Code.LOG_SIZE, lines=log.lines, intervals=len(sizes), each=each)
    if len(log.intervals) <= _MAX_NAMED:
        for start, interval in sorted(log.intervals.items()):
            yield finding(Code.INTERVAL_SIZE, start=start, lines=interval.lines, countries=len(interval.countries))
    if log.damaged:
        yield finding(Code.DAMAGED_LOG_LINES, lines=log.damaged)


def _audit_single_clients(log: _Log) -> Iterator[Finding]:
    countries = [country for interval in log.intervals.values() for country in interval.countries]
    singles = [country.lines for country in countries if country.has_single_client]
    if singles:
        yield finding(
            Code.SINGLE_CLIENTS,
            singles=len(singles),
            country_days=len(countries),
            percent=len(singles) * 100 // len(countries),
            most=max(singles),
        )


def _audit_batches(log: _Log, starts: dict[str, datetime], now: datetime) -> Finding:
    """Find how closely a line can be dated by the batch that it was written with."""
    lengths = interval_lengths([*starts.values(), now])
    seconds = {label: max(1, length) for label, length in zip(starts, lengths, strict=False)}
    runs = sum(interval.runs for interval in log.intervals.values())
    if runs == len(log.intervals):
        return finding(Code.SORTED_INTERVALS)
    if runs * _MIN_RUN > sum(interval.lines for interval in log.intervals.values()):
        return finding(Code.NO_BATCHES)
    worst = max(log.intervals, key=lambda start: log.intervals[start].runs / seconds[start])
    runs = log.intervals[worst].runs
    return finding(Code.BATCHES, start=worst, batches=runs, precision=_precision(seconds[worst] / runs))


def _precision(seconds: float) -> str:
    minutes = round(seconds / 60)
    if not minutes:
        return "less than a minute"
    return "1 minute" if minutes == 1 else f"{minutes:,} minutes"


def _audit_intervals(starts: dict[str, datetime], now: datetime) -> Iterator[Finding]:
    unfinished = [label for label, start in starts.items() if not has_all_lines(start, now)]
    if unfinished:
        yield finding(Code.UNFINISHED_LOG, intervals=len(unfinished), start=unfinished[-1])
    short = sum(seconds < INTERVAL_SECONDS for seconds in interval_lengths(list(starts.values())))
    if short:
        yield finding(Code.CUT_SHORT_LOG, intervals=short)
