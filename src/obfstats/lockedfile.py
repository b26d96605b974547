"""A file that one program appends to and only its owner can read: the statistics log, the ledger.

- It is 0600 whatever the umask, a regular file with one name, and this user's. Where others have access to a file of
  this user's, that is taken from them: logrotate creates files like that. Any other file is refused. A symbolic link is
  not followed, and opening a pipe does not block.
- One program at a time has it: it holds an exclusive lock (flock) on the file itself while the file is open.
- Data is only ever appended, in one write, whole or not at all. Where a disk accepts a part and does not let it be
  removed, the error tells how much is in the file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OTHERS = 0o077
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class LockedFileError(Exception):
    """A file cannot be used. Its text is one sentence for the operator: what is wrong and what to do."""


class FileInUseError(LockedFileError):
    """Another program has the file."""


class PartlyWrittenError(OSError):
    """The disk accepted a part of what was appended, and did not let it be removed.

    Attributes:
        written: so many bytes of it are at the end of the file.
    """

    def __init__(self, error: OSError, written: int) -> None:
        super().__init__(error.errno, error.strerror)
        self.written = written


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
        """Open and lock a file, or create it. Call `make_private` once it is known to be the right file.

        Args:
            path: the file; its folder must exist.
            kind: what kind of file it is, for errors.
            advice: what to do where it cannot be opened or locked, for errors.

        Raises:
            FileInUseError: if another program has it.
            LockedFileError: if it cannot be opened, or is not this user's alone.
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
            _check(descriptor, path)
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

    def make_private(self) -> str:
        """Take access from all but the owner; see the function `make_private`."""
        return make_private(self.descriptor, self.path)

    def unlock(self) -> None:
        """Let other programs lock the file."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

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
            PartlyWrittenError: if the disk does not accept all of it, nor lets the rest be removed.
            OSError: if the disk does not accept it; nothing of it is in the file then.
        """
        written = os.write(self.descriptor, data)
        if written < len(data):
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._remove_last_write(written, error)
            raise error
        if sync:
            try:
                os.fsync(self.descriptor)
            except OSError as error:
                self._remove_last_write(written, error)
                raise

    def truncate(self, size: int) -> None:
        """Remove what is beyond `size` bytes."""
        os.ftruncate(self.descriptor, size)

    def touch(self) -> None:
        """Set the file's times to now, if the filesystem allows that."""
        with contextlib.suppress(OSError):
            os.utime(self.descriptor)

    def _remove_last_write(self, written: int, cause: OSError) -> None:
        """Remove the bytes of the last write, wherever it ended: a rotation may have truncated the file before.

        Raises:
            PartlyWrittenError: if they stay.
        """
        end = os.lseek(self.descriptor, 0, os.SEEK_CUR)
        try:
            os.ftruncate(self.descriptor, end - written)
        except OSError:
            raise PartlyWrittenError(cause, written) from None


def make_private(descriptor: int, path: Path) -> str:
    """Take access to an open file from all but its owner.

    Args:
        descriptor: the open file.
        path: where it was opened.

    Returns:
        A sentence for the operator if that was necessary, else "".

    Raises:
        LockedFileError: if it is not a regular file, another user's, has a second name, or its mode cannot be changed.
        OSError: if the file cannot be looked up.
    """
    status = _check(descriptor, path)
    if not status.st_mode & _OTHERS:
        return ""
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, 0o600)
    if os.fstat(descriptor).st_mode & _OTHERS:
        raise LockedFileError(f"{path} is open to others ({mode}); run: chmod 600 {path}")
    return (
        f"{path} was open to others ({mode}) and is 0600 now; if logrotate created it, correct the line in its"
        " configuration to: create 0600"
    )


def make_folder(folder: Path, mode: int) -> None:
    """Create a folder, and the folders above it that do not exist, each with this mode at most, whatever the umask.

    Raises:
        OSError: if one cannot be created, or is not a folder.
    """
    try:
        folder.mkdir(mode)
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        make_folder(folder.parent, mode)
        # Another program may be faster.
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode)
    except OSError:
        if not folder.is_dir():
            raise


@contextlib.contextmanager
def acting_as_owner_of(folder: Path) -> Iterator[None]:
    """Act as the owner of a folder if this is root, so that a bridge that runs as that user can use the files."""
    if os.geteuid() != 0 or not folder.is_dir():
        yield
        return
    status, group = folder.stat(), os.getegid()
    os.setegid(status.st_gid)
    os.seteuid(status.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)


def _check(descriptor: int, path: Path) -> os.stat_result:
    """Refuse a file that is not this user's alone."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise LockedFileError(f"{path} is not a regular file; name a regular or a new file")
    if status.st_uid != os.geteuid():
        raise LockedFileError(f"{path} belongs to another user; name a file of this user's")
    if status.st_nlink > 1:
        raise LockedFileError(f"{path} has a second name (a hard link); remove that, or name another file")
    return status


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


def replace_file(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file under a hidden name, and move it to its place when it is on the disk.

    Only for one program at a time: all use the same hidden name.

    Raises:
        OSError: if it cannot be written; the old file stays.
    """
    hidden = path.with_name(f".{path.name}.new")
    descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(path)
    except OSError:
        hidden.unlink()
        raise
    sync_folder(path.parent)


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
