"""A piece of a log as times and events, line by line: plain Python, the reference for columns.py.

- A date on which these programs wrote nothing, before 2012 or later than tomorrow, is no time: one line with a wrong
  clock must not carry all others away.
- A start that a few builds broke in two has the time of the first line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from obfstats.formats.oldlog import DAY_SECONDS, Connection, Line, Started, Unsaid, day_number, read_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obfstats.publish.oldlogs.counting import Counting
    from obfstats.publish.oldlogs.pieces import Piece

EARLIEST = (day_number(b"2012-01-01") or 0) * DAY_SECONDS
"""The programs write times since February 2012."""


class Window(NamedTuple):
    """Which times are taken for true; on the logs' clock.

    Attributes:
        first: the earliest, in seconds.
        last: the latest.
    """

    first: int
    last: int

    def holds(self, seconds: int) -> bool:
        """Tell whether a time is one of them."""
        return self.first <= seconds <= self.last


@dataclass
class Found:
    """What kinds of lines were found in a log.

    Attributes:
        lines: all of them.
        connections: those that tell of a client.
        timed: those that have a time, be it a wrong one.
        impossible: those whose time is not taken for true.
        without_time: what C obfsproxy said of clients, starts and stops in lines without a time.
    """

    lines: int = 0
    connections: int = 0
    timed: int = 0
    impossible: int = 0
    without_time: int = 0


class Block(Protocol):
    """The lines of one piece, in order."""

    def __len__(self) -> int:
        """Give the number of lines."""

    def time_from(self, place: int) -> int | None:
        """Give the time of the first line that has one, from a place on; None if there is none."""

    def later(self, place: int, limit: int) -> int:
        """Give the place of the first line that is later than a time, from a place on; the number of lines if none."""

    def feed(self, counting: Counting, place: int, end: int) -> None:
        """Have the lines from one place to before another counted."""


class LineReader:
    """Reads the lines of one log, one after the other.

    Args:
        window: the times that are taken for true.
        found: counts what is found.
    """

    def __init__(self, window: Window, found: Found) -> None:
        self._window = window
        self._found = found
        self._unsaid: int | None = None

    def skip(self) -> None:
        """Let a line pass that somebody else has read."""
        self._unsaid = None

    def read(self, text: bytes) -> Line:
        """Read the next line; its time is None where it is not taken for true."""
        seconds, event = read_line(text)
        unsaid, self._unsaid = self._unsaid, None
        if seconds is None:
            if unsaid is not None and isinstance(event, Started):
                return Line(unsaid, event)
            self._found.without_time += event is not None and not isinstance(event, Unsaid)
            return Line(None, event)
        self._found.timed += 1
        if not self._window.holds(seconds):
            self._found.impossible += 1
            return Line(None, None)
        if isinstance(event, Unsaid):
            self._unsaid = seconds
        return Line(seconds, event)


class PlainBlock:
    """A piece whose lines have all been read."""

    def __init__(self, lines: list[Line]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        """Give the number of lines."""
        return len(self._lines)

    def time_from(self, place: int) -> int | None:
        """Give the time of the first line that has one, from a place on; None if there is none."""
        for number in range(place, len(self._lines)):
            seconds = self._lines[number].seconds
            if seconds is not None:
                return seconds
        return None

    def later(self, place: int, limit: int) -> int:
        """Give the place of the first line that is later than a time, from a place on; the number of lines if none."""
        for number in range(place, len(self._lines)):
            seconds = self._lines[number].seconds
            if seconds is not None and seconds > limit:
                return number
        return len(self._lines)

    def feed(self, counting: Counting, place: int, end: int) -> None:
        """Have the lines from one place to before another counted."""
        for number in range(place, end):
            seconds, event = self._lines[number]
            if seconds is not None:
                counting.take(seconds, event)


def plain_blocks(pieces: Iterator[Piece], window: Window, found: Found) -> Iterator[PlainBlock]:
    """Make blocks of pieces.

    Args:
        pieces: of one log.
        window: the times that are taken for true.
        found: counts what is found.
    """
    reader = LineReader(window, found)
    for piece in pieces:
        texts = bytes(memoryview(piece.memory)[piece.begin : piece.end]).split(b"\n")
        lines = [reader.read(text) for text in texts[:-1]]
        found.lines += len(lines)
        found.connections += sum(isinstance(line.event, Connection) for line in lines)
        yield PlainBlock(lines)
