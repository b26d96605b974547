"""Documents that wait to be sent, one file each, so that nothing is lost while a collector is away.

    DIR/spool/2026-11-29-09-22-04-DIGEST             a document as it will be sent: end of its interval, SHA-256
    DIR/spool/refused/2026-11-29-09-22-04-DIGEST     one that a collector has refused for good
    DIR/spool/refused/...-DIGEST.reason              why

- A file appears whole, and is on the disk when `add` returns. It is removed when a collector has answered. A program
  that is killed in between sends it again, and the collector recognises its bytes.
- There are at most MAX_FILES of MAX_BYTES together; then the documents of the oldest intervals are dropped.
- One program at a time sends from a spool; others may add to it meanwhile.
- Signatures are not kept: they are deterministic, and a document that has waited is signed with the key of today.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from obfstats.lockedfile import make_folder, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

SPOOL_NAME = "spool"
"""The name of the folder in the bridge's folder."""

MAX_FILES = 400
"""Documents that wait: a year of a bridge whose collector cannot be reached."""

MAX_BYTES = 16 * 1024 * 1024
"""Bytes of documents that wait."""

MAX_REFUSED = 100
"""Refused documents that are kept."""

_NAME = re.compile("[0-9]{4}(?:-[0-9]{2}){5}-[0-9a-f]{16}")
_SENDING = ".sending"


class SpoolInUseError(Exception):
    """Another program is sending from the spool. Its text is one sentence for the operator."""


class Spool:
    """A folder of documents that wait to be sent.

    Attributes:
        folder: the folder.
    """

    def __init__(
        self, folder: Path, *, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES, max_refused: int = MAX_REFUSED
    ) -> None:
        """Use a folder.

        Args:
            folder: the folder; it is made when something is put into it.
            max_files: documents that wait, at most.
            max_bytes: their bytes, at most; and of those that were refused.
            max_refused: refused documents that are kept.
        """
        self.folder = folder
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._max_refused = max_refused

    @property
    def refused(self) -> Path:
        """The folder of documents that were refused."""
        return self.folder / "refused"

    def add(self, text: bytes, end: str) -> list[str]:
        """Put a document into the spool.

        Args:
            text: the document as it will be sent.
            end: end of its interval, `YYYY-MM-DD HH:MM:SS`.

        Returns:
            The names of the documents that were dropped because there are too many.

        Raises:
            OSError: if the disk does not accept it.
        """
        name = name_document(text, end)
        make_folder(self.folder, 0o700)
        with self._changing():
            # What a killed program has left.
            for hidden in self.folder.glob(".*.new"):
                hidden.unlink()
            if not (self.folder / name).exists():
                replace_file(self.folder / name, text, 0o600)
            return _drop_oldest(self.folder, self._max_files, self._max_bytes)

    def names(self) -> list[str]:
        """List the documents that wait, the oldest interval first."""
        return list_documents(self.folder)

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """Read the documents that wait: their names and texts, the oldest interval first.

        Raises:
            OSError: if one cannot be read.
        """
        for name in self.names():
            # One that was dropped meanwhile, because there were too many, is left out.
            with suppress(FileNotFoundError):
                yield name, (self.folder / name).read_bytes()

    def remove(self, name: str) -> None:
        """Remove a document that a collector has taken.

        Raises:
            OSError: if it cannot be removed; it will be sent again.
        """
        with self._changing():
            (self.folder / name).unlink(missing_ok=True)

    def refuse(self, name: str, reason: str) -> None:
        """Set a document aside that a collector has refused for good.

        Raises:
            OSError: if it cannot be moved; it will be sent again.
        """
        with self._changing():
            make_folder(self.refused, 0o700)
            # Without it on a full disk, where a document can still be moved.
            with suppress(OSError):
                (self.refused / f"{name}.reason").write_text(f"{reason}\n")
            (self.folder / name).replace(self.refused / name)
            for dropped in _drop_oldest(self.refused, self._max_refused, self._max_bytes):
                (self.refused / f"{dropped}.reason").unlink(missing_ok=True)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Keep other programs from sending at the same time.

        Raises:
            SpoolInUseError: if another program is sending.
            OSError: if the folder cannot be used.
        """
        # Both while there is room on the disk.
        make_folder(self.refused, 0o700)
        try:
            with _locked(self.folder / _SENDING, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield
        except BlockingIOError:
            raise SpoolInUseError(f"another program is sending what is in {self.folder}; wait for it") from None

    def _changing(self) -> AbstractContextManager[None]:
        """Wait until no other program changes the folder, and keep others from it for a moment."""
        return _locked(self.folder, os.O_RDONLY | os.O_DIRECTORY, fcntl.LOCK_EX)


def name_document(text: bytes, end: str) -> str:
    """Name a document's file by the end of its interval and its digest."""
    return f"{end.replace(' ', '-').replace(':', '-')}-{sha256(text).hexdigest()[:16]}"


def list_documents(folder: Path) -> list[str]:
    """List the documents in a folder, which need not exist, the oldest interval first."""
    try:
        return sorted(path.name for path in folder.iterdir() if _NAME.fullmatch(path.name))
    except FileNotFoundError:
        return []


def _drop_oldest(folder: Path, files: int, size: int) -> list[str]:
    """Remove the oldest documents, so that so many files of so many bytes remain; give their names."""
    names = list_documents(folder)
    sizes = [(folder / name).stat().st_size for name in names]
    dropped: list[str] = []
    while len(names) > files or sum(sizes) > size:
        dropped.append(names.pop(0))
        sizes.pop(0)
        (folder / dropped[-1]).unlink()
    return dropped


@contextmanager
def _locked(path: Path, flags: int, operation: int) -> Iterator[None]:
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)
