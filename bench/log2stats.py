"""Old logs to numbers: `obfstats log2stats` against a reader that does what the ticket's script did.

Both read the same generated log from the page cache, on the same core, and must print the same numbers. The time is
processor time: from the first byte of the log on, and once more including the start of Python and loading the
countries. Memory is the largest resident size of the process. The goal is in megabytes a second.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from bench.clients import addresses, need_geoip
from bench.oldlogs import OBFS4PROXY, OBFSPROXY, write_log
from bench.process import run
from bench.report import BrokenError, Comparison, in_turn, main, progress, surroundings, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.oldlogs import LogStyle
    from bench.process import Ran

GOAL = 20
"""Megabytes a second that one core has to read. Nearly all these programs are dead: no reader has to be faster."""

_ROOT = Path(__file__).resolve().parents[1]
_CLIENTS = 120_000


class Plan(NamedTuple):
    """The sizes of a measurement.

    Attributes:
        c_size: bytes of C obfsproxy's log.
        go_size: bytes of obfs4proxy's.
        rounds: how often each log is read.
    """

    c_size: int
    go_size: int
    rounds: int


class Reading(NamedTuple):
    """One reading of a log.

    Attributes:
        ran: the resources of the whole program.
        seconds: processor time from the first byte of the log on.
    """

    ran: Ran
    seconds: float


_FULL = Plan(c_size=200_000_000, go_size=100_000_000, rounds=3)
_QUICK = Plan(c_size=40_000_000, go_size=20_000_000, rounds=3)


def measure(plan: Plan) -> str:
    """Measure the logs of both programs, and give the table."""
    clients = addresses(need_geoip(), _CLIENTS)
    rows, sentences = [], []
    for name, program, size in (
        ("C obfsproxy", OBFSPROXY, plan.c_size),
        ("obfs4proxy -unsafeLogging", OBFS4PROXY, plan.go_size),
    ):
        ours, peer, written = _measure_log(program, size, plan.rounds, clients)
        title = f"{name}, {written / 1e6:,.0f} MB"
        rows += [
            _row(f"{title}: CPU s", ours, peer, lambda one: one.seconds),
            _row(f"{title}: CPU s with loading", ours, peer, lambda one: one.ran.processor),
            _row(f"{title}: MiB", ours, peer, lambda one: one.ran.memory),
        ]
        speed = median(written / 1e6 / one.seconds for one in ours)
        verdict = "met" if speed >= GOAL else "**not met**"
        sentences.append(f"{speed:,.0f} MB/s a core of {name}'s log (goal {GOAL}: {verdict})")
    text = f"Ours reads {' and '.join(sentences)}."
    return "\n".join([surroundings(), table("`log2stats`", "ticket script", rows), "", text])


def _row(measure: str, ours: list[Reading], peer: list[Reading], figure: Callable[[Reading], float]) -> Comparison:
    return Comparison(measure, ours=[figure(one) for one in ours], peer=[figure(one) for one in peer])


def _measure_log(
    program: LogStyle, size: int, rounds: int, clients: list[str]
) -> tuple[list[Reading], list[Reading], int]:
    """Read one log with both readers; give our runs, the peer's runs, and the size of the log in bytes."""
    core = str(min(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        log, seconds = Path(folder) / "log", Path(folder) / "seconds"
        progress(f"writing {size / 1e6:,.0f} MB")
        write_log(log, size, program, clients)
        progress(f"{rounds} rounds of {size / 1e6:,.0f} MB")

        def read(reader: str) -> Reading:
            program = (sys.executable, "-m", "bench.old_readers", reader, str(log), str(seconds))
            ran = run(("taskset", "-c", core, *program), _ROOT)
            return Reading(ran, float(seconds.read_text()))

        ours, peer = in_turn(rounds, partial(read, "ours"), partial(read, "literal"))
        if len({one.ran.output for one in (*ours, *peer)}) != 1:
            raise BrokenError("the two readers did not count the same")
        return ours, peer, log.stat().st_size


if __name__ == "__main__":
    sys.exit(main("log2stats", measure, _FULL, _QUICK))
