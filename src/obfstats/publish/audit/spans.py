"""When the intervals of documents were: each published once, whole, and over.

Who has one number for an interval and another one for nearly the same can take one from the other: what remains are the
few clients between them (threats, "A reader").
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from obfstats.formats.document import write_document
from obfstats.formats.interval import INTERVAL_SECONDS
from obfstats.publish.audit.findings import Finding, not_over, numbered, twice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obfstats.formats.document import Document

SHORTEST = 82_800
"""Seconds of the shortest interval that tor publishes (23 hours)."""

_YEAR_1 = datetime.min.replace(tzinfo=UTC)


class _Span(NamedTuple):
    """An interval: seconds since the year 1 of its beginning and end, and a digest of its numbers."""

    begin: int
    end: int
    digest: bytes


class Spans:
    """The intervals of many documents, and of nothing else of them."""

    def __init__(self) -> None:
        self._of_bridge: defaultdict[str | None, list[_Span]] = defaultdict(list)

    def add(self, document: Document) -> None:
        """Take one document's interval."""
        end = _seconds(datetime.fromisoformat(document.end).replace(tzinfo=UTC))
        numbers = replace(document, fingerprint=None, geoip=None, geoip6=None, is_typed=False, minor=0)
        digest = blake2b(write_document(numbers), digest_size=16).digest()
        self._of_bridge[document.fingerprint].append(_Span(end - document.seconds, end, digest))

    def findings(self, now: datetime) -> Iterator[Finding]:
        """Give what was found.

        Args:
            now: the time, UTC.
        """
        bridges = self._bridges()
        every = [span for spans in bridges for span in spans]
        if not every:
            return
        yield _overview(every, sum(fingerprint is not None for fingerprint in self._of_bridge))
        same = different = overlapping = 0
        for spans in bridges:
            groups = [[*group] for _, group in groupby(sorted(spans), key=lambda span: span[:2])]
            for group in groups:
                if len(group) > 1 and len({span.digest for span in group}) == 1:
                    same += 1
                elif len(group) > 1:
                    different += 1
            overlapping += _overlaps([group[0] for group in groups])
        yield from twice(different, same)
        if overlapping:
            yield Finding(
                f"{numbered(overlapping, 'interval begins', 'intervals begin')} before an earlier one ends: whoever "
                "takes one from the other learns about the clients between them.",
                is_alarm=True,
            )
        yield from _lengths(every, _seconds(now))

    def _bridges(self) -> list[list[_Span]]:
        """Give each bridge's intervals. A document without a fingerprint may be of the only bridge that has one."""
        if len(self._of_bridge) <= 2 and None in self._of_bridge:
            return [[span for spans in self._of_bridge.values() for span in spans]]
        return [*self._of_bridge.values()]


def _overview(spans: list[_Span], bridges: int) -> Finding:
    first, last = min(span.end for span in spans), max(span.end for span in spans)
    whose = f"; {numbered(bridges, 'bridge is', 'bridges are')} named by the fingerprint's hash" if bridges else ""
    when = f"from {_text(first)} to {_text(last)}" if first != last else f"at {_text(first)}"
    return Finding(f"{numbered(len(spans), 'interval ends', 'intervals end')} {when}{whose}.")


def _lengths(spans: list[_Span], now: int) -> Iterator[Finding]:
    early = [span for span in spans if span.end > now]
    if early:
        yield not_over(len(early), f"the last one ends at {_text(max(span.end for span in early))}")
    short = [span.end - span.begin for span in spans if span.end - span.begin < SHORTEST]
    if short:
        yield Finding(
            f"{numbered(len(short), 'interval is', 'intervals are')} a part of a day, the shortest of "
            f"{numbered(min(short), 'second')}: that dates clients to it. Tor does not publish less than 23 hours.",
            is_alarm=True,
        )
    odd = sum(span.end - span.begin != INTERVAL_SECONDS for span in spans) - len(short)
    if odd:
        yield Finding(f"{numbered(odd, 'interval is', 'intervals are')} not of 24 hours, but no shorter than 23.")


def _overlaps(spans: list[_Span]) -> int:
    """Count the intervals that begin before one ends that began before; they are sorted."""
    overlapping, latest = 0, None
    for span in spans:
        if latest is not None and span.begin < latest:
            overlapping += 1
        latest = span.end if latest is None else max(latest, span.end)
    return overlapping


def _seconds(moment: datetime) -> int:
    """Count the seconds since the year 1 began."""
    since = moment - _YEAR_1
    return since.days * 86_400 + since.seconds


def _text(seconds: int) -> str:
    """Write a moment as documents do."""
    days, rest = divmod(seconds, 86_400)
    return f"{date.fromordinal(days + 1).isoformat()} {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
