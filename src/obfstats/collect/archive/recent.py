"""Recent files: the documents of one publication one after the other, and their signatures beside them.

    recent/obfsproxy-stats/2026-11-30-14-09-00-obfsproxy-stats
    recent/obfsproxy-stats/2026-11-30-14-09-00-obfsproxy-stats.signatures     four lines a document, in the same order

A document begins with its `@type` line and ends in LF, so it is here byte for byte what its bridge signed. The time is
that of the publication, as with CollecTor. Streamed: memory does not depend on the number of documents. Pure.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RECENT_FOLDER = "recent/obfsproxy-stats"

SIGNATURES_SUFFIX = ".signatures"
"""Follows the name of a recent file in that of its documents' signatures."""

_SIGNATURE_LINES = 4
_FIRST_LINE = b"@type "
_TIME = "%Y-%m-%d-%H-%M-%S"
_NAME = re.compile("([0-9]{4}(?:-[0-9]{2}){5})-obfsproxy-stats")


def name_recent(moment: int) -> str:
    """Give the name of the file of a publication.

    Args:
        moment: of the publication, epoch seconds.
    """
    return f"{datetime.fromtimestamp(moment, UTC).strftime(_TIME)}-obfsproxy-stats"


def time_of_recent(name: str) -> int | None:
    """Give the publication's time, epoch seconds; None where the name is another file's."""
    match = _NAME.fullmatch(name)
    try:
        return int(datetime.strptime(match[1], _TIME).replace(tzinfo=UTC).timestamp()) if match else None
    except ValueError:
        return None


def split_recent(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Give the documents of a recent file.

    Args:
        lines: of the file, with their ends.
    """
    document: list[bytes] = []
    for line in lines:
        if line.startswith(_FIRST_LINE) and document:
            yield b"".join(document)
            document = []
        document.append(line)
    if document:
        yield b"".join(document)


def split_signatures(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Give the signatures of a recent file's documents.

    Args:
        lines: of the file beside it, with their ends.
    """
    rest = iter(lines)
    while signature := b"".join(islice(rest, _SIGNATURE_LINES)):
        yield signature
