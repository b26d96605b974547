"""What the fast path's time and memory depend on."""

from __future__ import annotations

from dataclasses import dataclass

from obfstats.formats.logline import LINE_LENGTH


@dataclass(frozen=True, slots=True)
class Sizes:
    """What time and memory depend on, and numbers do not.

    Attributes:
        block: bytes of a block.
        quiet: lines of other intervals after which an interval is taken to be over.
        limit: rows of an interval that may be kept before repeated ones are thrown away.
        halved: bytes of logs from which on they are cut in two.
        longest: bytes of an interval from which on logs may be left whole: memory is that of two intervals otherwise,
            up to some 800 MB, or 2 GB where lines have columns.
    """

    block: int = LINE_LENGTH << 15
    quiet: int = 1 << 17
    limit: int = 1 << 20
    halved: int = LINE_LENGTH << 20
    longest: int = LINE_LENGTH << 24
