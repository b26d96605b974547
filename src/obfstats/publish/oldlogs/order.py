"""Several logs as if they were one: their lines in order by time, whatever order the command line has them in.

- Logs are ordered by their first times; rotated logs then follow on each other.
- Where two overlap their lines are merged by time, which is said: they may be two programs' that ran side by side, or
  a log and its copy. A line without a time stays behind the one before it.
- The same file twice is read once.
- A log is opened when its turn comes. It is looked into before, to see when it begins; standard input and pipes, which
  can be read once only, are held open from there on.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from obfstats.publish.oldlogs.blocks import Block, Found, Window, plain_blocks
from obfstats.publish.oldlogs.pieces import read_pieces

if TYPE_CHECKING:
    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.oldlogs.counting import Counting
    from obfstats.publish.oldlogs.notes import Notes

_LOOK = 1 << 16
"""Bytes of the pieces in which a log is looked into."""

MakeBlocks = Callable[["LogFile", Window, Found], Iterator[Block]]
"""Opens a log and makes blocks of it."""


@dataclass
class Stream:
    """One log on its way.

    Attributes:
        log: which one.
        blocks: what comes of it.
        found: what has been found in it.
        head: the time of its next line that has one; None before it was looked into, and at its end.
    """

    log: LogFile
    blocks: Iterator[Block]
    found: Found = field(default_factory=Found)
    head: int | None = None
    _block: Block | None = None
    _place: int = 0

    def look(self, window: Window) -> None:
        """Find out when it begins."""
        if self.log.is_read_once:
            self._find_head()
            return
        pieces = read_pieces(self.log, _LOOK, lambda _size: None)
        times = (block.time_from(0) for block in plain_blocks(pieces, window, Found()))
        self.head = next((seconds for seconds in times if seconds is not None), None)

    def feed(self, counting: Counting, limit: int | None) -> None:
        """Have its lines counted, up to the first that is later than a time.

        Args:
            counting: counts them.
            limit: the time; None for all.
        """
        if self._block is None:
            self._next()
        while self._block is not None:
            block, place = self._block, self._place
            end = len(block) if limit is None else block.later(place, limit)
            block.feed(counting, place, end)
            self._place = end
            if end < len(block):
                self.head = block.time_from(end)
                return
            self._next()
        self.head = None

    def _next(self) -> None:
        self._block, self._place = next(self.blocks, None), 0

    def _find_head(self) -> None:
        """Read on to the first line that has a time; what has none before it is of no account."""
        while self.head is None:
            self._next()
            if self._block is None:
                return
            self.head = self._block.time_from(0)


def in_order(
    logs: Sequence[LogFile], make: MakeBlocks, window: Window, counting: Counting, notes: Notes
) -> list[Stream]:
    """Have the lines of several logs counted in order.

    Args:
        logs: which ones.
        make: opens them.
        window: the times that are taken for true.
        counting: counts the lines.
        notes: takes what there is to say.

    Returns:
        The logs, each once, with what was found in them.

    Raises:
        LogFileError: if one cannot be read.
    """
    streams = []
    for log in _once(logs, notes):
        found = Found()
        stream = Stream(log, make(log, window, found), found)
        stream.look(window)
        streams.append(stream)
    for stream in streams:
        if stream.head is None:
            stream.feed(counting, None)
    waiting = [(stream.head, number, stream) for number, stream in enumerate(streams) if stream.head is not None]
    heapq.heapify(waiting)
    overlapping = set()
    while waiting:
        _, number, stream = heapq.heappop(waiting)
        next_head, next_number, _ = waiting[0] if waiting else (None, number, stream)
        stream.feed(counting, next_head)
        if stream.head is not None:
            heapq.heappush(waiting, (stream.head, number, stream))
            overlapping |= {number, next_number}
    notes.overlap([streams[number].log.name for number in sorted(overlapping)])
    return streams


def _once(logs: Sequence[LogFile], notes: Notes) -> Iterator[LogFile]:
    """Give each file once."""
    seen = set()
    for log in logs:
        if log.identity is not None and log.identity in seen:
            notes.say(f"{log.name} is the same file as one before it and is read once")
        else:
            yield log
        seen.add(log.identity)
