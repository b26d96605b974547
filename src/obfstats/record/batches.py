"""Which lines are written together, and when (ticket 5047, steps 3, 4 and 6).

    buffer             the running interval's lines, until it is full
    closing batch      the last lines of the interval before, until a random moment

- Every batch but the closing one has exactly as many lines as the capacity: no client is written alone.
- Both together hold at most that many lines: that is what a crash can lose.
- A tick writes the closing batch, after a random delay, so that the time of writing does not date a client. A client's
  call writes it only if closing batch and buffer are full together. In that case, too, its interval is reported as
  written only after the delay, because what is then published must not date a client either.
- A full buffer is written when one more client arrives. Every tick sets the file's times, so that they do not keep that
  moment (journal.py).
- What is left at the end is never written (step 6, decision 6).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.formats.interval import Interval

DEFAULT_BUFFER = 100
"""Lines: the ticket's. Higher numbers hide more."""

CLOSING_DELAY = 600.0
"""Seconds after an interval's end within which its last lines are written."""

MAX_ENDED = 10
"""Ended intervals that are remembered until `pop_written` gives them."""


class Batches:
    """Buffer and closing batch.

    Attributes:
        buffer: lines without their labels (formats/logline.py); the same list for good. The recorder appends to it
            after checking `capacity`.
        capacity: how many lines the buffer may hold now.
    """

    def __init__(
        self, append: Callable[[Interval, list[str], float], None], capacity: int, draw_delay: Callable[[], float]
    ) -> None:
        """Start empty.

        Args:
            append: writes or counts a batch: its interval, its lines, and boot time in seconds.
            capacity: how many lines are held at most, at least 1.
            draw_delay: draws the seconds that a closing batch waits.
        """
        self.buffer: list[str] = []
        self.capacity = self._total_capacity = capacity
        self._append = append
        self._draw_delay = draw_delay
        self._written = 0
        self._closing: list[str] = []
        self._closing_interval: Interval | None = None
        self._closing_due = 0.0
        self._fully_written: deque[tuple[Interval, float]] = deque(maxlen=MAX_ENDED)

    @property
    def connections(self) -> int:
        """The running interval's lines, written and in the buffer."""
        return self._written + len(self.buffer)

    def write_full(self, interval: Interval, now: float) -> None:
        """Step 4: write what is full, the closing batch if there is one, else the buffer."""
        if self._closing:
            self._write_closing(now)
        else:
            self._append(interval, self.buffer, now)
            self._written += len(self.buffer)
            self.buffer.clear()

    def end_interval(self, interval: Interval, now: float) -> None:
        """Step 3: the lines in the buffer become the closing batch, even if there are none."""
        self._write_closing(now)
        self._closing = self.buffer.copy()
        self._closing_interval, self._closing_due = interval, now + self._draw_delay()
        self.capacity = self._total_capacity - len(self._closing)
        self.drop_interval()

    def drop_interval(self) -> None:
        """Drop the running interval's lines that are not written; the next lines are another interval's."""
        self.buffer.clear()
        self._written = 0

    def tick(self, now: float) -> None:
        """Write the closing batch if its moment has passed."""
        if now >= self._closing_due:
            self._write_closing(now)

    def pop_written(self, now: float) -> list[Interval]:
        """Give the intervals whose last lines are written and whose moment has passed, each once."""
        written = [interval for interval, due in self._fully_written if now >= due]
        self._fully_written = deque(((each, due) for each, due in self._fully_written if now < due), maxlen=MAX_ENDED)
        return written

    def drop_all(self) -> None:
        """Drop every line (step 6)."""
        self.drop_interval()
        self._closing.clear()
        self._closing_interval = None

    def _write_closing(self, now: float) -> None:
        if self._closing_interval is None:
            return
        if self._closing:
            self._append(self._closing_interval, self._closing, now)
        self._fully_written.append((self._closing_interval, self._closing_due))
        self._closing.clear()
        self._closing_interval = None
        self.capacity = self._total_capacity
