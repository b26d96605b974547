"""A log in pieces of whole lines, always in the same memory, however long the log is and however long a line.

A line that is longer than any program's may become an empty one, so that lines can still be counted; formats/oldlog.py
has nothing to say of either. The last line counts as a line whether it has its newline or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from obfstats.formats.oldlog import LONGEST_LINE
from obfstats.publish.logfiles import READING_ERRORS, reading_error

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator

    from obfstats.publish.logfiles import LogFile

MARGIN = 256
"""Bytes of the memory before and behind each piece, whatever they are: many lines at once are read in whole words."""

_NEWLINE = ord("\n")


class Piece(NamedTuple):
    """Some lines, each with its newline; only until the next piece is asked for.

    Attributes:
        memory: where they are.
        begin: the place of their first byte.
        end: the place behind their last.
    """

    memory: bytearray
    begin: int
    end: int


def read_pieces(log: LogFile, size: int, advance: Callable[[int], None]) -> Iterator[Piece]:
    """Read a log from its beginning.

    Args:
        log: which one.
        size: bytes of a piece, about.
        advance: takes the bytes of the file as they have been read.

    Raises:
        LogFileError: if it cannot be opened, or not be read to its end.
    """
    counted = 0
    with log.open() as file:
        try:
            for piece in _cut(cast("io.BufferedIOBase", file), size):
                yield piece
                if log.is_plain:
                    counted += piece.end - piece.begin
                    advance(piece.end - piece.begin)
        except READING_ERRORS as error:
            raise reading_error(log.name, error) from None
    if log.size is not None:
        advance(max(0, log.size - counted))


def _cut(file: io.BufferedIOBase, size: int) -> Iterator[Piece]:
    """Cut what is read behind newlines."""
    memory = bytearray(MARGIN + LONGEST_LINE + size + MARGIN)
    view = memoryview(memory)
    rest, is_too_long = 0, False
    while read := file.readinto(view[MARGIN + rest : MARGIN + rest + size]):
        begin, end = MARGIN, MARGIN + rest + read
        if is_too_long:
            newline = memory.find(b"\n", begin, end)
            if newline < 0:
                continue
            begin, is_too_long = newline, False
        cut = memory.rfind(b"\n", begin, end) + 1
        if cut:
            yield Piece(memory, begin, cut)
            begin = cut
        rest = end - begin
        if rest > LONGEST_LINE:
            rest, is_too_long = 0, True
        view[MARGIN : MARGIN + rest] = bytes(view[begin : begin + rest])
    if rest or is_too_long:
        memory[MARGIN + rest] = _NEWLINE
        yield Piece(memory, MARGIN, MARGIN + rest + 1)
