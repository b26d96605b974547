"""A log to tables: `obfstats convert` against the ticket's own shell pipeline, on the same generated logs.

Both read the same file from the page cache and must print the same bytes. The pipeline runs under LC_ALL=C, which it
needs to be right and which makes it fast. Memory is the peak of all processes together, without the page cache, which
holds the log and sort's temporary files.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.generate import write_log
from bench.process import run
from bench.report import BrokenError, Comparison, MissingError, in_turn, main, progress, surroundings, table
from peers.converters import PIPELINE
from peers.program import OBFSTATS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.process import Ran

LOG = "data"
"""The name that the pipeline reads."""

OURS = (OBFSTATS, "convert", LOG)
PEER = ("bash", str(PIPELINE))

_LINE = 64
_FILES = 3
"""The log, and sort's temporary files, which are two as long."""


class Size(NamedTuple):
    """A log to measure with, and the goals for it.

    Attributes:
        lines: its number of lines.
        rounds: how often it is converted.
        time: the goal for our time, as a share of the pipeline's.
        memory: the goal for our memory, as a share of the pipeline's.
    """

    lines: int
    rounds: int
    time: float | None = None
    memory: float | None = None


_FULL = (Size(10_000_000, 5, time=1 / 12), Size(100_000_000, 1, time=1 / 20, memory=1 / 10))
_QUICK = (Size(1_000_000, 5),)


def measure(sizes: tuple[Size, ...]) -> str:
    """Measure every size, and write the table."""
    rows: list[Comparison] = []
    costs = []
    for size in sizes:
        ours, peer = both_ways(size, OURS, PEER)
        rows += rows_of(size, ours, peer)
        costs.append(f"{min(ran.processor for ran in ours) / size.lines * 1e9:.0f} at {size.lines:,} lines")
    return "\n".join(
        [
            surroundings(),
            table("`obfstats convert`", "the pipeline", rows),
            "",
            f"CPU time of `obfstats convert` a line, with its start, in ns: {', '.join(costs)}.",
        ]
    )


def both_ways(size: Size, ours: Sequence[str], peer: Sequence[str]) -> tuple[list[Ran], list[Ran]]:
    """Convert one log in both ways.

    Args:
        size: its length, and the number of rounds.
        ours: our command, to be run in the log's folder.
        peer: the peer's command.

    Returns:
        Our runs, and the peer's.

    Raises:
        BrokenError: if the two do not print the same bytes.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        needed = _FILES * _LINE * size.lines
        if shutil.disk_usage(folder).free < needed:
            raise MissingError(f"{needed / 1e9:.0f} GB are needed in {folder.parent}")
        progress(f"writing {size.lines:,} lines")
        write_log(folder / LOG, size.lines)
        progress(f"{size.rounds} rounds of {size.lines:,} lines")
        taken = in_turn(size.rounds, partial(_run, ours, folder), partial(_run, peer, folder))
    if len({ran.output for side in taken for ran in side}) != 1:
        raise BrokenError("the tables are not the same bytes")
    return taken


def rows_of(size: Size, ours: list[Ran], peer: list[Ran]) -> list[Comparison]:
    """Make the table's rows for one log."""
    name = f"{size.lines:,} lines"
    return [
        Comparison(f"{name}: s", size.time, 2, ours=[ran.wall for ran in ours], peer=[ran.wall for ran in peer]),
        Comparison(
            f"{name}: CPU s", None, 2, ours=[ran.processor for ran in ours], peer=[ran.processor for ran in peer]
        ),
        Comparison(
            f"{name}: MiB", size.memory, 0, ours=[ran.memory for ran in ours], peer=[ran.memory for ran in peer]
        ),
    ]


def _run(command: Sequence[str], folder: Path) -> Ran:
    """Run a program on a log that is in the page cache, which sort's temporary files may have evicted."""
    run(("wc", "-l", LOG), folder)
    return run(command, folder)


if __name__ == "__main__":
    sys.exit(main("convert", measure, _FULL, _QUICK))
