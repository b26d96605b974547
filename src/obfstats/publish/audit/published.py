"""The audit of what is published: the ticket's documents and tables, and tor's lines.

Documents (docs/document.md) and tor's lines (dir-spec, bridge-stats-end) are read one document at a time, however many
there are. A line that does not belong there is set aside, and the rest is read without it, so that one fault hides no
other. The ticket's tables become documents as well, one for each interval, so that one set of checks holds for all
forms:

- Unexpected lines may hold anything. They are only counted and searched for what must never be published: an IP
  address, and 40 hex digits, which are a hash of the log or a fingerprint. Lines of the grammar can hold neither.
- Intervals must be whole, over for as long as `obfstats convert` waits, and published once: a reader who subtracts one
  number from another of nearly the same interval is left with the few clients in between.
- Numbers: numbers.py.
"""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from obfstats.formats.document import LINES, Document, DocumentError, read_documents, write_document
from obfstats.formats.interval import INTERVAL_SECONDS, LABEL_LENGTH, format_time, parse_time
from obfstats.formats.logline import COUNTRY, HASH_OFFSET, is_prefix
from obfstats.publish.audit.findings import Code, finding
from obfstats.publish.audit.numbers import PublishedNumbers
from obfstats.publish.intervals import COMPLETE_AFTER, interval_lengths
from obfstats.publish.tables import CLIENTS_TITLE, REQUESTS_TITLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from obfstats.publish.audit.findings import Finding

_REQUESTS, _CLIENTS = REQUESTS_TITLE.encode(), CLIENTS_TITLE.encode()
TITLES = frozenset({_REQUESTS, _CLIENTS})
"""The titles of the ticket's tables."""

KEYWORDS = {keyword.encode(): keyword for keyword in LINES}
"""The keywords of documents."""

TOR_KEYWORDS = {
    b"bridge-stats-end": "obfsproxy-stats-end",
    b"bridge-ips": "obfsproxy-ips",
    b"bridge-ip-versions": "obfsproxy-ip-versions",
    b"bridge-ip-transports": "obfsproxy-ip-transports",
}
"""Tor's keywords (dir-spec), and the document's for the same."""

SHORTEST = 82_800
"""Seconds of the shortest interval that tor publishes (23 hours)."""

MAX_STARTS = 12
"""Intervals that may begin within 24 hours; more starts are taken for moments of connections."""

_WRITTEN_AFTER = int(COMPLETE_AFTER.total_seconds()) - INTERVAL_SECONDS
"""Seconds after an interval's end when all its lines have been written."""

_TABLE_NUMBER = re.compile(rb"0|[1-9][0-9]{0,11}")

_IPV4 = re.compile(rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_HEX_AND_COLONS = re.compile(rb"[0-9A-Fa-f:]{2,}")
_HEX40 = re.compile(rb"[0-9A-Fa-f]{40}")
_FINGERPRINT = re.compile(rb"fingerprint [0-9A-Fa-f ]{40,50}")


def audit_documents(lines: Iterable[bytes], now: datetime, *, is_tor: bool) -> list[Finding]:
    """Find what documents reveal.

    Args:
        lines: the file's, with their newlines.
        now: the time, UTC.
        is_tor: whether they have tor's keywords, and count clients as tor does.
    """
    unexpected, numbers = UnexpectedLines(), PublishedNumbers(counts_pairs=is_tor)
    intervals = []
    for document in _read_documents(lines, TOR_KEYWORDS if is_tor else KEYWORDS, unexpected):
        end = _timestamp(document.end)
        values = replace(
            document, fingerprint=None, instance=None, geoip=None, geoip6=None, ipv6_prefix=None, minor=None
        )
        digest = blake2b(write_document(values), digest_size=16).digest()
        intervals.append(
            _PublishedInterval(
                end - document.seconds,
                end,
                end + _WRITTEN_AFTER,
                document.end,
                digest,
                document.fingerprint,
                document.instance or "",
            )
        )
        numbers.add(document)
    return [
        *unexpected.findings(),
        *_overview(intervals, Code.INTERVALS_END),
        *_audit_repetition(intervals),
        *_audit_times(intervals, now, Code.PART_OF_A_DAY),
        *numbers.findings(),
    ]


def audit_tables(lines: Iterable[bytes], now: datetime) -> list[Finding]:
    """Find what the ticket's tables reveal.

    Args:
        lines: the file's, with their newlines.
        now: the time, UTC.
    """
    unexpected, numbers = UnexpectedLines(), PublishedNumbers()
    documents, repeated = _read_tables(lines, unexpected)
    for document in documents:
        numbers.add(document)
    starts = sorted(document.end for document in documents)
    intervals = []
    for start, seconds in zip(starts, interval_lengths([parse_time(start) for start in starts]), strict=True):
        begin = _timestamp(start)
        over_at = begin + INTERVAL_SECONDS + _WRITTEN_AFTER
        intervals.append(_PublishedInterval(begin, begin + seconds, over_at, start))
    return [
        *unexpected.findings(),
        *_overview(intervals, Code.INTERVALS_BEGIN),
        *repeated,
        *audit_moments([parse_time(start) for start in starts]),
        *_audit_times(intervals, now, Code.CUT_SHORT_ROWS),
        *numbers.findings(),
    ]


def has_address(line: bytes) -> bool:
    """Tell whether something in a line looks like an IP address."""
    return _IPV4.search(line) is not None or any(
        b"::" in match[0] or match[0].count(b":") >= 7 for match in _HEX_AND_COLONS.finditer(line)
    )


class UnexpectedLines:
    """Lines that do not belong in what is published: how many of each kind, and where the first is."""

    def __init__(self) -> None:
        self._lines: dict[Code, tuple[int, int]] = {}
        self._reason = ""

    def add(self, number: int, line: bytes, reason: str = "") -> None:
        """Count a line.

        Args:
            number: which line of the file it is, counted from 1.
            line: its bytes.
            reason: what is wrong with it, in words that do not quote it; empty if its keyword is unknown.
        """
        if not reason and _FINGERPRINT.fullmatch(line.rstrip()):
            self._count(Code.FINGERPRINT, number)
            return
        self._reason = self._reason or reason
        self._count(Code.DAMAGED_LINE if reason else Code.UNKNOWN_KEYWORD, number)
        if has_address(line):
            self._count(Code.ADDRESS, number)
        if _HEX40.search(line):
            self._count(Code.HEX_DIGITS, number)

    def findings(self) -> Iterator[Finding]:
        """Give what was found, in the order of the codes; each is an alarm."""
        for code in [code for code in Code if code in self._lines]:
            first, lines = self._lines[code]
            where = f"line {first:,}" if lines == 1 else f"{lines:,} lines, the first is line {first:,},"
            yield finding(code, where=where, **({"reason": self._reason} if code is Code.DAMAGED_LINE else {}))

    def _count(self, code: Code, number: int) -> None:
        first, lines = self._lines.get(code, (number, 0))
        self._lines[code] = first, lines + 1


def _read_documents(
    lines: Iterable[bytes], keywords: dict[bytes, str], unexpected: UnexpectedLines
) -> Iterator[Document]:
    """Read documents, each from its good lines only.

    Args:
        lines: the file's.
        keywords: the keywords of the file, and the document's for the same.
        unexpected: gets all other lines.
    """
    kept: dict[str, bytes] = {}
    latest = 0
    for number, line in enumerate(lines, 1):
        text = line.removesuffix(b"\n")
        written, blank, arguments = text.partition(b" ")
        keyword = keywords.get(written)
        if keyword is None:
            unexpected.add(number, text)
            continue
        if LINES[keyword].is_heading and "obfsproxy-stats-end" in kept:
            yield from _finish(kept, latest, unexpected)
            kept = {}
        latest = number
        reason = _find_fault(keyword, arguments, kept)
        if reason:
            unexpected.add(number, text, reason)
        else:
            kept[keyword] = keyword.encode() + blank + arguments
    yield from _finish(kept, latest, unexpected)


def _find_fault(keyword: str, arguments: bytes, kept: dict[str, bytes]) -> str:
    """Find what is wrong with a line that follows the kept lines of its document; empty if nothing is."""
    if keyword in kept:
        return "duplicate line"
    if not LINES[keyword].is_heading and "obfsproxy-stats-end" not in kept:
        return "line before the end of an interval"
    try:
        LINES[keyword].read(arguments.decode("ascii"))
    except UnicodeDecodeError:
        return "non-ASCII byte"
    except ValueError as error:
        return str(error)
    return ""


def _finish(kept: dict[str, bytes], latest: int, unexpected: UnexpectedLines) -> Iterator[Document]:
    try:
        yield from read_documents(b"\n".join(kept.values()))
    except DocumentError as error:
        unexpected.add(latest, b"", error.reason)


def _read_tables(lines: Iterable[bytes], unexpected: UnexpectedLines) -> tuple[list[Document], list[Finding]]:
    """Read the rows of any number of tables.

    Returns:
        A document for each interval, whose `end` is the interval's start: tables do not state its end. And the
        findings about rows that are in the file more than once, of which the first counts.
    """
    intervals: dict[str, dict[bytes, dict[str, int]]] = {}
    same, different = set[str](), set[str]()
    title = b""
    for number, line in enumerate(lines, 1):
        text = line.removesuffix(b"\n")
        if text in TITLES:
            title = text
            continue
        prefix, amount = text[:HASH_OFFSET], text[HASH_OFFSET:]
        if not is_prefix(prefix):
            unexpected.add(number, text)
        elif not _TABLE_NUMBER.fullmatch(amount):
            unexpected.add(number, text, "no number after the country")
        elif not title:
            unexpected.add(number, text, "row before a table's title")
        else:
            start, country = text[:LABEL_LENGTH].decode(), text[COUNTRY].decode().upper()
            numbers = intervals.setdefault(start, {}).setdefault(title, {})
            if country in numbers:
                (same if numbers[country] == int(amount) else different).add(start)
            numbers.setdefault(country, int(amount))
    documents = [
        Document(start, INTERVAL_SECONDS, ips=tables.get(_CLIENTS, {}), requests=tables.get(_REQUESTS, {}))
        for start, tables in intervals.items()
    ]
    return documents, list(_repetition(len(different), len(same - different)))


class _PublishedInterval(NamedTuple):
    """An interval of a document. Times are Unix times.

    Attributes:
        begin: its start.
        end: its end.
        over_at: when it may be published.
        label: its time as it is in the file.
        digest: a digest of its numbers.
        fingerprint: the bridge's, if the document has it.
        instance: which of the bridge's; empty for the only one.
    """

    begin: int
    end: int
    over_at: int
    label: str
    digest: bytes = b""
    fingerprint: str | None = None
    instance: str = ""


def _overview(intervals: list[_PublishedInterval], code: Code) -> Iterator[Finding]:
    if intervals:
        first, last = min(one.label for one in intervals), max(one.label for one in intervals)
        when = f"at {first}" if first == last else f"from {first} to {last}"
        yield finding(code, intervals=len(intervals), when=when)


def _audit_repetition(intervals: list[_PublishedInterval]) -> Iterator[Finding]:
    named = len({interval.fingerprint for interval in intervals} - {None})
    if named:
        yield finding(Code.BRIDGES, bridges=named)
    instances = len({(interval.fingerprint, interval.instance) for interval in intervals if interval.instance})
    if instances:
        yield finding(Code.INSTANCES, instances=instances)

    def bridge(interval: _PublishedInterval) -> tuple[str, str]:
        # A document without a fingerprint may be of the only bridge that has one.
        return interval.fingerprint or "" if named > 1 else "", interval.instance

    same = different = overlapping = 0
    for _, of_bridge in groupby(sorted(intervals, key=lambda one: (bridge(one), one.begin, one.end)), key=bridge):
        latest: int | None = None
        for (begin, end), group in groupby(of_bridge, key=lambda interval: (interval.begin, interval.end)):
            digests = [interval.digest for interval in group]
            same += len(digests) > 1 and len(set(digests)) == 1
            different += len(set(digests)) > 1
            overlapping += latest is not None and begin < latest
            latest = end if latest is None else max(latest, end)
    yield from _repetition(different, same)
    if overlapping:
        yield finding(Code.OVERLAPPING, intervals=overlapping)


def _repetition(different: int, same: int) -> Iterator[Finding]:
    if different:
        yield finding(Code.REPEATED_WITH_OTHER_NUMBERS, intervals=different)
    if same:
        yield finding(Code.REPEATED, intervals=same)


def audit_moments(starts: Sequence[datetime]) -> Iterator[Finding]:
    """Find starts of intervals that look like moments of connections.

    Args:
        starts: the intervals', sorted.
    """
    for first, last in zip(starts, starts[MAX_STARTS:], strict=False):
        if (last - first).total_seconds() < INTERVAL_SECONDS:
            yield finding(Code.MOMENTS, most=MAX_STARTS, first=format_time(first))
            return


def _audit_times(intervals: list[_PublishedInterval], now: datetime, part_of_a_day: Code) -> Iterator[Finding]:
    unfinished = [interval.label for interval in intervals if interval.over_at > now.timestamp()]
    if unfinished:
        yield finding(Code.UNFINISHED, intervals=len(unfinished), last=max(unfinished))
    seconds = [interval.end - interval.begin for interval in intervals]
    short = [length for length in seconds if length < SHORTEST]
    if short:
        yield finding(part_of_a_day, intervals=len(short), shortest=min(short))
    odd = sum(length != INTERVAL_SECONDS for length in seconds) - len(short)
    if odd:
        yield finding(Code.ODD_LENGTH, intervals=odd)


def _timestamp(text: str) -> int:
    return int(parse_time(text).timestamp())
