"""A file that is its owner's alone: how the statistics log and the ledger are opened.

It is 0600 whatever the umask, a regular file with one name, and this user's. A link is not followed, a pipe does not
hold the program up. One program at a time has it: a lock on the file itself. Lines are only ever added.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class OwnFileError(Exception):
    """Somebody else could read or write a file, or have put it there. Its text is one sentence for the operator."""


def open_or_make(path: Path) -> tuple[int, bool]:
    """Open a file, or make it for its owner alone.

    Args:
        path: the file; its folder must be there.

    Returns:
        A descriptor, and whether the file is new.

    Raises:
        OSError: if it cannot be opened; ELOOP where it is a symbolic link.
    """
    try:
        return os.open(path, FLAGS), False
    except FileNotFoundError:
        # Two programs may begin at the same moment: who makes the file, and who has it, is settled one by one.
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
            except OSError:
                os.close(descriptor)
                raise
            return descriptor, True
    return os.open(path, FLAGS), False


def check(path: Path, descriptor: int) -> None:
    """Refuse whatever somebody else could read, write or have put there.

    Args:
        path: what to call it.
        descriptor: the open file.

    Raises:
        OwnFileError: if it is no such file as stands above.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OwnFileError(f"{path} is not a regular file; name one, or a new one")
    if status.st_uid != os.geteuid():
        raise OwnFileError(f"{path} belongs to somebody else; name a file of this user's")
    if status.st_nlink != 1:
        raise OwnFileError(f"{path} has a second name (a hard link); remove that, or name another file")
    if status.st_mode & 0o077:
        raise OwnFileError(f"{path} is open to others ({stat.S_IMODE(status.st_mode):04o}); run: chmod 600 {path}")


def lock(descriptor: int) -> bool:
    """Take the file for this program, until it is closed; tell whether no other program has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def leads_to(path: Path, descriptor: int) -> bool:
    """Tell whether a path leads to an open file, or to another one, a link or nothing.

    Raises:
        OSError: if nobody can tell.
    """
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """See to it that names that were made or changed in a folder are still there after the power has failed.

    Raises:
        OSError: if the disk does not take them.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
