"""A file that one program appends to and only its owner can read: the statistics log, the ledger.

- It is 0600 whatever the umask, a regular file with one name, and this user's. A looser file is refused, not repaired:
  others may have read it. A symbolic link is not followed, and opening a pipe does not block.
- One program at a time has it: it holds an exclusive lock (flock) on the file itself while the file is open.
- Data is only ever appended, in one write, whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class LockedFileError(Exception):
    """A file cannot be used. Its text is one sentence for the operator: what is wrong and what to do."""


class FileInUseError(LockedFileError):
    """Another program has the file."""


class LockedFile:
    """An open file.

    Attributes:
        path: where it was opened.
        descriptor: the open file; -1 after `close`.
        is_new: whether `open` created it.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        """Wrap an open file; `open` opens and locks one."""
        self.path = path
        self.descriptor = descriptor
        self.is_new = False

    @classmethod
    def open(cls, path: Path, kind: str, advice: str) -> Self:
        """Open and lock a file, or create it.

        Args:
            path: the file; its folder must exist.
            kind: what kind of file it is, for errors.
            advice: what to do where it cannot be opened or locked, for errors.

        Raises:
            FileInUseError: if another program has it.
            LockedFileError: if it cannot be opened, or others than its owner have access to it.
        """
        try:
            descriptor, is_new = _open_or_create(path)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise LockedFileError(f"{path} is a symbolic link; name the file itself") from None
            raise LockedFileError(f"cannot open the {kind} {path}: {error.strerror}; {advice}") from None
        file = cls(path, descriptor)
        file.is_new = is_new
        try:
            file._check()
            file.lock()
        except BlockingIOError:
            file.close()
            raise FileInUseError(f"{path} is in use by another program; {advice}") from None
        except OSError as error:
            file.close()
            raise LockedFileError(f"cannot lock the {kind} {path}: {error.strerror}; {advice}") from None
        except LockedFileError:
            file.close()
            raise
        return file

    def close(self) -> None:
        """Close the file, which releases the lock. May be called twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def lock(self) -> None:
        """Lock the file for this program.

        Raises:
            BlockingIOError: if another program has it.
            OSError: if the filesystem does not support locks.
        """
        fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_in_place(self) -> bool:
        """Tell whether the path still leads to this file, and not to another one, a link or nothing.

        Raises:
            OSError: if the path cannot be looked up.
        """
        try:
            return os.path.samestat(os.lstat(self.path), os.fstat(self.descriptor))
        except FileNotFoundError:
            return False

    @property
    def size(self) -> int:
        """Bytes in it."""
        return os.fstat(self.descriptor).st_size

    def read(self, size: int, offset: int = 0) -> bytes:
        """Read bytes at an offset; fewer than `size` at the end of the file."""
        return os.pread(self.descriptor, size, offset)

    def append(self, data: bytes, *, sync: bool = False) -> None:
        """Append data, whole or not at all.

        Args:
            data: what is appended.
            sync: wait until it is on the disk.

        Raises:
            OSError: if the disk does not accept it; what it accepted is removed again, if it allows that.
        """
        written = os.write(self.descriptor, data)
        if written < len(data):
            self._remove_last_write(written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if sync:
            try:
                os.fsync(self.descriptor)
            except OSError:
                self._remove_last_write(written)
                raise

    def truncate(self, size: int) -> None:
        """Remove what is beyond `size` bytes."""
        os.ftruncate(self.descriptor, size)

    def touch(self) -> None:
        """Set the file's times to now, if the filesystem allows that."""
        with contextlib.suppress(OSError):
            os.utime(self.descriptor)

    def _remove_last_write(self, written: int) -> None:
        """Remove the bytes of the last write, wherever it ended: a rotation may have truncated the file before."""
        end = os.lseek(self.descriptor, 0, os.SEEK_CUR)
        with contextlib.suppress(OSError):
            os.ftruncate(self.descriptor, end - written)

    def _check(self) -> None:
        """Refuse a file to which others than its owner have access."""
        status = os.fstat(self.descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise LockedFileError(f"{self.path} is not a regular file; name a regular or a new file")
        if status.st_uid != os.geteuid():
            raise LockedFileError(f"{self.path} belongs to another user; name a file of this user's")
        if status.st_nlink != 1:
            raise LockedFileError(f"{self.path} has a second name (a hard link); remove that, or name another file")
        if status.st_mode & 0o077:
            mode = f"{stat.S_IMODE(status.st_mode):04o}"
            raise LockedFileError(f"{self.path} is open to others ({mode}); run: chmod 600 {self.path}")


def _open_or_create(path: Path) -> tuple[int, bool]:
    """Open a file, or create it with mode 0600; give its descriptor and whether it is new."""
    try:
        return os.open(path, _FLAGS), False
    except FileNotFoundError:
        # Two programs may start at the same moment: one creates the file, and the lock decides which one has it.
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
            except OSError:
                os.close(descriptor)
                raise
            return descriptor, True
    return os.open(path, _FLAGS), False


def sync_folder(folder: Path) -> None:
    """Wait until names that were created or changed in a folder are on the disk.

    Raises:
        OSError: if the disk does not accept them.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
