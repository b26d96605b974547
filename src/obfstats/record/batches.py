"""Which lines are written together, and at whose moment (ticket 5047, steps 3, 4 and 6).

    buffer             the running interval's lines, until there is no room for another
    closing batch      the last lines of the interval before, until a random moment

- Every batch but the closing one has exactly as many lines as there is capacity: no client is written alone.
- Both together hold at most that many lines: that is what a crash can lose.
- A tick writes the closing batch, after a random delay; a client's call never does, unless closing batch and buffer are
  full together. So its moment says nothing of a client. In that case, too, its interval is reported as finished only
  after the delay: what is published then must not date a client.
- A full buffer is written when one client more comes. Every tick sets the file's times, so that they do not keep that
  client's moment.
- What is left at the end is never written (step 6, decision 6).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.record.store import Store

DEFAULT_BUFFER = 100
"""Lines: the ticket's. Higher numbers hide more."""

CLOSING_DELAY = 600.0
"""Seconds after an interval's end within which its last lines are written."""


SOME = 10
"""Finished intervals that are remembered where nobody asks for them."""


class Batches:
    """Buffer and closing batch.

    Attributes:
        buffer: the rest of each line behind its label; one list for good, whoever appends to it looks at `room` first.
        room: how many lines the buffer may hold now.
    """

    def __init__(self, journal: Store, capacity: int, delay: Callable[[], float]) -> None:
        """Begin empty.

        Args:
            journal: where batches go.
            capacity: how many lines are held at most, at least 1.
            delay: draws the seconds that a closing batch waits.
        """
        self.buffer: list[str] = []
        self.room = capacity
        self._finished: deque[tuple[str, float]] = deque(maxlen=SOME)
        self._journal = journal
        self._capacity = capacity
        self._delay = delay
        self._written = 0
        self._closing: list[str] = []
        self._closing_label = ""
        self._closing_due = 0.0

    @property
    def counted(self) -> int:
        """The running interval's lines, those that are written already and those in the buffer."""
        return self._written + len(self.buffer)

    def make_room(self, label: str, now: float) -> None:
        """Step 4: no room for another line. What is full goes: the closing batch by itself, or else the buffer."""
        if self._closing:
            self._write_closing(now)
        else:
            self._journal.append(label, self.buffer, now)
            self._written += len(self.buffer)
            self.buffer.clear()

    def end_interval(self, label: str, now: float) -> None:
        """Step 3: what is left in the buffer becomes the closing batch, even if that is nothing."""
        if self._closing_label:
            self._write_closing(now)
        self._closing = self.buffer.copy()
        self._closing_label, self._closing_due = label, now + self._delay()
        self.room = self._capacity - len(self._closing)
        self.drop_interval()

    def drop_interval(self) -> None:
        """Forget the running interval's lines that are not written; the next lines are another interval's."""
        self.buffer.clear()
        self._written = 0

    def tick(self, now: float) -> None:
        """Write the closing batch, if its moment has come, and what the disk has refused before."""
        if self._closing_label and now >= self._closing_due:
            self._write_closing(now)
        self._journal.retry(now)
        self._journal.touch()

    def take_finished(self, now: float) -> list[str]:
        """Give the labels of intervals whose last lines have been handed over and whose moment has come, each once."""
        finished = [label for label, due in self._finished if now >= due]
        self._finished = deque(((label, due) for label, due in self._finished if now < due), maxlen=SOME)
        return finished

    def forget(self) -> None:
        """Drop every line (step 6)."""
        self.drop_interval()
        self._closing.clear()
        self._closing_label = ""

    def _write_closing(self, now: float) -> None:
        if self._closing:
            self._journal.append(self._closing_label, self._closing, now)
        self._finished.append((self._closing_label, self._closing_due))
        self._closing.clear()
        self._closing_label = ""
        self.room = self._capacity
