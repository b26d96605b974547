"""The simple script against the ticket's own shell pipeline, on the same generated log.

The script is written to be read, by an operator who does not want to install anything; it must only not be slower than
what it replaces. It runs alone, without any package.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bench.convert import LOG, PEER, Size, both_ways, rows_of
from bench.report import main, surroundings, table
from peers.converters import CONVERTERS

if TYPE_CHECKING:
    from bench.report import Comparison

OURS = (*CONVERTERS["simple.py"], LOG)

_FULL = (Size(1_000_000, 7, time=1), Size(10_000_000, 3, time=1))
_QUICK = (Size(1_000_000, 5, time=1),)


def measure(sizes: tuple[Size, ...]) -> str:
    """Measure every size, and write the table."""
    rows: list[Comparison] = []
    for size in sizes:
        rows += rows_of(size, *both_ways(size, OURS, PEER))
    return "\n".join([surroundings(), table("`simple.py`", "the pipeline", rows)])


if __name__ == "__main__":
    sys.exit(main("simple", measure, _FULL, _QUICK))
