"""What a file is, by its first lines: a statistics log, documents, the ticket's tables, or tor's statistics.

Each line that can only be of one kind has a vote. Where there are as many of a log as of something else it is a log:
the one that must stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from obfstats.formats.document_lines import READERS
from obfstats.formats.logline import MAX_LINE_LENGTH, is_line
from obfstats.publish.audit.findings import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

REQUESTS_HEADING = b"Daily rounded total requests by country"
CLIENTS_HEADING = b"Daily rounded unique IPs by country"
"""The headings of the ticket's tables."""

TOR_KEYWORDS = {
    b"bridge-stats-end": b"obfsproxy-stats-end",
    b"bridge-ips": b"obfsproxy-ips",
    b"bridge-ip-versions": b"obfsproxy-ip-versions",
    b"bridge-ip-transports": b"obfsproxy-ip-transports",
}
"""Tor's keywords (dir-spec), and the document's for the same."""

_DOCUMENT_KEYWORDS = frozenset(keyword.encode() for keyword in READERS if keyword != "@type")
_OUR_TYPE = b"@type obfsproxy-stats "


def recognise(lines: Iterable[bytes]) -> Kind | None:
    """Tell what a file is.

    Args:
        lines: its first ones.

    Returns:
        None where not one of them is of any kind that is known.
    """
    votes = dict.fromkeys(Kind, 0)
    for line in lines:
        kind = _kind_of(line)
        if kind is not None:
            votes[kind] += 1
    kind = max(votes, key=votes.__getitem__)
    return kind if votes[kind] else None


def _kind_of(line: bytes) -> Kind | None:
    text = line.rstrip(b"\r\n")
    keyword = text.partition(b" ")[0]
    if len(line) <= MAX_LINE_LENGTH and is_line(line):
        return Kind.LOG
    if keyword in _DOCUMENT_KEYWORDS or text.startswith(_OUR_TYPE):
        return Kind.DOCUMENTS
    if keyword in TOR_KEYWORDS:
        return Kind.TOR
    return Kind.TABLES if text in {REQUESTS_HEADING, CLIENTS_HEADING} else None
