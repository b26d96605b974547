"""The command `obfstats page`: the operator's page, of the documents that `--publish DIR` wrote.

With `--textfile FILE` it writes the last interval's numbers for Prometheus's node_exporter instead (exposition.py).
Only documents are read: regular files with their names, no links, no hidden ones. What cannot be read is left out and
named, and the page says how many files that were. The page is replaced at once, and only if it has changed.
"""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from obfstats.commandline import fail, print_error
from obfstats.exposition import describe_documents, write_metrics
from obfstats.formats.document import MAX_DOCUMENT_LENGTH, DocumentError, read_documents
from obfstats.show.operator_page import render_operator_page
from obfstats.show.serve import PageServer, SourceError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from obfstats.formats.document import Document

PROGRAM: Final = "obfstats page"
PAGE_NAME: Final = "index.html"

_PATTERN: Final = "[!.]*-obfsproxy-stats"
_YEARS: Final = range(2000, 2500)
_MAX_NAMED: Final = 5


def run_page(options: argparse.Namespace) -> int:
    """Run the command.

    Args:
        options: source, and to, serve or textfile.

    Returns:
        The exit status: 0; 1 if a file could not be read as a document; 2 if the page could not be made, written or
        served.
    """
    try:
        documents, unreadable = read_folder(options.source)
        for sentence in unreadable[:_MAX_NAMED]:
            print_error(PROGRAM, sentence)
        if len(unreadable) > _MAX_NAMED:
            print_error(PROGRAM, f"{len(unreadable) - _MAX_NAMED} more files are left out")
        if options.serve:
            return _serve(options.source, *options.serve)
        if options.textfile:
            write_changed(options.textfile, write_metrics(describe_documents(documents)))
        else:
            page = render_operator_page(documents, len(unreadable), datetime.now(UTC))
            write_changed(options.to / PAGE_NAME, page.encode())
    except SourceError as error:
        return fail(PROGRAM, str(error))
    except OSError as error:
        reason = error.strerror
        if options.textfile:
            return fail(PROGRAM, f"cannot write {options.textfile}: {reason}; give --textfile another file")
        return fail(PROGRAM, f"cannot write to {options.to}: {reason}; give --to another folder")
    return 1 if unreadable else 0


def _serve(folder: Path, host: str, port: int) -> int:
    """Serve the page until the program is interrupted."""
    try:
        server = PageServer((host, port), lambda: make_page(folder, datetime.now(UTC)))
    except OSError as error:
        return fail(PROGRAM, f"cannot listen at {host} port {port}: {error.strerror}; give --serve another address")
    with server:
        print(f"the page is at {server.url}", flush=True)
        server.serve_forever()
    return 0


def make_page(folder: Path, now: datetime) -> str:
    """Make the page of a folder of documents.

    Raises:
        SourceError: if the folder cannot be read, or has documents of several bridges.
    """
    documents, unreadable = read_folder(folder)
    return render_operator_page(documents, len(unreadable), now)


def read_folder(folder: Path) -> tuple[list[Document], list[str]]:
    """Read the documents of a folder.

    Returns:
        The documents, and a sentence about each file that is left out.

    Raises:
        SourceError: if the folder cannot be read, or has documents of several bridges.
    """
    documents: list[Document] = []
    unreadable: list[str] = []
    for path in _find_documents(folder):
        try:
            documents.append(_read_document(path))
        except (OSError, DocumentError, ValueError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            unreadable.append(f"{path} is left out: {reason}")
    fingerprints = {document.fingerprint for document in documents if document.fingerprint}
    instances = {document.instance for document in documents if document.instance}
    if len(fingerprints) > 1 or len(instances) > 1:
        raise SourceError(
            f"{folder} has documents of several bridges or instances; give each its own folder, and its own page"
        )
    return documents, unreadable


def _find_documents(folder: Path) -> Iterator[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise SourceError(f"cannot read {folder}: {error.strerror}; give --from the folder of --publish") from None
    for path in paths:
        if path.match(_PATTERN) and not path.is_symlink():
            yield path


def _read_document(path: Path) -> Document:
    """Read the one document of a file.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is none.
        OverflowError: if its interval began before the year 1.
    """
    # A pipe with that name would have no end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        text = file.read(MAX_DOCUMENT_LENGTH + 1)
    documents = read_documents(text, keep_unknown=True)
    if len(documents) != 1:
        raise ValueError("not one document")
    (document,) = documents
    if document.interval.start.year not in _YEARS or document.interval.end.year not in _YEARS:
        raise ValueError("an interval of another century")
    return document


def write_changed(path: Path, content: bytes) -> bool:
    """Replace a file at once, unless it has this content already.

    Returns:
        Whether it was written.

    Raises:
        OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and path.read_bytes() == content:
        return False
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with part.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return True
