"""Which lines are written together, and when (ticket 5047, steps 3, 4 and 6).

    buffer             the running interval's lines, each with its client's network: a pool (see below)
    closing batches    the last lines of intervals that have ended, until a random moment

- Only ticks write, so neither the file's size nor its times date a client.
- The buffer is full when it has lines of as many networks as its capacity, /24 or /48, however many lines these are. So
  an attacker's connections do not fill it, unless they come from many networks.
- A full buffer is written after a random delay, and of its networks a random half stays: who fills it before and after
  a client's connection does not know which batch the client's line is in. That is a pool mix (Serjantov, Dingledine,
  Syverson: From a Trickle to a Flood, 2002). The closing batch has all that is left.
- Memory is bounded: if there are more than MAX_LINES lines, or more than ten for each network of the capacity, the
  networks with the most lines are written at the next tick, and the others stay. No line is dropped.
- A crash loses the buffer: on most bridges the lines of fewer networks than twice the capacity.
- With a capacity of 1 there is no buffer: a line is written when the next one arrives, in a client's call.
- What is left at the end is never written (step 6, decision 6).
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from obfstats.formats.interval import Interval

DEFAULT_BUFFER = 100
"""Networks. With a network of its own for each connection they are the ticket's 100 lines. More hide more."""

CLOSING_DELAY = 600.0
"""Seconds within which a full buffer, or what is left of an ended interval, is written."""

MAX_LINES = 10_000
"""Lines in the buffer after a tick, some 1 MB; ten times the capacity if that is more."""

MAX_ARRIVALS = 20_000
"""Further lines that may wait for a tick, some 2 MB. Where so many arrive within 30 seconds, no moment identifies a
client."""

# For each random byte: 1 or 0. Half are 1.
_HALF = bytes(128) + b"\1" * 128

MAX_ENDED = 10
"""Ended intervals that are remembered until `pop_written` gives them."""


class _ClosingBatch(NamedTuple):
    """The last lines of an interval.

    Attributes:
        interval: the interval.
        entries: its lines without their labels.
        due: boot time at which they are written, in seconds.
    """

    interval: Interval
    entries: list[str]
    due: float


class Batches:
    """Buffer and closing batches.

    Attributes:
        entries: the buffer's lines without their labels (formats/logline.py); the same list for good. The recorder
            appends to it after checking `max_lines`.
        networks: the network of each of them, as a number; the same array for good.
        max_lines: how many of them there may be.
    """

    def __init__(
        self,
        append: Callable[[Interval, list[str], float], None],
        capacity: int,
        draw_delay: Callable[[], float],
        random: Random,
    ) -> None:
        """Start empty.

        Args:
            append: writes or counts a batch: its interval, its lines, and boot time in seconds.
            capacity: of how many networks lines are held, at least 1.
            draw_delay: draws the seconds that a full buffer, or a closing batch, waits.
            random: draws what stays in the buffer.
        """
        self.entries: list[str] = []
        self.networks = array("H")
        self._bound = max(MAX_LINES, 10 * capacity)
        self.max_lines = 1 if capacity == 1 else self._bound + MAX_ARRIVALS
        self._capacity = capacity
        self._append = append
        self._draw_delay = draw_delay
        self._random = random
        self._written = 0
        self._due: float | None = None
        self._closing: deque[_ClosingBatch] = deque()
        self._fully_written: deque[tuple[Interval, float]] = deque(maxlen=MAX_ENDED)

    @property
    def connections(self) -> int:
        """The running interval's lines, written and in the buffer."""
        return self._written + len(self.entries)

    def make_space(self, interval: Interval, now: float) -> None:
        """Write lines, because there are as many as there may be."""
        while self._closing:
            self._write_closing(now)
        if self._capacity == 1:
            self._write(interval, b"\1" * len(self.entries), now)
        else:
            self._write_excess(interval, now)

    def tick(self, interval: Interval, now: float) -> None:
        """Write what is due.

        Args:
            interval: the running interval.
            now: boot time in seconds.
        """
        while self._closing and now >= self._closing[0].due:
            self._write_closing(now)
        # An interval's lines come after those of the interval before.
        if self._capacity > 1 and len(self.entries) >= self._capacity and not self._closing:
            self._write_share(interval, now)
            self._write_excess(interval, now)

    def end_interval(self, interval: Interval, now: float) -> None:
        """Step 3: the lines in the buffer become a closing batch, even if there are none."""
        self._closing.append(_ClosingBatch(interval, self.entries.copy(), now + self._draw_delay()))
        self.drop_interval()

    def drop_interval(self) -> None:
        """Drop the running interval's lines that are not written; the next lines are another interval's."""
        self.entries.clear()
        del self.networks[:]
        self._due = None
        self._written = 0

    def pop_written(self, now: float) -> list[Interval]:
        """Give the intervals whose last lines are written and whose moment has passed, each once.

        What is published then must not date a client whose call had them written earlier.
        """
        written = [interval for interval, due in self._fully_written if now >= due]
        self._fully_written = deque(((each, due) for each, due in self._fully_written if now < due), maxlen=MAX_ENDED)
        return written

    def drop_all(self) -> None:
        """Drop every line (step 6)."""
        self.drop_interval()
        self._closing.clear()

    def _write_closing(self, now: float) -> None:
        batch = self._closing.popleft()
        if batch.entries:
            self._append(batch.interval, batch.entries, now)
        self._fully_written.append((batch.interval, batch.due))

    def _write_share(self, interval: Interval, now: float) -> None:
        """Step 4: if the buffer is full and its moment has passed, write a random half of its networks."""
        if self._due is None and len(set(self.networks)) >= self._capacity:
            self._due = now + self._draw_delay()
        if self._due is not None and now >= self._due:
            self._due = None
            # One of a network's two bytes decides: networks that share it are written together.
            drawn = self._random.randbytes(256).translate(_HALF)
            self._write(interval, self.networks.tobytes()[::2].translate(drawn), now)

    def _write_excess(self, interval: Interval, now: float) -> None:
        """If there are too many lines, write those of the networks with the most, until half of the bound is left."""
        lines = len(self.entries)
        if lines <= self._bound:
            return
        counts = Counter(self.networks)
        # Neither the order of arrival nor that of the numbers decides between networks with as many lines.
        by_lines = sorted(counts, key=lambda network: (counts[network], self._random.random()))
        chosen = set()
        while lines > self._bound // 2:
            chosen.add(network := by_lines.pop())
            lines -= counts[network]
        self._write(interval, bytes(map(chosen.__contains__, self.networks)), now)

    def _write(self, interval: Interval, is_written: bytes, now: float) -> None:
        """Write lines as one batch.

        Args:
            interval: their interval.
            is_written: 1 or 0 for each line: whether it is in the batch, or stays.
            now: boot time in seconds.
        """
        # Without a loop in Python: a busy bridge's buffer is long.
        stays = is_written.translate(b"\1" + bytes(255))
        batch = list(compress(self.entries, is_written))
        self.entries[:] = compress(self.entries, stays)
        self.networks[:] = array("H", compress(self.networks, stays))
        if batch:
            self._written += len(batch)
            self._append(interval, batch, now)
