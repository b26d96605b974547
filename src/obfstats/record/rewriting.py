"""Taking old intervals out of the log, while it is written: what has been published need not be kept.

    rewriting = journal.rewriting()
    rewriting.copy(keep)            may take a while: on a thread of its own, if you like
    journal.take_over(rewriting)    on the thread that appends: what came meanwhile, then the change of files

- The log is copied without the lines that are to go, into a file beside it that nobody else may read, and that takes
  the log's name in one step. At every moment there is a whole log under that name.
- The lock goes with the name: the new file is locked before it has it.
- A log that was rotated away meanwhile stays as it is.
- The copy does not take the room that the next lines need: on a disk that is nearly full it is given up before.
- A copy that was left behind by a killed program is removed when the log is opened again.

What the disk keeps of a file that is gone is the disk's affair; nothing here can promise that away.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING

from obfstats.formats.logline import MAX_LINE_LENGTH
from obfstats.ownfile import leads_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHUNK = 1 << 18
_START = slice(0, 19)
_SPARE, _MOST_PARTS = 1 << 22, 16
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Rewriting:
    """A log that is copied without some of its lines.

    Attributes:
        forgotten: lines that were left out so far.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        """Make the new file.

        Args:
            path: the log.
            descriptor: the open log, which may be read at any place.

        Raises:
            OSError: if a file cannot be made.
        """
        self.forgotten = 0
        # What is appended from now on is new, whatever its label says: somebody may have set the clock back.
        self._size = os.fstat(descriptor).st_size
        self._path = path
        self._new_path = _copy_of(path)
        self._old = os.dup(descriptor)
        self._read = 0
        self._torn = b""
        remove_copy(path)
        try:
            self._new = os.open(self._new_path, _FLAGS, 0o600)
        except OSError:
            os.close(self._old)
            raise

    def copy(self, keep: Callable[[str], bool]) -> None:
        """Copy what is to stay, and all that is appended meanwhile.

        Args:
            keep: tells of a line by its first 19 bytes, an interval's start or whatever stands there, whether it stays.

        Raises:
            OSError: if it cannot be copied.
        """
        while self._read < self._size and self._copy_some(min(_CHUNK, self._size - self._read), keep):
            pass
        self._copy_rest()
        os.fsync(self._new)

    def replace(self, descriptor: int) -> int:
        """Copy the last that came meanwhile and give the new file the log's name.

        That does not wait for the disk: what came last may still be on its way there, as it was in the old log.

        Args:
            descriptor: the open log; closed if this works.

        Returns:
            The descriptor of the new log, which is locked as the old one is.

        Raises:
            OSError: if that cannot be done, or the log was rotated away; the log is as it was then.
        """
        try:
            self._check_name()
            self._copy_rest()
            _write_all(self._new, self._torn)
            os.fchmod(self._new, 0o600)
            fcntl.flock(self._new, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._new_path.rename(self._path)
        except OSError:
            self.abandon()
            raise
        os.close(self._old)
        os.close(descriptor)
        return self._new

    def abandon(self) -> None:
        """Remove the copy."""
        os.close(self._old)
        os.close(self._new)
        with contextlib.suppress(OSError):
            self._new_path.unlink()

    def _check_name(self) -> None:
        """See that the log still has its name.

        Raises:
            OSError: if it was rotated away, or emptied behind a copy of it.
        """
        if not leads_to(self._path, self._old) or os.fstat(self._old).st_size < self._read:
            raise OSError(errno.ESTALE, "the log was rotated away meanwhile")

    def _copy_rest(self) -> None:
        """Copy everything from where the last call stopped."""
        while self._copy_some(_CHUNK, lambda _start: True):
            pass

    def _copy_some(self, most: int, keep: Callable[[str], bool]) -> bool:
        """Copy the whole lines that stay of so many bytes; tell whether there were any bytes."""
        chunk = os.pread(self._old, most, self._read)
        self._read += len(chunk)
        *lines, rest = (self._torn + chunk).split(b"\n")
        # Of a giant line nobody needs more than that it was damaged.
        self._torn = rest[: MAX_LINE_LENGTH + 1]
        kept = list(_kept(lines, keep))
        self.forgotten += len(lines) - len(kept)
        if kept:
            self._leave_room()
            _write_all(self._new, b"".join(line + b"\n" for line in kept))
        return bool(chunk)

    def _leave_room(self) -> None:
        """See that the disk is not filled to its end.

        Raises:
            OSError: if there is little room left.
        """
        disk = os.fstatvfs(self._new)
        # A disk may be small, or say nothing of its size; and what a short log takes is no matter.
        spare = min(_SPARE, disk.f_blocks * disk.f_frsize // _MOST_PARTS, 2 * self._size)
        if disk.f_bavail * disk.f_frsize < spare:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _kept(lines: list[bytes], keep: Callable[[str], bool]) -> Iterator[bytes]:
    """Give the lines that stay; neighbours mostly belong to one interval."""
    start, keeps = b"", True
    for line in lines:
        if line[_START] != start:
            start = line[_START]
            keeps = keep(start.decode("ascii", "replace"))
        if keeps:
            yield line


def remove_copy(path: Path) -> None:
    """Remove what a killed program has left beside a log."""
    with contextlib.suppress(OSError):
        _copy_of(path).unlink()


def _copy_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all of it.

    Raises:
        OSError: if the disk does not take it.
    """
    while data:
        data = data[os.write(descriptor, data) :]
