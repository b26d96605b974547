"""Documents in a folder: each written whole or not at all, and each interval once (`--publish DIR`).

    DIR/2012-02-10-09-22-04-obfsproxy-stats    a document, named by the end of its interval, 0644
    DIR/.ledger                                which intervals have been released (ledger.py)
    DIR/.2012-...-obfsproxy-stats.new          one that is being written, 0600

The order of things, so that a program may be killed at any of them, or the power fail:

1. The document is written under a hidden name and is on the disk.
2. The ledger knows that the interval is released, on the disk.
3. The document gets its name, and others may read it.

Killed before 2, the interval is released again from its beginning, and what was written is thrown away unseen. Killed
before 3, the next start gives the document its name: noise that was drawn is never drawn again.
"""

from __future__ import annotations

import os
import stat
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from obfstats.formats.document import DocumentError, read_documents
from obfstats.ownfile import sync_folder
from obfstats.publish.documents import write_within_limit
from obfstats.publish.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from obfstats.formats.document import Document

LEDGER_NAME = ".ledger"

_SUFFIX = "-obfsproxy-stats"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class ReleaseError(Exception):
    """Documents cannot be kept in a folder. Its text is one sentence for the operator."""


class Releases:
    """A folder of documents, and what it remembers. One program at a time has it.

    Attributes:
        folder: where the documents are.
        ledger: which intervals have been released.
    """

    def __init__(self, folder: Path) -> None:
        """Open the folder, or make it; finish what a killed program has begun.

        Raises:
            ReleaseError: if documents cannot be written there.
            LedgerError: if its ledger cannot be used.
        """
        self.folder = folder
        try:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise ReleaseError(f"cannot write to {folder}: {error.strerror}; give --publish another folder") from None
        self.ledger = Ledger.open(folder / LEDGER_NAME)
        try:
            self._finish_all()
        except OSError as error:
            self.ledger.close()
            raise ReleaseError(f"cannot write to {folder}: {error.strerror}; give --publish another folder") from None

    def release(self, document: Document, how: str, say: Callable[[str], None]) -> Path:
        """Publish a document.

        Args:
            document: what is published; its interval was never released before.
            how: what the ledger is to know of it.
            say: takes a sentence for the operator about what is left out of it.

        Returns:
            Where it is.

        Raises:
            OSError: if the disk does not take it; it may be tried again.
            LedgerError: if it was released before.
        """
        name = _name(document)
        self.ledger.check()
        self._write(document, say)
        self.ledger.release(_start(document), document.seconds, how)
        return self._show(self._hidden(name), name)

    def show(self, document: Document, say: Callable[[str], None]) -> Path:
        """Give a document its name whose release the ledger knows, where that failed.

        Args:
            document: the same that was released.
            say: takes a sentence for the operator about what is left out of it.

        Returns:
            Where it is.

        Raises:
            OSError: if the disk does not take it; it may be tried again.
        """
        name = _name(document)
        hidden = self._hidden(name)
        if not hidden.is_file() and not (self.folder / name).is_file():
            self._write(document, say)
        return self._show(hidden, name)

    def close(self) -> None:
        """Give the ledger back."""
        self.ledger.close()

    def _finish_all(self) -> None:
        """Give documents their names whose release the ledger knows, and throw others away."""
        trouble = None
        for hidden in self.folder.glob(f".*{_SUFFIX}.new"):
            try:
                self._finish(hidden)
            except OSError as error:
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    def _finish(self, hidden: Path) -> None:
        # Reading a pipe that somebody put there would never end.
        if not stat.S_ISREG(hidden.lstat().st_mode):
            return
        try:
            (document,) = read_documents(hidden.read_bytes())
        except (DocumentError, ValueError):
            hidden.unlink()
            return
        if self.ledger.is_released(_start(document)):
            self._show(hidden, _name(document))
        else:
            hidden.unlink()

    def _show(self, hidden: Path, name: str) -> Path:
        """Give a document its name; one that is there already stays."""
        shown = self.folder / name
        if shown.is_file():
            hidden.unlink(missing_ok=True)
        else:
            hidden.chmod(0o644)
            hidden.rename(shown)
        sync_folder(self.folder)
        return shown

    def _write(self, document: Document, say: Callable[[str], None]) -> None:
        """Write a document that has no name yet."""
        hidden = self._hidden(_name(document))
        hidden.unlink(missing_ok=True)
        _write(hidden, write_within_limit(document, say))
        # Its name as well: a ledger that knows of a document that is gone would cost the day.
        sync_folder(self.folder)

    def _hidden(self, name: str) -> Path:
        return self.folder / f".{name}.new"


def _name(document: Document) -> str:
    """Name a document by the end of its interval."""
    return document.end.replace(" ", "-").replace(":", "-") + _SUFFIX


def _start(document: Document) -> str:
    return str(datetime.fromisoformat(document.end) - timedelta(seconds=document.seconds))


def _write(path: Path, text: bytes) -> None:
    """Write a new file that is on the disk afterwards. Nobody else may read what is not released yet."""
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
