"""Writes the marks of whole intervals beside a log (formats/marks.py).

- The file is its owner's alone (lockedfile.py). Only the program that has the log writes it, once a day, so it is
  opened for each write, and not locked in between.
- It is written at ticks, never at a client's moment.
- What cannot be written is tried again at the next tick. Until then its interval counts as cut short, so a mark that is
  lost with the program costs a day and publishes nothing wrong. For the same reason nothing waits for the disk.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from obfstats.formats.interval import LABEL_LENGTH
from obfstats.formats.lognames import marks_of
from obfstats.formats.marks import is_begin, write_begin, write_whole
from obfstats.lockedfile import LockedFile, LockedFileError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from obfstats.formats.interval import Interval


class MarksFile:
    """The marks beside one log."""

    def __init__(self, log: Path, warn: Callable[[str], None]) -> None:
        """Write nothing yet.

        Args:
            log: the log.
            warn: called with one sentence if marks cannot be written.
        """
        self._path = marks_of(log)
        self._warn = warn
        self._has_warned = False
        self._begin = b""
        self._waiting: list[bytes] = []
        # Marks are removed on another thread.
        self._lock = Lock()

    def begin(self, interval: Interval) -> None:
        """Let the marks begin with this interval, if there are none yet; the next `write` writes that down."""
        self._begin = write_begin(interval.label)

    @property
    def has_waiting(self) -> bool:
        """Whether there is something to write."""
        return bool(self._waiting or self._begin)

    def add(self, interval: Interval, lines: int) -> None:
        """Add a whole interval, to be written with the next `write`.

        Args:
            interval: the interval, whose last lines are in the log.
            lines: how many connections it had.
        """
        self._waiting.append(write_whole(interval.label, lines))

    def write(self) -> None:
        """Write what waits. Never raises for what a disk may do."""
        waiting = self._waiting.copy()
        try:
            with self._lock:
                file = LockedFile.open(self._path, "marks", "remove it")
                try:
                    file.make_private()
                    file.append((b"" if file.size else self._begin) + b"".join(waiting))
                finally:
                    file.close()
        except (OSError, LockedFileError) as error:
            if not self._has_warned:
                self._has_warned = True
                reason = error.strerror if isinstance(error, OSError) else error
                self._warn(f"cannot write {self._path} ({reason}): until then days count as cut short")
            return
        self._begin = b""
        del self._waiting[: len(waiting)]
        self._has_warned = False

    def remove(self, keep: Callable[[str], bool]) -> None:
        """Remove the marks of intervals whose lines are removed from the log; on any thread.

        Args:
            keep: tells by a label whether its lines stay.

        Raises:
            OSError: if the disk does not allow it; nothing is removed then.
        """
        with self._lock:
            try:
                lines = self._path.read_bytes().splitlines(keepends=True)
            except FileNotFoundError:
                return
            kept = [line for line in lines if is_begin(line) or keep(line[:LABEL_LENGTH].decode("ascii", "replace"))]
            if kept != lines:
                copy = self._path.with_name(f"{self._path.name}.new")
                copy.unlink(missing_ok=True)
                file = LockedFile.open(copy, "marks", "remove it")
                try:
                    file.append(b"".join(kept))
                finally:
                    file.close()
                copy.rename(self._path)
