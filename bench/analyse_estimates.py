"""Tor Metrics' estimate of 2,000 bridges, a year and 60 cells, on DuckDB: processor time, memory, and linear in days.

Each run is a process of its own, which reads the store and writes userstats.csv, userstats-combined.csv and the
per-graph files. Times and memory are of the whole process.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench.archive_store import CELLS, FIRST_DAY, write_archive
from bench.process import run
from bench.report import BrokenError, describe_machine, main, progress
from obfstats.analyse.engine import DuckDbEngine
from obfstats.analyse.outputs import write_published
from obfstats.analyse.published import estimate_published
from obfstats.analyse.store import Store

MAX_SECONDS = 60
MAX_MEMORY = 600
"""Goals for 2,000 bridges and 365 days: CPU seconds, MiB."""


class Size(NamedTuple):
    """How many bridges, and the numbers of days to estimate."""

    bridges: int
    days: tuple[int, ...]


def measure(size: Size) -> str:
    """Measure each number of days, and write the table."""
    lines = [
        "| days | cells | CPU s | CPU ms a day | s | MiB |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        progress(f"writing a store of {size.bridges:,} bridges and {max(size.days)} days")
        write_archive(folder / "store", size.bridges, max(size.days))
        for days in size.days:
            progress(f"{days} days")
            ran = run((sys.executable, "-m", "bench.analyse_estimates", "estimate", name, str(days)), _ROOT)
            if not (folder / "userstats-combined.csv").read_bytes().count(b"\n") > days:
                raise BrokenError("the estimate is empty")
            cells = size.bridges * days * CELLS
            each = ran.processor / days * 1_000
            lines.append(
                f"| {days} | {cells:,} | {ran.processor:.1f} | {each:.0f} | {ran.wall:.1f} | {ran.memory:.0f} |"
            )
    return "\n".join([describe_machine(), "", f"{size.bridges:,} bridges:", "", *lines, "", _GOALS])


def estimate(folder: Path, days: int) -> None:
    """Estimate the first days of the store below a folder, and write the results there."""
    engine = DuckDbEngine(folder / "temporary")
    tables = estimate_published(engine, Store(folder / "store"), range(FIRST_DAY, FIRST_DAY + days))
    write_published(folder, tables)


_ROOT = Path(__file__).parents[1]
_GOALS = f"Goals for 2,000 bridges and 365 days: {MAX_SECONDS} CPU s, {MAX_MEMORY} MiB, linear from 10 to 365 days."

if __name__ == "__main__":
    if sys.argv[1:2] == ["estimate"]:
        estimate(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main("analyse_estimates", measure, Size(2_000, (10, 91, 365)), Size(2_000, (10, 30))))
