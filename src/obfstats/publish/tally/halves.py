"""Cutting logs in two where one interval ends and the next one begins, so that each half can be counted by itself.

A recorder writes one interval after the other. So where the middle of the logs is, the line there tells an interval,
and looking at a few more lines tells where that begins and ends. Should the logs be of another kind, an interval has
lines in both halves; that is for whoever counts them to notice.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO

from obfstats.formats.logline import MAX_LINE_LENGTH
from obfstats.publish.logfiles import LogFile
from obfstats.publish.tally.fixed_lines import START_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Half = list[tuple[int, LogFile]]

_NEWLINE = b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLog(LogFile):
    """A log, or some whole lines of it, that is open already: another file may have its name by now.

    Attributes:
        file: what it is read from; several may do so at the same time.
    """

    file: BinaryIO

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Give the file, which stays open when the context ends."""
        yield self.file


def halve(logs: Sequence[tuple[int, LogFile, BinaryIO]], longest: int) -> tuple[Half, Half] | None:
    """Cut logs in two.

    Args:
        logs: the place of each, the log, which must be a plain one, and its open file; in the order of time.
        longest: bytes of an interval from which on it may be that nothing is cut; from twice as many on nothing is.

    Returns:
        Both halves: places and open logs. None if there is no such place near the middle, or an interval is too long.
    """
    opened = [(place, _open_part(log, file, 0, log.size or 0)) for place, log, file in logs]
    if _has_longer_interval([log for _, log in opened], longest):
        return None
    left = sum(log.size or 0 for _, log in opened) // 2
    for number, (place, log) in enumerate(opened):
        size = log.size or 0
        if left < size:
            cut = _nearest_border(log, left)
            if cut is None:
                return None
            return (
                [*opened[:number], (place, _open_part(log, log.file, 0, cut))],
                [(place, _open_part(log, log.file, cut, size)), *opened[number + 1 :]],
            )
        left -= size
    return None


def _open_part(log: LogFile, file: BinaryIO, begin: int, size: int) -> OpenLog:
    return OpenLog(log.name, log.path, size, log.compressed, log.identity, begin, file=file)


def _has_longer_interval(logs: Sequence[OpenLog], length: int) -> bool:
    """Tell whether lines so far from each other are of one interval, in logs that stand behind each other."""
    starts = []
    passed = 0
    for log in logs:
        size = log.size or 0
        starts += [_line_from(log, place)[1] for place in range(-passed % length, size, length)]
        passed += size
    # Where a log's last line has begun already there is no start.
    return any(one == following for one, following in pairwise(filter(None, starts)))


def _nearest_border(log: OpenLog, middle: int) -> int | None:
    """Give the border of the interval that has the middle, the nearer one of both; None if the log has neither."""
    begin, start = _line_from(log, middle)
    size = log.size or 0
    borders = [_border(log, begin, 0, start), _border(log, begin, size, start)]
    # What goes on until the log's end, or from its beginning on, may go on in another one.
    inside = [place for place in borders if 0 < place < size]
    return min(inside, key=lambda place: abs(place - middle), default=None)


def _border(log: OpenLog, inside: int, outside: int, start: bytes) -> int:
    """Give the place of the line that begins an interval, or of the one behind it.

    Args:
        log: where to look.
        inside: where a line of the interval is.
        outside: 0 for the interval's beginning, the log's size for its end.
        start: the interval's start.
    """
    if _line_from(log, outside)[1] == start:
        return outside
    while abs(outside - inside) > 1:
        middle = (inside + outside) // 2
        if _line_from(log, middle)[1] == start:
            inside = middle
        else:
            outside = middle
    return _line_from(log, max(inside, outside))[0]


def _line_from(log: OpenLog, place: int) -> tuple[int, bytes]:
    """Find the first line that begins there or later; give its place and its interval's start, or the log's end."""
    if place == 0:
        return 0, os.pread(log.file.fileno(), START_LENGTH, 0)
    some = os.pread(log.file.fileno(), MAX_LINE_LENGTH + 1 + START_LENGTH, place - 1)
    end = some.find(_NEWLINE, 0, MAX_LINE_LENGTH + 1)
    begin = place + end
    if end < 0 or begin >= (log.size or 0):
        return log.size or 0, b""
    return begin, some[end + 1 : end + 1 + START_LENGTH]
