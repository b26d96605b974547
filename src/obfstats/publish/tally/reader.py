"""Packing the lines of whole logs, block by block."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from obfstats.formats.logline import LINE_LENGTH
from obfstats.publish.tally.blocks import PADDING, Block, blocks
from obfstats.publish.tally.ends import Ends
from obfstats.publish.tally.fixed_lines import Packer, Rows
from obfstats.publish.tally.general_lines import Part, read_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.tally.repeats import Workers


class Reader:
    """Packs the lines of logs, one block after the other.

    Args:
        size: bytes of a block.
        take_scattered: whether to go on where lines are of very many intervals.

    Attributes:
        ends: what stood behind the hashes so far.
        take_scattered: the same.
        workers: do both halves of something at the same time; None where there is nobody to share it with.
        most: lines in a block, at most.
    """

    workers: Workers | None = None

    def __init__(self, size: int, *, take_scattered: bool) -> None:
        self.ends = Ends()
        self.take_scattered = take_scattered
        self.most = size // LINE_LENGTH + 1
        self._size = size
        self._local = threading.local()

    def parts(self, log: LogFile) -> Iterator[tuple[int, Part]]:
        """Give what is in each block, in order, and how many bytes of the file were read for it.

        The rows in it are there until the next part is asked for.

        Args:
            log: what to read.

        Raises:
            LogFileError: if it cannot be read.
            ScatteredError: if its lines are of very many intervals.
        """
        rows = Rows.empty(self.most)
        with log.open() as file:
            for block in blocks(log, file, self._size):
                yield block.advance, self.read(block, rows)

    def read(self, block: Block, rows: Rows) -> Part:
        """Give what is in one block; may be called by several threads.

        Args:
            block: what to read.
            rows: takes `most` lines.
        """
        local = self._local
        if not hasattr(local, "packer"):
            local.buffer = np.empty(self._size + PADDING, np.uint8)
            local.packer = Packer(self.most)
        content = block.read(local.buffer)
        return read_block(*content, rows, local.packer, self.ends, take_scattered=self.take_scattered)
