"""Removing old intervals from the log while it is written: what has been published need not be kept.

    rewriting = journal.begin_rewriting()
    rewriting.copy(keep)                   may take long: on a thread of its own, if you like
    journal.finish_rewriting(rewriting)    copies the rest and replaces the log, while nothing is appended

- The log is copied without the lines that are removed, into a file beside it that only its owner can read. That file
  takes the log's name in one step, so at every moment there is a whole log under that name.
- The new file is locked before it has the name.
- A log that was rotated away meanwhile stays as it is.
- The copy leaves the space that the next lines need: on a disk that is nearly full it stops before.
- A copy that a killed program left is removed when the log is opened again.

What the disk keeps of a deleted file is out of reach here.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from obfstats.formats.interval import LABEL_LENGTH
from obfstats.formats.logline import MAX_LINE_LENGTH
from obfstats.lockedfile import LockedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHUNK_SIZE = 1 << 18
_LABEL = slice(LABEL_LENGTH)
# Free bytes that the copy leaves, and the part of the disk that these are at most.
_SPARE, _SPARE_DIVISOR = 1 << 22, 16
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Rewriting:
    """A log that is copied without some of its lines.

    Attributes:
        removed: lines that were left out so far.
    """

    def __init__(self, log: LockedFile) -> None:
        """Create the new file.

        Args:
            log: the open log.

        Raises:
            OSError: if a file cannot be created.
        """
        self.removed = 0
        # What is appended from now on stays, whatever its label: the clock may have been set back.
        self._size = log.size
        self._read = 0
        self._rest = b""
        remove_copy(log.path)
        new_path = _copy_of(log.path)
        # The journal may close its descriptor, when the log is rotated away.
        self._old = LockedFile(log.path, os.dup(log.descriptor))
        try:
            self._new = LockedFile(new_path, os.open(new_path, _FLAGS, 0o600))
        except OSError:
            self._old.close()
            raise

    def copy(self, keep: Callable[[str], bool]) -> None:
        """Copy the lines that stay, and all that is appended meanwhile.

        Args:
            keep: tells by a line's first 19 bytes, an interval's label or whatever is there, whether it stays.

        Raises:
            OSError: if the copy fails.
        """
        while self._read < self._size and self._copy_chunk(min(_CHUNK_SIZE, self._size - self._read), keep):
            pass
        self._copy_rest()
        os.fsync(self._new.descriptor)

    def replace(self, log: LockedFile) -> LockedFile:
        """Copy the last lines that were appended meanwhile and give the new file the log's name.

        That does not wait for the disk: the last lines may not be on it yet, as in the old log.

        Args:
            log: the open log; closed if this works.

        Returns:
            The new log, which is locked as the old one is.

        Raises:
            OSError: if that fails, or the log was rotated away; the log is as it was then.
        """
        try:
            self._check_old_log()
            self._copy_rest()
            self._new.append(self._rest)
            os.fchmod(self._new.descriptor, 0o600)
            self._new.lock()
            self._new.path.rename(log.path)
        except OSError:
            self.abandon()
            raise
        self._new.path = log.path
        self._old.close()
        log.close()
        return self._new

    def abandon(self) -> None:
        """Remove the copy."""
        self._old.close()
        self._new.close()
        with contextlib.suppress(OSError):
            self._new.path.unlink()

    def _check_old_log(self) -> None:
        """Raise OSError if the log was rotated away, or copied and truncated."""
        if not self._old.is_in_place() or self._old.size < self._read:
            raise OSError(errno.ESTALE, "the log was rotated away meanwhile")

    def _copy_rest(self) -> None:
        """Copy everything from where the last call stopped."""
        while self._copy_chunk(_CHUNK_SIZE, lambda _label: True):
            pass

    def _copy_chunk(self, size: int, keep: Callable[[str], bool]) -> bool:
        """Copy the whole lines that stay of so many bytes; tell whether there were any bytes."""
        chunk = self._old.read(size, self._read)
        self._read += len(chunk)
        *lines, rest = (self._rest + chunk).split(b"\n")
        # A giant line is damaged, and its beginning is enough to show that.
        self._rest = rest[: MAX_LINE_LENGTH + 1]
        kept = list(_kept_lines(lines, keep))
        self.removed += len(lines) - len(kept)
        if kept:
            self._check_free_space()
            self._new.append(b"".join(line + b"\n" for line in kept))
        return bool(chunk)

    def _check_free_space(self) -> None:
        """Raise OSError if the disk is nearly full."""
        disk = os.fstatvfs(self._new.descriptor)
        # A disk may be small, or report no size; and the size of a short log does not matter.
        spare = min(_SPARE, disk.f_blocks * disk.f_frsize // _SPARE_DIVISOR, 2 * self._size)
        if disk.f_bavail * disk.f_frsize < spare:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def remove_copy(path: Path) -> None:
    """Remove what a killed program has left beside a log."""
    with contextlib.suppress(OSError):
        _copy_of(path).unlink()


def _kept_lines(lines: list[bytes], keep: Callable[[str], bool]) -> Iterator[bytes]:
    """Give the lines that stay; neighbours mostly belong to one interval."""
    label, keeps = b"", True
    for line in lines:
        if line[_LABEL] != label:
            label = line[_LABEL]
            keeps = keep(label.decode("ascii", "replace"))
        if keeps:
            yield line


def _copy_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")
