"""Packing the lines of whole logs, block by block, on several threads; what is in the blocks comes in order."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from obfstats.formats.logline import LINE_LENGTH
from obfstats.publish.tally.blocks import PADDING, Block, blocks
from obfstats.publish.tally.ends import Ends
from obfstats.publish.tally.fixed_lines import Packer, Rows
from obfstats.publish.tally.general_lines import Part, read_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.tally.repeats import Workers

_Result = TypeVar("_Result")

_AHEAD = 4
"""Blocks waiting for each thread."""


class _Pending(NamedTuple):
    """A block that is being read: what it is of the file, where its rows go, and what will have been found."""

    advance: int
    rows: Rows
    part: Future[Part]


class Reader:
    """Packs the lines of logs.

    Args:
        pool: does it; None for doing it when it is asked for, here.
        threads: how many the pool has.
        size: bytes of a block.
        take_scattered: whether to go on where lines are of very many intervals.

    Attributes:
        ends: what stood behind the hashes so far.
        take_scattered: the same.
    """

    def __init__(self, pool: Executor | None, threads: int, size: int, *, take_scattered: bool) -> None:
        self.ends = Ends()
        self.take_scattered = take_scattered
        self._pool, self._size = pool, size
        self._most = size // LINE_LENGTH + 1
        self._ahead = _AHEAD * threads
        self._local = threading.local()
        self._spare = deque[Rows]()

    def parts(self, log: LogFile) -> Iterator[tuple[int, Part]]:
        """Give what is in each block, in order, and how many bytes of the file were read for it.

        The rows in it are there until the next part is asked for.

        Args:
            log: what to read.

        Raises:
            LogFileError: if it cannot be read.
            ScatteredError: if its lines are of very many intervals.
        """
        waiting = deque[_Pending]()
        with log.open() as file:
            try:
                for block in blocks(log, file, self._size):
                    rows = self._spare.pop() if self._spare else Rows.empty(self._most)
                    waiting.append(_Pending(block.advance, rows, self._begin(block, rows)))
                    if len(waiting) > self._ahead:
                        yield from self._first(waiting)
                while waiting:
                    yield from self._first(waiting)
            finally:
                # Nobody may read from the file any more when it is closed.
                wait([pending.part for pending in waiting])

    def workers(self) -> Workers | None:
        """Give who does both halves of something, one of them here; None without a pool."""
        pool = self._pool
        if pool is None:
            return None

        def both(work: Callable[[int], _Result]) -> list[_Result]:
            second = pool.submit(work, 1)
            try:
                return [work(0), second.result()]
            finally:
                wait([second])

        return both

    def _begin(self, block: Block, rows: Rows) -> Future[Part]:
        if self._pool is not None:
            return self._pool.submit(self._read, block, rows)
        part = Future[Part]()
        part.set_result(self._read(block, rows))
        return part

    def _first(self, waiting: deque[_Pending]) -> Iterator[tuple[int, Part]]:
        """Give what is next, and take its memory back."""
        pending = waiting[0]
        yield pending.advance, pending.part.result()
        self._spare.append(waiting.popleft().rows)

    def _read(self, block: Block, rows: Rows) -> Part:
        local = self._local
        if not hasattr(local, "packer"):
            local.buffer = np.empty(self._size + PADDING, np.uint8)
            local.packer = Packer(self._most)
        content = block.read(local.buffer)
        return read_block(*content, rows, local.packer, self.ends, take_scattered=self.take_scattered)
