"""The command `obfstats audit`: what a file reveals, in plain words.

A statistics log must never leave the machine; a published document may, if nothing is wrong with it. The content tells
which of them a file is. Rules:

- Of the file, only times of intervals, country codes, and transport names that are of their grammar are ever printed.
- The file is read once, from beginning to end, in lines of bounded length.
- Every check is one that a reader of the file could make: nothing else is looked at except the log's permissions.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from obfstats.commandline import open_standard_output, print_error
from obfstats.formats.document import MAX_DOCUMENT_LENGTH, TYPE
from obfstats.formats.logline import MAX_LINE_LENGTH, is_line
from obfstats.progress import show_progress
from obfstats.publish.audit.findings import Audit, Code, FileType, describe, finding
from obfstats.publish.audit.log import audit_log
from obfstats.publish.audit.published import KEYWORDS, TITLES, TOR_KEYWORDS, audit_documents, audit_tables
from obfstats.publish.logfiles import LogFileError, find, reading_error
from obfstats.publish.logreader import read_lines

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from obfstats.publish.logfiles import LogFile

_FIRST_BYTES = 1 << 20
"""Bytes at the beginning of a file that decide what it is."""

_MAX_LINE = MAX_DOCUMENT_LENGTH + 1
"""Bytes that are read of one line: a line of a whole document's length is damaged, whatever follows."""


_GZIP_FLAGS = {4: "extra data", 8: "a file's name", 16: "a comment"}


class UnknownFileError(Exception):
    """A file is nothing that can be audited. Its text is one sentence for the operator."""


def run_audit(options: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        The exit status: 0 where nothing speaks against publishing the file; 1 where it should not leave the machine;
        2 where it cannot be read or audited.
    """
    warn = partial(print_error, "obfstats audit")
    try:
        files = find([options.file])
        if len(files) != 1:
            warn(f"{len(files)} files match that pattern; name one")
            return 2
        with show_progress(files[0].size or 0) as advance:
            result = audit(files[0], now=datetime.now(UTC), advance=advance)
    except (LogFileError, UnknownFileError) as error:
        warn(str(error))
        return 2
    with open_standard_output() as out:
        out.writelines(f"{line}\n".encode() for line in describe(result))
    return 1 if result.has_alarm else 0


def audit(file: LogFile, *, now: datetime, advance: Callable[[int], None]) -> Audit:
    """Find out what a file reveals.

    Args:
        file: a statistics log, documents, tables or tor's lines; compressed or not.
        now: the time, UTC.
        advance: takes the number of bytes of the file that have been read since the last call.

    Raises:
        LogFileError: if it cannot be read.
        UnknownFileError: if it is neither a log nor anything that is published.
    """
    with closing(read_lines(file, _MAX_LINE, advance)) as lines:
        first, size = [], 0
        for line in lines:
            first.append(line)
            size += len(line)
            if size >= _FIRST_BYTES:
                break
        if not first:
            raise UnknownFileError(f"{file.name} is empty: it reveals nothing")
        file_type = _recognise(first)
        every = chain(first, lines)
        match file_type:
            case None:
                raise UnknownFileError(
                    f"{file.name} is neither a statistics log nor what `obfstats convert` makes of one for people "
                    "(tables, ticket, tor); is it the right file?"
                )
            case FileType.LOG:
                findings = audit_log(every, now, _read_mode(file))
            case FileType.TABLES:
                findings = audit_tables(every, now)
            case _:
                findings = audit_documents(every, now, is_tor=file_type is FileType.TOR)
        if file_type is not FileType.LOG and (fields := _gzip_fields(file)):
            findings.append(finding(Code.GZIP_HEADER, fields=" and ".join(fields)))
    return Audit(file_type, findings)


def _recognise(lines: Iterable[bytes]) -> FileType | None:
    """Tell what a file is by its first lines; None where no line is of any known type.

    Each line that can only be of one type has a vote. A tie that includes the log is a log: the one that must stay.
    """
    votes = dict.fromkeys(FileType, 0)
    for line in lines:
        file_type = _type_of(line)
        if file_type is not None:
            votes[file_type] += 1
    file_type = max(votes, key=votes.__getitem__)
    return file_type if votes[file_type] else None


def _type_of(line: bytes) -> FileType | None:
    text = line.rstrip(b"\r\n")
    keyword = text.partition(b" ")[0]
    if len(line) <= MAX_LINE_LENGTH and is_line(line):
        return FileType.LOG
    if keyword in KEYWORDS if keyword != b"@type" else text.startswith(b"@type %s " % TYPE.encode()):
        return FileType.DOCUMENTS
    if keyword in TOR_KEYWORDS:
        return FileType.TOR
    return FileType.TABLES if text in TITLES else None


def _gzip_fields(file: LogFile) -> list[str]:
    """Name what a gzip header contains (RFC 1952); of standard input it is not known."""
    if file.path is None or not file.compressed:
        return []
    try:
        with file.path.open("rb") as raw:
            header = raw.read(8)
    except OSError as error:
        raise reading_error(file.name, error) from None
    if not header.startswith(b"\x1f\x8b"):
        return []
    return [name for bit, name in _GZIP_FLAGS.items() if header[3] & bit] + ["a time"] * any(header[4:])


def _read_mode(file: LogFile) -> int | None:
    """Give a file's permissions; None for what is not a regular file."""
    if file.path is None or file.size is None:
        return None
    try:
        return file.path.stat().st_mode
    except OSError as error:
        raise reading_error(file.name, error) from None
