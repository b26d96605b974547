r"""The statistics log's file: whole lines are appended, a batch at a time, and nothing else ever happens to it.

Rules (facts about faults that this file answers):

- Only the operator reads it and one program writes it (ownfile.py). A file that holds anything but a log is refused.
- A batch is one write. If the disk takes only part of it, the part is cut off again, so that a reader sees whole
  lines. Whatever could not be written is kept, up to a bound, and tried again later; what is beyond the bound is
  dropped, a whole batch at a time (dropping some lines of a sorted batch would favour a country), and counted.
- A last line that a killed program left torn is sealed with a newline at the next open, so that nothing merges with
  it; readers count it as damaged.
- A log that was rotated away is followed: with each tick, and when it is asked for, the path is looked at, and opened
  anew where another file, or none, stands there. Never with a client: until then its batch is held. The old file's
  time is set to that moment, or it would tell for good of the last client who made a batch full.

A batch is written sorted: its bytes are a function of the set of its lines alone (design, decision 4).
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from obfstats.formats.logline import LINE_LENGTH, MAX_LINE_LENGTH, is_cut_short, is_line
from obfstats.ownfile import OwnFileError, check, leads_to, lock, open_or_make
from obfstats.record.backoff import Backoff
from obfstats.record.errors import LogInUseError, RecordError
from obfstats.record.rewriting import Rewriting, remove_copy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HELD_LINES = 20_000
"""Lines kept in memory, some 2 MB, while the disk refuses them."""

_HEAD = 1 << 16
_TELLING = len("2012-")


class Journal:
    """The open log.

    Attributes:
        path: where it is.
        held: lines that wait for the disk.
        dropped: lines that were lost because the disk refused them for too long.
    """

    def __init__(self, path: Path, *, warn: Callable[[str], None]) -> None:
        """Open the log, or make it.

        Args:
            path: the file; its folder must be there.
            warn: takes one sentence when the disk begins to refuse, and one when it takes lines again.

        Raises:
            RecordError: if the file cannot be used; it is then as it was.
        """
        self.dropped = 0
        self.path = path
        self._warn = warn
        self._held: list[bytes] = []
        self.held = 0
        self._backoff = Backoff()
        self._descriptor = _open(path)
        remove_copy(path)

    def append(self, start: str, messages: list[str], now: float) -> None:
        """Write a batch; never raises for what a disk may do.

        Args:
            start: what each of its lines begins with.
            messages: the rest of each line, without its newline, ASCII, in any order.
            now: boot time in seconds, for the next try if this one fails.
        """
        if self.held + len(messages) > HELD_LINES and not self._backoff.reason:
            # The log was rotated away since the last tick. Where so many came since then, no moment is anybody's.
            self._try(now)
        if self.held and self.held + len(messages) > HELD_LINES:
            self.dropped += len(messages)
        else:
            self._held.append((start + f"\n{start}".join(sorted(messages)) + "\n").encode("ascii"))
            self.held += len(messages)
        # This may be a client's moment: a log that is made anew would be born then, and its folder changed.
        if self._is_in_place():
            self.retry(now)

    def retry(self, now: float) -> None:
        """Write what is held, unless the last failure was too short a while ago."""
        is_wanted = self._held or self._backoff.reason or not self._is_in_place()
        if is_wanted and self._backoff.is_due(now):
            self._try(now)

    def reopen(self, now: float) -> None:
        """Follow a log that was rotated away at once; write what is held, too. Never raises for what a disk may do.

        Args:
            now: boot time in seconds, for the next try if this one fails.
        """
        if self._descriptor >= 0:
            self._try(now)

    def touch(self) -> None:
        """Set the file's times to now: called at moments that are no client's, it hides whose line was the last."""
        with contextlib.suppress(OSError):
            os.utime(self._descriptor)

    def head(self) -> bytes:
        """Give the beginning of the log, of whole lines mostly; nothing if it was rotated away.

        Raises:
            OSError: if it cannot be read.
        """
        return os.pread(self._descriptor, _HEAD, 0) if self._is_in_place() else b""

    def rewriting(self) -> Rewriting:
        """Begin to take old intervals out of the log; `take_over` ends it.

        Raises:
            OSError: if a new file cannot be made beside the log.
        """
        return Rewriting(self.path, self._descriptor)

    def take_over(self, rewriting: Rewriting) -> None:
        """Have the rewritten log take the old one's place, with all that was appended meanwhile.

        Raises:
            OSError: if that cannot be done; the log is as it was then.
        """
        self._descriptor = rewriting.replace(self._descriptor)

    def forget(self, start: str) -> None:
        """Have nothing to wipe: what is in the log goes when it is old."""

    def close(self) -> None:
        """Give the file and its lock back. What is held is not written (ticket, step 6). May be called twice."""
        self._held.clear()
        self.held = 0
        if self._descriptor >= 0:
            self.touch()
            os.close(self._descriptor)
            self._descriptor = -1

    def _try(self, now: float) -> None:
        """Follow the path and write what is held; if that fails, plan the next try."""
        try:
            self._follow()
            if self._backoff.reason:
                _seal(self._descriptor)
            _write_whole(self._descriptor, b"".join(self._held))
        except (OSError, RecordError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            if not self._backoff.reason:
                self._warn(f"cannot write {self.path} ({reason}): lines are kept in memory and tried again")
            self._backoff.fail(str(reason), now)
            return
        self._held.clear()
        self.held = 0
        if self._backoff.reason:
            self._backoff.succeed()
            self._warn(f"{self.path} is written again; lines lost so far: {self.dropped}")

    def _is_in_place(self) -> bool:
        """Tell whether the log still has its name."""
        try:
            return leads_to(self.path, self._descriptor)
        except OSError:
            return False

    def _follow(self) -> None:
        """Open the path anew if it no longer leads to the open file."""
        if leads_to(self.path, self._descriptor):
            return
        fresh = _open(self.path)
        self.touch()
        os.close(self._descriptor)
        self._descriptor = fresh


def make_folder_of(path: Path) -> None:
    """Make a log's folder, for its owner alone, if it is not there.

    Raises:
        RecordError: if it cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"cannot make {path.parent}: {error.strerror}; name another folder") from None


def _open(path: Path) -> int:
    """Open, check, lock and seal."""
    try:
        descriptor, _ = open_or_make(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RecordError(f"{path} is a symbolic link; name the file itself") from None
        raise RecordError(f"cannot open the log {path}: {error.strerror}; name another with --stats-log") from None
    try:
        _take(path, descriptor)
        _check_content(path, descriptor)
        _seal(descriptor)
    except OSError as error:
        os.close(descriptor)
        raise RecordError(f"cannot use the log {path}: {error.strerror}; name another with --stats-log") from None
    except RecordError:
        os.close(descriptor)
        raise
    return descriptor


def _take(path: Path, descriptor: int) -> None:
    """See that the file is for this program alone."""
    try:
        check(path, descriptor)
    except OwnFileError as error:
        raise RecordError(str(error)) from None
    if not lock(descriptor):
        raise LogInUseError(f"{path} is in use by another program; give each its own with --stats-log")


def _check_content(path: Path, descriptor: int) -> None:
    """Refuse a file that is no log: its first 64 KiB hold no whole line, nor are they a log's torn beginning."""
    head = os.pread(descriptor, _HEAD, 0)
    lines = [line for line in head.split(b"\n") if line]
    torn = all(is_cut_short(line) for line in lines) and len(max(lines, default=b"", key=len)) >= _TELLING
    if head and not torn and not any(is_line(line) for line in lines):
        raise RecordError(f"{path} holds something else than a statistics log; name another file")


def _seal(descriptor: int) -> None:
    """End a torn last line, so that the next batch begins a line of its own."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, MAX_LINE_LENGTH, max(0, size - MAX_LINE_LENGTH)).rpartition(b"\n")[2]
    if tail:
        # Torn within a transport's name it would read as a whole line with another name: make it unreadable.
        ambiguous = len(tail) >= LINE_LENGTH and not tail.endswith((b" v4", b" v6"))
        _write_whole(descriptor, b"~\n" if ambiguous else b"\n")


def _write_whole(descriptor: int, data: bytes) -> None:
    """Append all of it or nothing.

    Raises:
        OSError: if the disk did not take all; what it took has been cut off again.
    """
    written = os.write(descriptor, data)
    if written < len(data):
        # The offset after an appending write is the end of what this write added, whatever stood there before.
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.ftruncate(descriptor, end - written)
        raise OSError(errno.ENOSPC, "the disk took only a part")
