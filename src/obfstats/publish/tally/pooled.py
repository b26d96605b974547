"""Packing the lines of logs on several threads; what is in the blocks comes in order all the same."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from obfstats.publish.tally.blocks import blocks
from obfstats.publish.tally.fixed_lines import Rows
from obfstats.publish.tally.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.tally.general_lines import Part

_Result = TypeVar("_Result")

_AHEAD = 4
"""Blocks waiting for each thread."""


class _Pending(NamedTuple):
    """A block that is being read: what it is of the file, where its rows go, and what will have been found."""

    advance: int
    rows: Rows
    part: Future[Part]


class PooledReader(Reader):
    """Packs the lines of logs, several blocks at the same time.

    Args:
        pool: does it.
        threads: how many it has.
        size: bytes of a block.
        take_scattered: whether to go on where lines are of very many intervals.
    """

    def __init__(self, pool: ThreadPoolExecutor, threads: int, size: int, *, take_scattered: bool) -> None:
        super().__init__(size, take_scattered=take_scattered)
        self.workers = self._both
        self._pool = pool
        self._ahead = _AHEAD * threads
        self._spare = deque[Rows]()

    def parts(self, log: LogFile) -> Iterator[tuple[int, Part]]:
        """Give what is in each block, as `Reader.parts` does."""
        waiting = deque[_Pending]()
        with log.open() as file:
            try:
                for block in blocks(log, file, self._size):
                    rows = self._spare.pop() if self._spare else Rows.empty(self.most)
                    waiting.append(_Pending(block.advance, rows, self._pool.submit(self.read, block, rows)))
                    if len(waiting) > self._ahead:
                        yield from self._first(waiting)
                while waiting:
                    yield from self._first(waiting)
            finally:
                # Nobody may read from the file any more when it is closed.
                wait([pending.part for pending in waiting])

    def _first(self, waiting: deque[_Pending]) -> Iterator[tuple[int, Part]]:
        """Give what is next, and take its memory back."""
        pending = waiting[0]
        yield pending.advance, pending.part.result()
        self._spare.append(waiting.popleft().rows)

    def _both(self, work: Callable[[int], _Result]) -> list[_Result]:
        """Do both halves of something, one of them here; see `repeats.Workers`."""
        second = self._pool.submit(work, 1)
        try:
            return [work(0), second.result()]
        finally:
            wait([second])
