"""Reading logs in blocks of whole lines, in order, with little memory.

A block ends with the end of a line, wherever that is; so blocks can be worked on independently of each other. Of a
regular file that is not compressed only the ends of blocks are looked for here: whoever works on a block reads it,
at the same time as others. Everything else is read here. Of a line that is longer than a block only the beginning is
given: it is damaged whatever follows.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from obfstats.formats.logline import MAX_LINE_LENGTH
from obfstats.publish.logfiles import READING_ERRORS, reading_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from obfstats.publish.logfiles import LogFile

PADDING = 64
"""Bytes behind a block in memory, whatever they are: lines are taken out of it in pieces of this length."""

_NEWLINE = b"\n"


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole lines of a log; the last one may lack its end.

    Attributes:
        log: where they are from.
        size: how many bytes they have.
        advance: how many bytes of the file have been read since the block before.
        content: the bytes and padding; None for a file that is read by whoever works on it.
        file: that file's number.
        begin: where in the file the block begins.
    """

    log: LogFile
    size: int
    advance: int
    content: NDArray[np.uint8] | None = None
    file: int = -1
    begin: int = 0

    def read(self, buffer: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
        """Read the block, and see that its last line has an end.

        Args:
            buffer: memory for a block with its padding, in which it may be read.

        Returns:
            The block in memory and its size.

        Raises:
            LogFileError: if it cannot be read.
        """
        content, size = self.content, self.size
        if content is None:
            content, size = buffer, self._read_file(buffer)
        if size and content[size - 1] != _NEWLINE[0]:
            content[size] = _NEWLINE[0]
            size += 1
        return content, size

    def _read_file(self, buffer: NDArray[np.uint8]) -> int:
        memory = buffer.data
        size = 0
        with _errors(self.log):
            # Whoever makes a log shorter while it is read loses lines, not this program.
            while size < self.size and (count := os.preadv(self.file, [memory[size : self.size]], self.begin + size)):
                size += count
        return size


def blocks(log: LogFile, file: BinaryIO, size: int) -> Iterator[Block]:
    """Give the blocks of a log, in order.

    Args:
        log: the log.
        file: the log, open; it must stay so until the last block has been read.
        size: how long a block may be, in bytes; longer than any good line.

    Raises:
        LogFileError: if the log cannot be read.
    """
    with _errors(log):
        yield from _blocks_of_file(log, file.fileno(), size) if log.is_plain else _blocks_of_stream(log, file, size)


def _blocks_of_file(log: LogFile, file: int, size: int) -> Iterator[Block]:
    """Find the blocks of a regular file."""
    # What is appended while the log is read is left for another time: who reads it twice must read the same.
    length = min(os.fstat(file).st_size, log.size or 0)
    begin = log.begin
    while begin < length:
        stop = kept = min(begin + size, length)
        if stop < length:
            stop = kept = _last_end(file, begin, stop)
        if stop == begin:
            kept = begin + MAX_LINE_LENGTH
            stop = _next_end(file, begin + size, length, size)
        yield Block(log, kept - begin, stop - begin, file=file, begin=begin)
        begin = stop


def _last_end(file: int, begin: int, stop: int) -> int:
    """Give the place behind the last end of a line; the beginning, if there is none."""
    for first in (max(begin, stop - MAX_LINE_LENGTH), begin):
        place = os.pread(file, stop - first, first).rfind(_NEWLINE)
        if place >= 0:
            return first + place + 1
    return begin


def _next_end(file: int, begin: int, length: int, size: int) -> int:
    """Give the place behind the next end of a line, or the end of the file."""
    while begin < length:
        some = os.pread(file, size, begin)
        if not some:
            break
        place = some.find(_NEWLINE)
        if place >= 0:
            return min(begin + place + 1, length)
        begin += len(some)
    return length


def _blocks_of_stream(log: LogFile, stream: BinaryIO, size: int) -> Iterator[Block]:
    """Read the blocks of what can only be read from its beginning to its end."""
    position = _Position(stream)
    rest = b""
    while True:
        content = np.empty(size + PADDING, np.uint8)
        count = _fill(stream, content[:size].data, rest)
        if count < size:
            if count:
                yield Block(log, count, position.moved(count - len(rest)), content)
            return
        stop = _last_end_in(content[:size])
        if stop:
            moved = position.moved(size - len(rest))
            rest = content[stop:size].tobytes()
            yield Block(log, stop, moved, content)
        else:
            rest, skipped = _skip(stream, size)
            yield Block(log, MAX_LINE_LENGTH, position.moved(size + skipped), content)


def _last_end_in(content: NDArray[np.uint8]) -> int:
    """Give the place behind the last end of a line, 0 if there is none."""
    for first in (len(content) - MAX_LINE_LENGTH, 0):
        place = content[first:].tobytes().rfind(_NEWLINE)
        if place >= 0:
            return first + place + 1
    return 0


def _fill(stream: BinaryIO, memory: memoryview, rest: bytes) -> int:
    """Fill memory with what was left over and with what follows; give how much there was."""
    count = len(rest)
    memory[:count] = rest
    while count < len(memory) and (some := stream.read(len(memory) - count)):
        memory[count : count + len(some)] = some
        count += len(some)
    return count


def _skip(stream: BinaryIO, size: int) -> tuple[bytes, int]:
    """Read on to the end of a line; give what has been read of the next one, and how much was read."""
    skipped = 0
    while some := stream.read(size):
        skipped += len(some)
        _, end, rest = some.partition(_NEWLINE)
        if end:
            return rest, skipped
    return b"", skipped


class _Position:
    """How far a file has been read, before it is unpacked."""

    def __init__(self, stream: BinaryIO) -> None:
        self._file: int | None = stream.fileno()
        self._place = 0
        try:
            os.lseek(stream.fileno(), 0, os.SEEK_CUR)
        except OSError:
            self._file = None

    def moved(self, unpacked: int) -> int:
        """Give how many bytes of the file were read since the last time; of a pipe, the unpacked ones."""
        if self._file is None:
            return unpacked
        before, self._place = self._place, os.lseek(self._file, 0, os.SEEK_CUR)
        return self._place - before


@contextlib.contextmanager
def _errors(log: LogFile) -> Iterator[None]:
    try:
        yield
    except READING_ERRORS as error:
        raise reading_error(log.name, error) from None
