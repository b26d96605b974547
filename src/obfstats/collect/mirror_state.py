"""What a mirror remembers between visits, in the hidden folder `.mirror` of its folder.

    lock         one mirror at a time
    key          the public key that signs the archive, from --key or from the first visit
    state.json   when the last index was made, and for each file its size, time of modification and digest
    partial/     files that are not whole yet; their name is the digest that they must have

A file whose size and time are still those in state.json is not read again. Without state.json every file is.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Self

from obfstats.collect.signing import SigningError, parse_public_key
from obfstats.lockedfile import LockedFile, replace_file

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from obfstats.collect.index import FileEntry

FOLDER = ".mirror"
"""The hidden folder. No name in an index begins with a dot."""

_State = tuple[int, int, str]


class MirrorStateError(Exception):
    """What is remembered cannot be used. Its text is one sentence for the operator."""


class MirrorState:
    """What a mirror remembers. As a context manager it holds the lock, and saves what it knows in the end.

    Attributes:
        folder: the mirror's folder.
        key_path: where the key is.
        key: the archive's public key; None if it is not known yet.
        created: when the last index was made, epoch seconds; 0 before the first.
    """

    def __init__(self, folder: Path) -> None:
        """Name a folder; nothing is read yet."""
        self.folder = folder
        self.key_path = folder / FOLDER / "key"
        self.key: str | None = None
        self.created = 0
        self._partials = folder / FOLDER / "partial"
        self._path = folder / FOLDER / "state.json"
        self._files: dict[str, _State] = {}

    def __enter__(self) -> Self:
        """Lock the folder, and read what is remembered.

        Raises:
            LockedFileError: if another mirror is at work.
            MirrorStateError: if what is remembered is damaged.
            OSError: if the folder cannot be made, or read.
        """
        self._partials.mkdir(parents=True, exist_ok=True)
        self._lock = LockedFile.open(self.folder / FOLDER / "lock", "lock", "wait until the other mirror has ended")
        try:
            self._read()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Save what is remembered, after an error too, and release the lock."""
        try:
            self.save()
        finally:
            self._lock.close()

    def remember_key(self, key: str) -> None:
        """Keep the archive's key for the next visits."""
        if key != self.key:
            replace_file(self.key_path, key.encode() + b"\n")
            self.key = key

    def has(self, entry: FileEntry) -> bool:
        """Tell whether the mirror has a file as the index has it. A file that has changed is read."""
        path = self.folder / entry.path
        try:
            status = path.stat()
            if status.st_size != entry.size:
                return False
            known = self._files.get(entry.path)
            if known is None or known[:2] != (status.st_size, status.st_mtime_ns):
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256")
                known = self._files[entry.path] = (status.st_size, status.st_mtime_ns, digest.hexdigest())
        except (FileNotFoundError, NotADirectoryError):
            return False
        return known[2] == entry.sha256.hex()

    def partial(self, entry: FileEntry) -> Path:
        """Give where a file is kept until it is whole."""
        return self._partials / entry.sha256.hex()

    def install(self, entry: FileEntry) -> None:
        """Move a whole file to its place, with the time that the index says. It replaces the old one at once."""
        partial = self.partial(entry)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.utime(partial, (entry.last_modified, entry.last_modified))
        path = self.folder / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        status = partial.stat()
        partial.replace(path)
        self._files[entry.path] = (status.st_size, status.st_mtime_ns, entry.sha256.hex())

    def delete(self, path: str) -> bool:
        """Delete a file of the mirror; tell whether it was there."""
        self._files.pop(path, None)
        try:
            (self.folder / path).unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def clear_partials(self) -> None:
        """Delete files that are not whole: nothing needs them any more."""
        for partial in self._partials.iterdir():
            partial.unlink()

    def save(self) -> None:
        """Write what is remembered."""
        state = {"created": self.created, "files": self._files}
        replace_file(self._path, json.dumps(state).encode())

    def _read(self) -> None:
        try:
            self.key = parse_public_key(self.key_path.read_text().strip())
        except FileNotFoundError:
            pass
        except SigningError as error:
            raise MirrorStateError(f"{self.key_path} is {error}; delete it, and give the key with --key") from None
        try:
            state = json.loads(self._path.read_bytes())
            self.created = int(state["created"])
            self._files = {str(path): (int(a), int(b), str(c)) for path, (a, b, c) in state["files"].items()}
        except FileNotFoundError:
            pass
        except (ValueError, TypeError, KeyError, AttributeError):
            raise MirrorStateError(f"{self._path} is damaged; delete it: all files will be read again") from None
