"""Documents in a folder: each written whole or not at all, and each interval once (`--publish DIR`).

    DIR/2012-02-10-09-22-04-obfsproxy-stats    a document, named by the end of its interval, 0644
    DIR/.ledger                                which intervals have been released (ledger.py), unless the bridge has a
                                               log: then its ledger is beside that
    DIR/.2012-...-obfsproxy-stats.new          a document that is being written, 0600

The order of the steps, because the program may be killed at any of them, or the power may fail:

1. The document is written under a hidden name and is on the disk.
2. The ledger knows on the disk that the interval is released.
3. The document gets its name, and others may read it.

If the program is killed before 2, the interval is released again from the beginning, and what was written is deleted
unread. If it is killed before 3, the next start gives the document its name: noise is never drawn a second time.

Other users may be able to write into DIR. Only a regular file of this user's counts as a document; a link or another
user's file with a document's name is replaced, and never followed.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from typing import TYPE_CHECKING

from obfstats.formats.document import MAX_DOCUMENT_LENGTH, DocumentError, read_documents
from obfstats.lockedfile import make_folder, sync_folder
from obfstats.publish.ledger import Ledger, LedgerError
from obfstats.publish.making_documents import write_within_limit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from obfstats.formats.document import Document

RELEASE_LEDGER_NAME = ".ledger"

_SUFFIX = "-obfsproxy-stats"
_NAME = re.compile(f"[0-9]{{4}}(?:-[0-9]{{2}}){{5}}{_SUFFIX}")
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ReleaseError(Exception):
    """Documents cannot be kept in a folder. Its text is one sentence for the operator."""


class ReleaseFolder:
    """A folder of documents, which this program has to itself, and a ledger. Both stay open until the program ends.

    Attributes:
        path: where the documents are.
        ledger: which intervals have been released.
    """

    def __init__(self, path: Path, ledger: Path | None = None) -> None:
        """Open the folder, or make it; complete the releases that a killed program has begun.

        Args:
            path: the folder.
            ledger: the ledger of the bridge's log; None for one in the folder.

        Raises:
            ReleaseError: if documents cannot be written there.
            LedgerError: if its ledger cannot be used.
        """
        self.path = path
        try:
            make_folder(path, 0o755)
        except OSError as error:
            raise ReleaseError(f"cannot write to {path}: {error.strerror}; give --publish another folder") from None
        self._lock = _lock_folder(path)
        try:
            self.ledger = Ledger.open(ledger or path / RELEASE_LEDGER_NAME, shared=True)
        except LedgerError:
            os.close(self._lock)
            raise
        try:
            self._complete_all()
        except OSError as error:
            self.close()
            raise ReleaseError(f"cannot write to {path}: {error.strerror}; give --publish another folder") from None

    def close(self) -> None:
        """Let other programs have the folder."""
        self.ledger.close()
        os.close(self._lock)

    def release(self, document: Document, method: str, warn: Callable[[str], None]) -> Path:
        """Release a document.

        Args:
            document: of an interval that was never released before.
            method: how its numbers were made, for the ledger.
            warn: takes a sentence for the operator about what is left out of the document.

        Returns:
            The path of the document.

        Raises:
            OSError: if the disk does not accept it; it may be tried again.
            LedgerError: if the interval was released before, or the ledger cannot be written.
        """
        self.ledger.check()
        self._write_hidden(document, warn)
        self.ledger.release(document.interval, method)
        return self._make_public(document)

    def complete_release(self, document: Document, warn: Callable[[str], None]) -> Path:
        """Give a document its name, where `release` could do no more than tell the ledger.

        Args:
            document: the same document.
            warn: takes a sentence for the operator about what is left out of the document.

        Returns:
            The path of the document.

        Raises:
            OSError: if the disk does not accept it; it may be tried again.
        """
        if not _is_own_file(self._hidden_path(document)) and not _is_own_file(self._path(document)):
            self._write_hidden(document, warn)
        return self._make_public(document)

    def _complete_all(self) -> None:
        """Give documents their names if the ledger knows of their release, and delete the others."""
        failure = None
        for hidden in self.path.glob(f".*{_SUFFIX}.new"):
            try:
                self._complete_or_delete(hidden)
            except OSError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _complete_or_delete(self, hidden: Path) -> None:
        # Reading a pipe with that name would never end.
        if not _is_own_file(hidden):
            return
        try:
            (document,) = read_documents(hidden.read_bytes())
        except (DocumentError, ValueError):
            hidden.unlink()
            return
        if hidden == self._hidden_path(document) and self.ledger.is_published(document.interval):
            self._make_public(document)
        else:
            hidden.unlink()

    def _make_public(self, document: Document) -> Path:
        """Give a document its name; if one with that name exists, that one stays."""
        hidden, public = self._hidden_path(document), self._path(document)
        if _is_own_file(public):
            hidden.unlink(missing_ok=True)
        else:
            _open_to_all(hidden)
            hidden.rename(public)
        sync_folder(self.path)
        return public

    def _write_hidden(self, document: Document, warn: Callable[[str], None]) -> None:
        hidden = self._hidden_path(document)
        hidden.unlink(missing_ok=True)
        _write_through(hidden, write_within_limit(document, warn))
        # The name must be on the disk too: a document that is lost after the ledger knows of it would cost the day.
        sync_folder(self.path)

    def _path(self, document: Document) -> Path:
        return self.path / (document.end.replace(" ", "-").replace(":", "-") + _SUFFIX)

    def _hidden_path(self, document: Document) -> Path:
        return self.path / f".{self._path(document).name}.new"


def is_document(path: Path) -> bool:
    """Tell whether a path is that of a released document: by its name, a regular file of this user's."""
    return _NAME.fullmatch(path.name) is not None and _is_own_file(path)


def read_released(path: Path) -> bytes:
    """Read a released document's text; of a longer file the beginning, which is no document.

    Raises:
        OSError: if it cannot be read, or is a link by now.
    """
    with os.fdopen(os.open(path, _READ_FLAGS), "rb") as file:
        return file.read(MAX_DOCUMENT_LENGTH + 1)


def _is_own_file(path: Path) -> bool:
    """Tell whether there is a regular file of this user's."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def _open_to_all(path: Path) -> None:
    """Let others read a file; a link is not followed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o644)
    finally:
        os.close(descriptor)


def _lock_folder(path: Path) -> int:
    """Lock a folder, so that only one program publishes in it; give its descriptor.

    Raises:
        ReleaseError: if another program has it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ReleaseError(f"cannot open {path}: {error.strerror}; give --publish another folder") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ReleaseError(f"{path} is in use by another program; give each its own with --publish") from None
    return descriptor


def _write_through(path: Path, text: bytes) -> None:
    """Write a new file down to the disk, which others must not read before it is released."""
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(text)
        os.fsync(descriptor)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(descriptor)
