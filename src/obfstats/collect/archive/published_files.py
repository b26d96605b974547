"""The public files of a collector: each is whole, signed, and there after a crash, or it is not there.

    archive = Archive(folder / "public", key)
    archive.write("recent/obfsproxy-stats/2026-11-30-14-09-00-obfsproxy-stats", write_into)

Rules:

- A file is written under a hidden name, synced, signed, and renamed, its signature first, so that each public file
  has a signature. A hidden file that a crash left is overwritten when the step is repeated.
- The trusted comment of a signature is `file:` and the path, so that no file passes for another one.
- A file that the disk refused leaves nothing: its hidden file would keep a full disk full.
"""

from __future__ import annotations

import contextlib
import os
from typing import IO, TYPE_CHECKING

from obfstats.collect.signing import SIGNATURE_SUFFIX
from obfstats.lockedfile import make_folder, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from obfstats.collect.signing import SigningKey

PUBLIC_KEY = "minisign.pub"
"""The file with the collector's public key."""

_FOLDER_MODE = 0o755


class Archive:
    """The folder of public files.

    Attributes:
        root: the folder.
        key: what signs the files.
        checkpoint: called before each change on the disk, and now and then in long work. What it raises stops the work.
    """

    def __init__(self, root: Path, key: SigningKey, checkpoint: Callable[[], None] = lambda: None) -> None:
        """Use a folder, which is made with its first file."""
        self.root = root
        self.key = key
        self.checkpoint = checkpoint

    def has(self, path: str) -> bool:
        """Tell whether there is a file."""
        return (self.root / path).exists()

    def open(self, path: str) -> IO[bytes]:
        """Open a file for reading.

        Raises:
            OSError: if it cannot be read.
        """
        return (self.root / path).open("rb")

    def write(self, path: str, write_into: Callable[[IO[bytes]], None]) -> None:
        """Write a file and its signature, or replace them.

        Args:
            path: the file's, from the root.
            write_into: writes its content into the open file that it gets.

        Raises:
            OSError: if the disk refuses it; the former file is there then.
        """
        target = self.root / path
        hidden, hidden_signature = _hide(target), _hide(_add_suffix(target))
        self.checkpoint()
        make_folder(target.parent, _FOLDER_MODE)
        try:
            with hidden.open("w+b") as file:
                write_into(file)
                self._sync(file)
                file.seek(0)
                signature = self.key.sign(file, f"file:{path}")
            with hidden_signature.open("wb") as file:
                file.write(signature)
                self._sync(file)
        except Exception:
            for path_left in (hidden, hidden_signature):
                with contextlib.suppress(OSError):
                    path_left.unlink(missing_ok=True)
            raise
        self.checkpoint()
        hidden_signature.rename(_add_suffix(target))
        self.checkpoint()
        hidden.rename(target)
        self.checkpoint()
        sync_folder(target.parent)

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file that is in memory, and its signature, as `write` does."""

        def write_into(file: IO[bytes]) -> None:
            file.write(content)

        self.write(path, write_into)

    def remove(self, path: str) -> None:
        """Remove a file and its signature; the signature first, so that the file tells whether that is done.

        Raises:
            OSError: if the disk refuses that.
        """
        target = self.root / path
        for each in (_add_suffix(target), target):
            self.checkpoint()
            each.unlink(missing_ok=True)
        self.checkpoint()
        sync_folder(target.parent)

    def list(self, folder: str) -> Iterator[str]:
        """Give the paths of a folder's files, signatures included, sorted; no hidden ones."""
        with contextlib.suppress(FileNotFoundError):
            for entry in sorted(os.scandir(self.root / folder), key=lambda entry: entry.name):
                if entry.name.startswith(".") or entry.is_symlink():
                    continue
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir():
                    yield from self.list(path)
                else:
                    yield path

    def publish_key(self) -> None:
        """Write the public key's file, unless it is there."""
        text = f"untrusted comment: public key of this archive\n{self.key.public}\n".encode()
        with contextlib.suppress(FileNotFoundError), self.open(PUBLIC_KEY) as file:
            if file.read() == text:
                return
        self.write_bytes(PUBLIC_KEY, text)

    def _sync(self, file: IO[bytes]) -> None:
        file.flush()
        self.checkpoint()
        os.fsync(file.fileno())


def _hide(path: Path) -> Path:
    return path.with_name(f".{path.name}")


def _add_suffix(path: Path) -> Path:
    return path.with_name(path.name + SIGNATURE_SUFFIX)
