"""Where batches go: a journal, which writes them to the log, or an aggregate, which counts them."""

from __future__ import annotations

from typing import Protocol


class Store(Protocol):
    """Takes batches. Nothing here raises for what a disk may do.

    Attributes:
        held: lines that wait for the disk.
        dropped: lines that were lost because the disk refused them for too long.
    """

    held: int
    dropped: int

    def append(self, start: str, messages: list[str], now: float) -> None:
        """Take a batch: what each of its lines begins with, their rests, and boot time in seconds."""

    def retry(self, now: float) -> None:
        """Write what is held, unless the last failure was too short a while ago."""

    def reopen(self, now: float) -> None:
        """Follow a log that was rotated away."""

    def touch(self) -> None:
        """Set the file's times to now."""

    def forget(self, start: str) -> None:
        """Take notice that nobody will ask for the interval that began then, `YYYY-MM-DD HH:MM:SS`."""

    def close(self) -> None:
        """Stop; what is held is not written."""
