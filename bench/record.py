"""Recording a connection, against the ticket taken literally; and what statistics cost the server.

Both recorders get the same addresses as text, in the same order, and write to files in one folder. The cost of
recording is processor time, so that other work of the machine matters little; a stall is measured by the wall clock.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.clients import GEOIP, addresses, need_geoip
from bench.literal import LiteralCountries, LiteralRecorder
from bench.load import Server
from bench.obfs3 import Obfs3Load, connection_milliseconds
from bench.process import two_cores
from bench.report import BrokenError, Comparison, main, progress, surroundings, table
from obfstats.record import Recorder
from obfstats.record.countries import Countries
from obfstats.record.journal import Journal
from peers import program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BUFFERS = (100, 1_000, 10_000)
STALLING_BUFFER = 10_000
TICK_RECORDS = 5_000
"""Connections from one tick to the next; on a bridge these come twice a minute."""


class Plan(NamedTuple):
    """How much is measured.

    Records are a multiple of every buffer's size, so that each round includes its writes. Many short rounds are better
    than few long ones: other programs on the machine then disturb both sides.

    Our recorder writes at ticks; here a full buffer is written without a delay.
    """

    rounds: int
    records: int
    flushes: int
    connection_rounds: int
    connections: int


_FULL = Plan(rounds=31, records=20_000, flushes=31, connection_rounds=75, connections=150)
_QUICK = Plan(rounds=11, records=10_000, flushes=9, connection_rounds=25, connections=80)


def measure(plan: Plan) -> str:
    """Measure everything, and give the tables."""
    need_geoip()
    two_cores()
    progress("reading country files, drawing addresses")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        clients = addresses(GEOIP, plan.records)
        countries = LiteralCountries(GEOIP)
        rows = [_compare_cost(plan, _Recorders(Path(folder), countries, buffer), clients) for buffer in BUFFERS]
        rows += _compare_stalls(plan, _Recorders(Path(folder), countries, STALLING_BUFFER), clients)
    return "\n".join(
        [
            surroundings(),
            table("`Recorder`", "the ticket in Python", rows),
            table("with statistics", "`--no-stats`", [_compare_statistics(plan)]),
        ]
    )


class _Recorders:
    """Both recorders, each with a new file."""

    def __init__(self, folder: Path, countries: LiteralCountries, buffer: int) -> None:
        self.buffer = buffer
        self._logs = [folder / "ours.log", folder / "literal.log"]
        for log in self._logs:
            log.unlink(missing_ok=True)
        journal = Journal(self._logs[0], warn=progress)
        self.ours = Recorder(journal, Countries.open(GEOIP), draw_delay=lambda: 0.0, buffer=buffer)
        self.literal = LiteralRecorder(self._logs[1], countries, buffer)

    def check(self) -> None:
        """Check that both write the same in the end: as many lines of each country, as many clients."""
        self.ours._end_interval(0.0)
        self.ours.tick()
        self.literal._flush()
        counts = []
        for log in self._logs:
            lines = log.read_bytes().splitlines()
            counts.append((Counter(line[20:22] for line in lines), len({line[23:] for line in lines})))
        if counts[0] != counts[1] or not counts[0][1]:
            raise BrokenError("the two recorders did not write the same lines")


def _compare_cost(plan: Plan, recorders: _Recorders, clients: Sequence[str]) -> Comparison:
    """Compare what a recorded connection costs, writing included."""
    progress(f"{plan.rounds} rounds of {len(clients):,} connections, buffer of {recorders.buffer:,}")
    pieces = [clients[start : start + TICK_RECORDS] for start in range(0, len(clients), TICK_RECORDS)]

    def cost(record: Callable[[str], None], tick: Callable[[], None]) -> float:
        before = time.process_time_ns()
        for piece in pieces:
            for client in piece:
                record(client)
            tick()
        return (time.process_time_ns() - before) / len(clients)

    ours, literal = recorders.ours, recorders.literal
    row = Comparison(f"one recorded connection, buffer of {recorders.buffer:,}: ns", 0.5, digits=0)
    row.take(plan.rounds, partial(cost, ours.record, ours.tick), partial(cost, literal.record, lambda: None))
    recorders.check()
    return row


def _compare_stalls(plan: Plan, recorders: _Recorders, clients: Sequence[str]) -> list[Comparison]:
    """Compare how long writing takes: a tick of ours, and the literal recorder's call that finds the buffer full."""
    progress(f"{plan.flushes} flushes of {recorders.buffer:,} lines")
    filling = clients[: recorders.buffer]

    def stall(record: Callable[[str], None], write: Callable[[], None]) -> float:
        for client in filling[1:]:
            record(client)
        before = time.perf_counter_ns()
        write()
        return (time.perf_counter_ns() - before) / 1e6

    def write_ours() -> None:
        recorders.ours.tick()
        recorders.ours.record(filling[0])

    literal = recorders.literal
    # One line more than a round's: from here on a round's last call finds the buffer full.
    literal.record(filling[0])
    row = Comparison(f"writing {recorders.buffer:,} lines: ms", 0.2)
    row.take(
        plan.flushes,
        partial(stall, recorders.ours.record, write_ours),
        partial(stall, literal.record, partial(literal.record, filling[0])),
    )
    return [row, Comparison("the longest of them: ms", ours=[max(row.ours)], peer=[max(row.peer)])]


def _compare_statistics(plan: Plan) -> Comparison:
    """Compare the processor time of a connection to a server that counts with one to a server that does not."""
    progress(f"{plan.connection_rounds} rounds of {plan.connections} handshakes, with statistics and without")
    server_core, load_core = two_cores()
    os.sched_setaffinity(0, {load_core})
    with Obfs3Load() as load, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        log = Path(folder) / "clients.log"
        transport = ["obfs3", "--dest", "{}:{}".format(*load.destination), "server", "127.0.0.1:0"]

        def cost(server: program.Obfsproxy) -> float:
            return connection_milliseconds(load, Server(server.child.pid, server.address), plan.connections)

        with (
            program.obfsproxy("--stats-log", str(log), *transport, cpu=server_core) as counting,
            program.obfsproxy("--no-stats", *transport, cpu=server_core) as silent,
        ):
            for server in (counting, silent):
                cost(server)
            row = Comparison("a connection, handshake to end: server CPU ms", 1.05, digits=3)
            row.take(plan.connection_rounds, partial(cost, counting), partial(cost, silent))
        # All connections come from one network, which fills no buffer.
        if not log.exists():
            raise BrokenError("the server that counts has no log")
        return row


if __name__ == "__main__":
    logging.basicConfig(format="bench: %(message)s", level=logging.WARNING)
    sys.exit(main("record", measure, _FULL, _QUICK))
