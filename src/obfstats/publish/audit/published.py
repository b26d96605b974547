"""The audit of what is published: the ticket's documents and tables, and tor's lines.

Documents (docs/document.md) and tor's lines (dir-spec, bridge-stats-end) are read one document at a time, however many
there are. A line that does not belong there is set aside, and the rest is read without it, so that one fault hides no
other. The ticket's tables become documents as well, one for each interval of a pair of tables, so that one set of
checks holds for all forms:

- Unexpected lines may hold anything. They are only counted and searched for what must never be published: an IP
  address, and 40 hex digits, which are a hash of the log or a fingerprint. Lines of the grammar can hold neither.
- Intervals must be whole, over, and published once: a reader who subtracts one number from another of nearly the same
  interval is left with the few clients in between.
- Numbers: numbers.py.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from obfstats.formats.document import LINES, Document, DocumentError, read_documents, write_document
from obfstats.formats.interval import INTERVAL_SECONDS, LABEL_LENGTH, parse_time
from obfstats.formats.logline import COUNTRY, HASH_OFFSET, is_prefix
from obfstats.publish.audit.findings import Code, found
from obfstats.publish.audit.numbers import PublishedNumbers
from obfstats.publish.intervals import OVER_AFTER, lengths
from obfstats.publish.rounding import CLIENTS_TITLE, REQUESTS_TITLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from obfstats.publish.audit.findings import Finding

TITLES = frozenset({REQUESTS_TITLE.encode(), CLIENTS_TITLE.encode()})
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
    unexpected, intervals, numbers = UnexpectedLines(), PublishedIntervals(), PublishedNumbers(counts_pairs=is_tor)
    for document in _read_documents(lines, TOR_KEYWORDS if is_tor else KEYWORDS, unexpected):
        end = _timestamp(document.end)
        intervals.add(document, end - document.seconds, end, over_at=end)
        numbers.add(document)
    return [*unexpected.findings(), *intervals.findings(now, Code.INTERVALS_END), *numbers.findings()]


def audit_tables(lines: Iterable[bytes], now: datetime) -> list[Finding]:
    """Find what the ticket's tables reveal.

    Args:
        lines: the file's, with their newlines.
        now: the time, UTC.
    """
    unexpected, intervals, numbers = UnexpectedLines(), PublishedIntervals(), PublishedNumbers()
    documents = _read_tables(lines, unexpected)
    starts = sorted({document.end for document in documents})
    seconds = dict(zip(starts, lengths([parse_time(start) for start in starts]), strict=True))
    for document in documents:
        begin = _timestamp(document.end)
        over_at = begin + int(OVER_AFTER.total_seconds())
        intervals.add(document, begin, begin + seconds[document.end], over_at=over_at)
        numbers.add(document)
    return [*unexpected.findings(), *intervals.findings(now, Code.INTERVALS_BEGIN), *numbers.findings()]


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

    def add_unknown(self, number: int, line: bytes) -> None:
        """Count a line without a known keyword.

        Args:
            number: which line of the file it is, counted from 1.
            line: its bytes.
        """
        if _FINGERPRINT.fullmatch(line.rstrip()):
            self._count(Code.FINGERPRINT, number)
        else:
            self._count(Code.UNKNOWN_KEYWORD, number)
            self._search(number, line)

    def add_damaged(self, number: int, line: bytes, reason: str) -> None:
        """Count a line with a known keyword that is not of the grammar, or misplaced.

        Args:
            number: which line of the file it is, counted from 1.
            line: its bytes.
            reason: what is wrong with it, in words that do not quote it.
        """
        self._reason = self._reason or reason
        self._count(Code.DAMAGED_LINE, number)
        self._search(number, line)

    def findings(self) -> Iterator[Finding]:
        """Give what was found; each is an alarm."""
        for code in (
            *(Code.FINGERPRINT, Code.ADDRESS, Code.HEX_DIGITS),
            *(Code.UNKNOWN_KEYWORD, Code.DAMAGED_LINE),
        ):
            if code in self._lines:
                first, lines = self._lines[code]
                where = f"line {first:,}" if lines == 1 else f"{lines:,} lines, the first is line {first:,},"
                yield found(code, where=where, **({"reason": self._reason} if code is Code.DAMAGED_LINE else {}))

    def _search(self, number: int, line: bytes) -> None:
        if has_address(line):
            self._count(Code.ADDRESS, number)
        if _HEX40.search(line):
            self._count(Code.HEX_DIGITS, number)

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
            unexpected.add_unknown(number, text)
            continue
        if LINES[keyword].is_heading and "obfsproxy-stats-end" in kept:
            yield from _finish(kept, latest, unexpected)
            kept = {}
        latest = number
        reason = _find_fault(keyword, arguments, kept)
        if reason:
            unexpected.add_damaged(number, text, reason)
        else:
            kept[keyword] = keyword.encode() + blank + arguments
    yield from _finish(kept, latest, unexpected)


def _find_fault(keyword: str, arguments: bytes, kept: dict[str, bytes]) -> str:
    """Say what is wrong with a line after those that were kept of its document; nothing if it is good."""
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
        unexpected.add_damaged(latest, b"", error.reason)


def _read_tables(lines: Iterable[bytes], unexpected: UnexpectedLines) -> list[Document]:
    """Read the rows of tables into documents, whose `end` is the interval's start: tables do not know the end.

    A second title of the same table begins another pair of tables. So does a row that is there already.
    """
    numbers: dict[tuple[int, str], dict[bytes, dict[str, int]]] = {}
    pair, titles = 0, [b""]
    for number, line in enumerate(lines, 1):
        text = line.removesuffix(b"\n")
        if text in TITLES:
            pair += text in titles
            titles = [text] if text in titles else [*titles, text]
            continue
        prefix, amount, title = text[:HASH_OFFSET], text[HASH_OFFSET:], titles[-1]
        if not is_prefix(prefix):
            unexpected.add_unknown(number, text)
        elif not _TABLE_NUMBER.fullmatch(amount):
            unexpected.add_damaged(number, text, "no number after the country")
        elif not title:
            unexpected.add_damaged(number, text, "row before a table's title")
        else:
            start, country = text[:LABEL_LENGTH].decode(), text[COUNTRY].decode().upper()
            pair += country in numbers.get((pair, start), {}).get(title, {})
            numbers.setdefault((pair, start), {}).setdefault(title, {})[country] = int(amount)
    return [
        Document(
            start,
            INTERVAL_SECONDS,
            ips=tables.get(CLIENTS_TITLE.encode(), {}),
            requests=tables.get(REQUESTS_TITLE.encode(), {}),
        )
        for (_, start), tables in numbers.items()
    ]


class _PublishedInterval(NamedTuple):
    """An interval: Unix times of its start, its end and when it is over, its label, and a digest of its numbers."""

    begin: int
    end: int
    over_at: int
    label: str
    digest: bytes


class PublishedIntervals:
    """The intervals of many documents, and nothing else of them."""

    def __init__(self) -> None:
        self._of_bridge: defaultdict[str | None, list[_PublishedInterval]] = defaultdict(list)

    def add(self, document: Document, begin: int, end: int, *, over_at: int) -> None:
        """Add one document's interval.

        Args:
            document: the document.
            begin: start of the interval, Unix time.
            end: its end, Unix time.
            over_at: from when on it may be published, Unix time.
        """
        numbers = replace(document, fingerprint=None, geoip=None, geoip6=None, minor=None)
        digest = blake2b(write_document(numbers), digest_size=16).digest()
        self._of_bridge[document.fingerprint].append(_PublishedInterval(begin, end, over_at, document.end, digest))

    def findings(self, now: datetime, overview: Code) -> Iterator[Finding]:
        """Give what was found.

        Args:
            now: the time, UTC.
            overview: how the intervals are listed.
        """
        bridges = self._bridges()
        intervals = [interval for of_bridge in bridges for interval in of_bridge]
        if not intervals:
            return
        first, last = min(one.label for one in intervals), max(one.label for one in intervals)
        when = f"at {first}" if first == last else f"from {first} to {last}"
        yield found(overview, intervals=len(intervals), when=when)
        named = sum(fingerprint is not None for fingerprint in self._of_bridge)
        if named:
            yield found(Code.BRIDGES, bridges=named)
        yield from _audit_repetition(bridges)
        yield from _audit_lengths(intervals, now.timestamp())

    def _bridges(self) -> list[list[_PublishedInterval]]:
        """Give each bridge's intervals. A document without a fingerprint may be of the only bridge that has one."""
        if len(self._of_bridge) <= 2 and None in self._of_bridge:
            return [[interval for of_bridge in self._of_bridge.values() for interval in of_bridge]]
        return [*self._of_bridge.values()]


def _audit_repetition(bridges: list[list[_PublishedInterval]]) -> Iterator[Finding]:
    same = different = overlapping = 0
    for intervals in bridges:
        latest: int | None = None
        for (begin, end), group in groupby(sorted(intervals), key=lambda interval: interval[:2]):
            digests = [interval.digest for interval in group]
            same += len(digests) > 1 and len(set(digests)) == 1
            different += len(set(digests)) > 1
            overlapping += latest is not None and begin < latest
            latest = end if latest is None else max(latest, end)
    if different:
        yield found(Code.REPEATED_WITH_OTHER_NUMBERS, intervals=different)
    if same:
        yield found(Code.REPEATED, intervals=same)
    if overlapping:
        yield found(Code.OVERLAPPING, intervals=overlapping)


def _audit_lengths(intervals: list[_PublishedInterval], now: float) -> Iterator[Finding]:
    unfinished = [interval.label for interval in intervals if interval.over_at > now]
    if unfinished:
        yield found(Code.UNFINISHED, intervals=len(unfinished), last=max(unfinished))
    seconds = [interval.end - interval.begin for interval in intervals]
    short = [length for length in seconds if length < SHORTEST]
    if short:
        yield found(Code.PART_OF_A_DAY, intervals=len(short), shortest=min(short))
    odd = sum(length != INTERVAL_SECONDS for length in seconds) - len(short)
    if odd:
        yield found(Code.ODD_LENGTH, intervals=odd)


def _timestamp(text: str) -> int:
    return int(parse_time(text).timestamp())
