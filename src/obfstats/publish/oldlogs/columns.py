"""Pieces of a log with numpy, many lines at once: the same times and events as in blocks.py, only faster.

What lineup.py has read is counted in stretches that lie within one interval. A stretch ends before every line that
might change more than the number of clients: a start, a stop, a refusal of nobody in particular, the interval's end.
Such lines go one by one, and so does everything behind a clock that was set back.

Addresses stand in here as numbers, as long as their piece of the log is in memory.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from obfstats.formats.oldlog import Connection, Event, Refused, Started, Stopped
from obfstats.publish.oldlogs.blocks import LineReader
from obfstats.publish.oldlogs.counting import STEP_BACK
from obfstats.publish.oldlogs.lineup import NEVER, LineUp
from obfstats.publish.oldlogs.shapes import Kind, Shapes
from obfstats.publish.oldlogs.stretch import Other, Stretch, count_stretch, event_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import UnionType

    from numpy.typing import NDArray

    from obfstats.publish.oldlogs.blocks import Found, Window
    from obfstats.publish.oldlogs.counting import Counting
    from obfstats.publish.oldlogs.pieces import Piece

    Lines = NDArray[np.intp]
    Times = NDArray[np.int64]

PIECE = 1 << 24
"""Bytes that are read at once: the more, the more often an address is in there again, and is hashed once."""

_FIRST_LOOK = 256


class ColumnBlock:
    """A piece that has been read.

    Args:
        piece: whole lines.
        shapes: what is known of lines.
        reader: reads the others.
        window: the times that are taken for true.
        found: counts what is found.
    """

    def __init__(self, piece: Piece, shapes: Shapes, reader: LineReader, window: Window, found: Found) -> None:
        lines = LineUp(piece, shapes)
        self._times = lines.times
        found.lines += len(lines)
        found.timed += int(lines.is_read.sum())
        wrong = lines.is_read & ((self._times < window.first) | (self._times > window.last))
        found.impossible += int(wrong.sum())
        self._times[wrong] = NEVER
        clients = lines.clients.chosen(~wrong[lines.clients.lines])
        kinds = shapes.kinds()[clients.sayings]
        self._connections = clients.chosen(kinds == Kind.CONNECTION)
        self._failed = clients.chosen(kinds == Kind.FAILED)
        found.connections += len(self._connections.lines)
        self._sayings = shapes.sayings
        self._events: dict[int, Event] = {}
        self._read_others(lines, reader, found)
        self._event_lines = list(self._events)
        self._starts = self._lines_with(Started)
        self._cuts = self._lines_with(Started | Stopped | Refused)
        self._beginnings = np.sort(np.concatenate((self._connections.lines, self._lines_with(Connection | Started))))

    def __len__(self) -> int:
        """Give the number of lines."""
        return len(self._times)

    def time_from(self, place: int) -> int | None:
        """Give the time of the first line that has one, from a place on; None if there is none."""
        number = self.later(place, int(NEVER))
        return int(self._times[number]) if number < len(self) else None

    def later(self, place: int, limit: int) -> int:
        """Give the place of the first line that is later than a time, from a place on; the number of lines if none."""
        size = _FIRST_LOOK
        while place < len(self):
            found = np.flatnonzero(self._times[place : place + size] > limit)
            if len(found):
                return place + int(found[0])
            place += size
            size *= 2
        return len(self)

    def feed(self, counting: Counting, place: int, end: int) -> None:
        """Have the lines from one place to before another counted."""
        times = self._times[place:end]
        shown = np.maximum(np.maximum.accumulate(times), counting.latest)
        before = np.concatenate((np.full(1, counting.latest), shown[:-1]))
        set_back = np.flatnonzero((times != NEVER) & (times < before - STEP_BACK))
        stop = place + int(set_back[0]) if len(set_back) else end
        self._feed_rising(counting, place, stop, shown)
        for number in range(stop, end):
            self._take(counting, number)

    def _feed_rising(self, counting: Counting, place: int, end: int, shown: Times) -> None:
        """Have lines counted between which no clock was set back.

        Args:
            counting: counts them.
            place: of the first.
            end: the place behind the last.
            shown: what the clock showed at each.
        """
        first = place
        while place < end:
            if counting.end is None:
                until = min(end, _next(self._starts if counting.is_stopped else self._beginnings, place))
                self._pass_by(counting, place, until, shown[place - first : until - first])
            else:
                passed = first + int(np.searchsorted(shown[: end - first], counting.end))
                until = min(end, passed, _next(self._cuts, place))
                if until > place:
                    self._stretch(counting, place, until, shown[place - first : until - first])
            if until < end:
                counting.latest = int(shown[until - first])
                self._take(counting, until)
                until += 1
            place = until

    def _take(self, counting: Counting, number: int) -> None:
        """Have one line counted by itself."""
        seconds = int(self._times[number])
        if seconds == NEVER:
            return
        event = self._events.get(number)
        if event is None:
            for clients in (self._connections, self._failed):
                place = int(np.searchsorted(clients.lines, number))
                if place < len(clients.lines) and clients.lines[place] == number:
                    event = event_of(clients, place, self._sayings)
        counting.take(seconds, event)

    def _pass_by(self, counting: Counting, place: int, end: int, shown: Times) -> None:
        """Have lines counted while no interval is running: nothing in them begins one."""
        for number, event in self._others(place, end):
            counting.latest = int(shown[number - place])
            counting.take(counting.latest, event)
        if end > place:
            counting.latest = int(shown[-1])
        connections = self._connections.lines
        counting.miss(int(np.searchsorted(connections, end) - np.searchsorted(connections, place)))

    def _stretch(self, counting: Counting, place: int, end: int, shown: Times) -> None:
        """Have lines counted that all lie within the running interval and neither end nor begin one."""
        others = [Other(number, int(shown[number - place]), event) for number, event in self._others(place, end)]
        connections, failed = (
            clients.chosen(slice(*np.searchsorted(clients.lines, (place, end)).tolist()))
            for clients in (self._connections, self._failed)
        )
        counting.latest = int(shown[-1])
        count_stretch(counting, Stretch(connections, failed, others, self._sayings))

    def _others(self, place: int, end: int) -> Iterator[tuple[int, Event]]:
        """Give the events of lines that were read one by one and have a time, with their numbers."""
        for number in self._event_lines[bisect_left(self._event_lines, place) : bisect_left(self._event_lines, end)]:
            yield number, self._events[number]

    def _read_others(self, lines: LineUp, reader: LineReader, found: Found) -> None:
        """Read the lines one by one that could not be read at once."""
        last = -1
        for number in np.flatnonzero(~lines.is_read).tolist():
            if number != last + 1:
                reader.skip()
            last = number
            seconds, event = reader.read(lines.text(number))
            found.connections += isinstance(event, Connection)
            if seconds is not None:
                self._times[number] = seconds
                if event is not None:
                    self._events[number] = event
        if last != len(lines) - 1:
            reader.skip()

    def _lines_with(self, kinds: type | UnionType) -> Lines:
        """Give the numbers of the lines that were read one by one and tell of something."""
        return np.array([number for number, event in self._events.items() if isinstance(event, kinds)], np.intp)


def column_blocks(pieces: Iterator[Piece], window: Window, found: Found) -> Iterator[ColumnBlock]:
    """Make blocks of pieces.

    Args:
        pieces: of one log.
        window: the times that are taken for true.
        found: counts what is found.
    """
    shapes, reader = Shapes(), LineReader(window, found)
    for piece in pieces:
        yield ColumnBlock(piece, shapes, reader, window, found)


def _next(lines: Lines, place: int) -> int:
    """Give the first of these lines from a place on; beyond all lines if there is none."""
    number = int(np.searchsorted(lines, place))
    return int(lines[number]) if number < len(lines) else sys.maxsize
