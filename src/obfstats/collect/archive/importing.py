"""The command `obfstats collect import`: old documents from local files into the archive, such as those of log2stats.

- Only intervals that ended more than 30 days ago: younger ones are sent by their bridge, with its key.
- The collector's key signs them, and the index says of their months' archives that they are imported.
- All files are checked before anything is taken. What the archive has already stays as it is.
- Root acts as the owner of the collector's folder from the moment on when the files are read.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

from obfstats.collect.archive.monthly import MonthError
from obfstats.collect.archive.publishing import Publication, describe, open_collector_key
from obfstats.collect.client.outgoing import write_outgoing
from obfstats.collect.signing import SigningError
from obfstats.collect.store.admission import Outcome
from obfstats.collect.store.database import DatabaseError, ledger_url, open_database
from obfstats.collect.store.ledger import Ledger
from obfstats.collect.submission import MAX_AGE_SECONDS, TRUSTED_COMMENT, Refusal, Submission, check_submission
from obfstats.commandline import fail, one_line, print_error
from obfstats.formats.document import DocumentError, read_documents, split_documents
from obfstats.lockedfile import FileInUseError, LockedFileError, acting_as_owner_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from obfstats.collect.archive.publisher import ArchivePublisher
    from obfstats.collect.signing import SigningKey

_FIRST_END = 1_325_376_000
"""2012-01-01: an older time is that of a wrong clock, and not all readers of archives take any."""

_BATCH = 500
_BUSY_SECONDS = 1.0


class BadDocumentError(Exception):
    """A file has another thing than old documents. Its text is one sentence with the file and the line."""


def run_import(options: argparse.Namespace) -> int:
    """Run `obfstats collect import`; return its exit status."""
    program = options.parser.prog
    now = int(time.time())
    if not options.dir.is_dir():
        return fail(program, f"there is no folder {options.dir}; obfstats collect serve makes a collector's folder")
    try:
        files = [(one_line(str(path)), path.read_bytes()) for path in options.documents]
    except OSError as error:
        return fail(program, f"cannot read {error.filename}: {error.strerror}")
    try:
        with acting_as_owner_of(options.dir):
            counts = _import(files, options.dir, ledger_url(options.dir, options.database), now, program)
    except BadDocumentError as error:
        print_error(program, f"{error}; nothing was imported")
        return 1
    except (OSError, SigningError, DatabaseError, LockedFileError, MonthError) as error:
        return fail(program, describe(error))
    print(f"imported: {counts[Outcome.PUBLISHED]}; in the archive already: {counts[Outcome.KNOWN]}")
    return 1 if counts[Outcome.CONFLICT] else 0


def read_old_documents(
    files: Iterable[tuple[str, bytes]], key: SigningKey, now: int
) -> Iterator[tuple[str, Submission]]:
    """Read documents, and sign them.

    Args:
        files: names and contents.
        key: the collector's.
        now: epoch seconds.

    Yields:
        Where a document is, for messages, and the document.

    Raises:
        BadDocumentError: at the first thing that is none, or that is too young.
    """
    for name, text in files:
        if not text:
            raise BadDocumentError(f"{name} is empty")
        for lines_before, part in split_documents(text):
            where = f"{name}, line {lines_before + 1}"
            try:
                (document,) = read_documents(part)
                written = write_outgoing(document).text
                submission = check_submission(
                    key.public, written, key.sign(written, TRUSTED_COMMENT), now, max_age=None
                )
            except DocumentError as error:
                raise BadDocumentError(f"{name}, line {lines_before + error.line}: {error.reason}") from None
            except Refusal as error:
                raise BadDocumentError(f"{where}: {error.detail}") from None
            except ValueError as error:
                raise BadDocumentError(f"{where}: {error}") from None
            if submission.end < _FIRST_END:
                raise BadDocumentError(f"{where}: the interval ended before 2012, when obfsproxy was released")
            if submission.end >= now - MAX_AGE_SECONDS:
                raise BadDocumentError(
                    f"{where}: the interval ended less than {MAX_AGE_SECONDS // 86_400} days ago; send it with: "
                    "obfstats submit"
                )
            yield where, submission


def publish_when_free(
    publisher: ArchivePublisher, now: int, report: Callable[[str], None], pause: Callable[[float], None] = time.sleep
) -> None:
    """Pack what was imported, and wait for another program that is publishing.

    Args:
        publisher: of the collector's folder.
        now: epoch seconds.
        report: takes a sentence for the operator.
        pause: waits for so many seconds.

    Raises:
        LockedFileError, OSError, DatabaseError, MonthError: if something cannot be read or written; the collector's
            next publication does the rest.
    """
    is_told = False
    while True:
        try:
            publisher.publish_imported(now)
        except FileInUseError:
            if not is_told:
                report("the collector is publishing; waiting for it")
            is_told = True
            pause(_BUSY_SECONDS)
        else:
            return


def _import(
    files: Sequence[tuple[str, bytes]], folder: Path, database: str, now: int, program: str
) -> Counter[Outcome]:
    """Check all documents, take them, and publish them; count what became of them."""
    key = open_collector_key(folder)
    for _ in read_old_documents(files, key, now):
        pass
    with closing(open_database(database)) as opened:
        ledger = Ledger(opened)
        counts = _take(ledger, read_old_documents(files, key, now), now, program)
        publisher = Publication(folder, database, key).open_publisher(ledger)
        publish_when_free(publisher, now, lambda sentence: print_error(program, sentence))
    return counts


def _take(ledger: Ledger, documents: Iterator[tuple[str, Submission]], now: int, program: str) -> Counter[Outcome]:
    """Give documents to the ledger; report those that contradict a published one."""
    counts: Counter[Outcome] = Counter()
    batch: Sequence[tuple[str, Submission]]
    while batch := list(islice(documents, _BATCH)):
        decisions = ledger.add_imported([submission for _, submission in batch], now)
        for (where, _), decision in zip(batch, decisions, strict=True):
            counts[decision.outcome] += 1
            if decision.outcome is Outcome.CONFLICT:
                print_error(program, f"{where}: not imported: {decision.detail}")
    return counts
