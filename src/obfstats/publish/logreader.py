"""Read a log of any length, in order, with bounded memory: in blocks of whole lines, or line by line.

    for block in read_blocks(log, 1 << 20): ...         # a memoryview of many lines, overwritten by the next block
    for line in read_lines(log, MAX_LINE_LENGTH): ...   # bytes objects of at most MAX_LINE_LENGTH bytes

- Lines end with a newline and nothing else, and are given with it. Two lines are given without one: the last line of
  a log, if it has none, and a line that was truncated.
- A line that is longer than its bound is truncated: its first bytes are given, the rest is skipped and never held in
  memory.
- `advance` is told how many bytes of the file have been read since the last call; of a compressed file these are the
  compressed bytes. It serves a progress bar, and by the end of the log it adds up to the file's size.
- A plain file is read up to the size that it had when it was found: what is appended later is left for the next time,
  so a log that is read twice has the same lines both times.
- Of a damaged file, the whole lines before the damage are given, and then the error is raised.
- The file is open while the iterator runs. An iterator that is not run to its end must be closed
  (`contextlib.closing`).
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, cast

from obfstats.publish.logfiles import reading_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from obfstats.publish.logfiles import LogFile

_LINE_BLOCK_SIZE = 1 << 16
_NEWLINE = b"\n"


def read_blocks(log: LogFile, size: int, advance: Callable[[int], None] = lambda _: None) -> Generator[memoryview[int]]:
    """Read a log in blocks of whole lines.

    Args:
        log: the log.
        size: bytes of the longest block. A line that is longer, newline included, is truncated to `size` bytes,
            which are the only line of their block or the last one.
        advance: takes the number of bytes of the file that have been read since the last call.

    Yields:
        At least one line. The memory is overwritten by the next block.

    Raises:
        LogFileError: if the log cannot be opened, or not be read to its end.
    """
    with log.open() as file:
        yield from _split(log, cast("io.BufferedIOBase", file), size, advance)


def read_lines(log: LogFile, longest: int, advance: Callable[[int], None] = lambda _: None) -> Generator[bytes]:
    """Read a log line by line.

    Args:
        log: the log.
        longest: bytes of the longest line, newline included. A line that is longer is truncated to `longest` bytes.
        advance: takes the number of bytes of the file that have been read since the last call.

    Raises:
        LogFileError: if the log cannot be opened, or not be read to its end.
    """
    for block in read_blocks(log, max(longest, _LINE_BLOCK_SIZE), advance):
        for line in io.BytesIO(block):
            yield line if len(line) <= longest else line[:longest]


def _split(
    log: LogFile, file: io.BufferedIOBase, size: int, advance: Callable[[int], None]
) -> Generator[memoryview[int]]:
    memory = bytearray(size)
    view = memoryview(memory)
    unread = sys.maxsize if log.size is None or log.compressed else log.size
    compressed_read = 0
    # The memory begins with the unfinished line that has been read so far; a truncated line is not kept.
    kept, is_skipping = 0, False
    while True:
        read, error = _fill(file, view[kept : min(size, kept + unread)])
        unread -= read
        if log.compressed:
            before, compressed_read = compressed_read, os.lseek(file.fileno(), 0, os.SEEK_CUR)
            advance(compressed_read - before)
        else:
            advance(read)
        if not read and error is None:
            break
        begin, end = 0, kept + read
        if is_skipping:
            rest_of_line = memory.find(_NEWLINE, 0, end) + 1
            begin, is_skipping = rest_of_line or end, not rest_of_line
        stop = memory.rfind(_NEWLINE, begin, end) + 1
        if not stop and end - begin == size:
            stop, is_skipping = end, True
        if stop:
            yield view[begin:stop]
            begin = stop
        if error is not None:
            raise error
        kept = end - begin
        memory[:kept] = memory[begin:end]
    if kept:
        yield view[:kept]


def _fill(file: io.BufferedIOBase, view: memoryview[int]) -> tuple[int, Exception | None]:
    """Read until the view is full or the file ends; give the number of bytes, and the error if one ended the file."""
    read = 0
    try:
        while read < len(view) and (more := file.readinto1(view[read:])):
            read += more
    except reading_errors() as error:
        return read, error
    return read, None
