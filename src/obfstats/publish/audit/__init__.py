"""What a file gives away, in plain words: the verb `obfstats audit` (design: the stations of the data's journey).

A statistics log must never leave the machine; a published document may, if nothing is wrong with it. Which of them a
file is, it tells itself. Rules:

- No byte of the file is ever said but times of intervals and transports' names that are of their grammar.
- The file is read once, from its beginning to its end, in lines of bounded length.
- Every check is one that a reader of the file could make: nothing else is looked at but the log's permissions.
"""

from __future__ import annotations

from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING

from obfstats.publish.audit.document import audit_documents
from obfstats.publish.audit.findings import Audit, Finding, Kind, describe
from obfstats.publish.audit.lines import read_lines
from obfstats.publish.audit.log import audit_log
from obfstats.publish.audit.recognising import recognise
from obfstats.publish.audit.tables import audit_tables
from obfstats.publish.logfiles import reading_error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from datetime import datetime

    from obfstats.publish.logfiles import LogFile

__all__ = ["Audit", "Finding", "Kind", "UnknownFileError", "audit", "describe"]

_LOOKED_AT = 1 << 20
"""Bytes at the beginning of a file that tell what it is."""


class UnknownFileError(Exception):
    """A file is nothing that can be audited. Its text is one sentence for the operator."""


def audit(file: LogFile, *, now: datetime, advance: Callable[[int], None]) -> Audit:
    """Find out what a file gives away.

    Args:
        file: a statistics log, documents, tables or tor's lines; compressed or not.
        now: the time, UTC.
        advance: takes how many bytes of the file have been read since the last time.

    Raises:
        LogFileError: if it cannot be read.
        UnknownFileError: if it is neither a log nor anything that is published.
    """
    with closing(read_lines(file, advance)) as lines:
        first = _first(lines)
        if not first:
            raise UnknownFileError(f"{file.name} is empty: there is nothing in it to give away")
        kind = recognise(first)
        every = chain(first, lines)
        match kind:
            case None:
                raise UnknownFileError(
                    f"{file.name} is neither a statistics log nor what `obfstats convert` makes of one for people "
                    "(tables, ticket, tor); is it the right file?"
                )
            case Kind.LOG:
                findings = audit_log(every, now, _mode(file))
            case Kind.TABLES:
                findings = audit_tables(every, now)
            case _:
                findings = audit_documents(every, now, is_tor=kind is Kind.TOR)
    return Audit(kind, findings)


def _first(lines: Generator[bytes]) -> list[bytes]:
    """Give the lines that tell what a file is."""
    first = []
    size = 0
    for line in lines:
        first.append(line)
        size += len(line)
        if size >= _LOOKED_AT:
            break
    return first


def _mode(file: LogFile) -> int | None:
    """Give a file's permissions; None for what is no file."""
    if file.path is None or file.size is None:
        return None
    try:
        return file.path.stat().st_mode
    except OSError as error:
        raise reading_error(file.name, error) from None
