"""obfs3 through `obfsproxy server`, and through lyrebird and obfs4proxy: processor time a byte and a handshake, memory.

All servers run on one core, those that are not measured are idle; the other core is their load's. Clients
and destination are one thread that costs less than either server (bench/obfs3.py). The figure is the server's
processor time, not how long a round takes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.load import Server, download, idle_kib, upload
from bench.obfs3 import Obfs3Load, connection_milliseconds
from bench.process import allow_descriptors, cpu_seconds, two_cores
from bench.report import Comparison, main, progress, surroundings, table
from bench.rivals import Rival, find_rivals
from peers import managed, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

GIGABYTE = 1_000_000_000
IDLE_CONNECTIONS = 2_000

GOALS = {1: 0.6, 16: 0.6}
"""Of the processor time of a gigabyte, by connections at once."""

DIRECTIONS = {"client to destination": upload, "destination to client": download}

_DESCRIPTORS = 2 * IDLE_CONNECTIONS + 500


class Plan(NamedTuple):
    """How much is measured."""

    rounds: int
    volume: int
    handshakes: int
    idle_rounds: int


_FULL = Plan(rounds=25, volume=1 << 28, handshakes=250, idle_rounds=3)
_QUICK = Plan(rounds=5, volume=1 << 26, handshakes=100, idle_rounds=1)


def measure(plan: Plan) -> str:
    """Measure everything, and give the table."""
    rivals = find_rivals()
    allow_descriptors(_DESCRIPTORS)
    server_core, load_core = two_cores()
    os.sched_setaffinity(0, {load_core})
    tables = [table("obfsproxy", rival.name, _compare(plan, rival, server_core)) for rival in rivals]
    return "\n".join([surroundings(*(rival.version for rival in rivals)), *tables])


def _compare(plan: Plan, rival: Rival, core: int) -> list[Comparison]:
    """Compare with one of the other programs."""
    progress(f"against {rival.version}")
    start_peer = partial(_start_peer, rival)
    with Obfs3Load() as load, _start_ours(load, core) as ours, start_peer(load, core) as theirs:
        rows = [
            _compare_bulk(plan, load, (ours, theirs), connections, direction)
            for connections in GOALS
            for direction in DIRECTIONS
        ]
        rows.append(_compare_handshakes(plan, load, (ours, theirs)))
    rows.append(_compare_idle(plan, start_peer, core))
    return rows


@contextmanager
def _start_ours(load: Obfs3Load, core: int, *, statistics: bool = True) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        counting = ["--stats-log", str(Path(folder) / "clients.log")] if statistics else ["--no-stats"]
        # The whole load has addresses of one network.
        counting += ["--max-per-network", str(_DESCRIPTORS)]
        destination = "{}:{}".format(*load.destination)
        with program.obfsproxy(*counting, "obfs3", "--dest", destination, "server", "127.0.0.1:0", cpu=core) as running:
            yield Server(running.child.pid, running.address)


@contextmanager
def _start_peer(rival: Rival, load: Obfs3Load, core: int) -> Iterator[Server]:
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        managed.server(Path(folder), load.destination, argv=[rival.program], transports=["obfs3"], cpu=core) as running,
    ):
        yield Server(running.child.pid, running.methods["obfs3"])


def _compare_bulk(
    plan: Plan, load: Obfs3Load, servers: tuple[Server, Server], connections: int, direction: str
) -> Comparison:
    """Compare the processor time of a gigabyte."""
    progress(f"{plan.rounds} rounds of bulk transfer, {connections} at once, {direction}")
    move = DIRECTIONS[direction]
    each = plan.volume // connections

    def cost(server: Server) -> float:
        pairs = load.open(server, connections)
        # Buffers and the path's speed are found out before anything is counted.
        move(pairs, each // 8)
        before = cpu_seconds(server.pid)
        move(pairs, each)
        spent = cpu_seconds(server.pid) - before
        for pair in pairs:
            pair.close()
        return spent / plan.volume * GIGABYTE

    row = Comparison(f"{direction}, {connections} at once: server CPU s a GB", GOALS[connections])
    return row.take(plan.rounds, *(partial(cost, server) for server in servers))


def _compare_handshakes(plan: Plan, load: Obfs3Load, servers: tuple[Server, Server]) -> Comparison:
    """Compare the processor time of a connection: handshake, both magics, destination, a token each way, end."""
    progress(f"{plan.rounds} rounds of {plan.handshakes} handshakes")

    sides = [partial(connection_milliseconds, load, server, plan.handshakes) for server in servers]
    for measure_once in sides:
        measure_once()
    return Comparison("handshake: server CPU ms", 0.5).take(plan.rounds, *sides)


def _compare_idle(
    plan: Plan, start_peer: Callable[[Obfs3Load, int], AbstractContextManager[Server]], core: int
) -> Comparison:
    """Compare the memory of an idle connection, each time in a server that has just been started.

    Ours runs without statistics: reading country files leaves free memory, which connections would fill before the
    process had to grow.
    """
    progress(f"{plan.idle_rounds} rounds of {IDLE_CONNECTIONS:,} idle connections")

    def cost(start: Callable[[Obfs3Load, int], AbstractContextManager[Server]]) -> float:
        with Obfs3Load() as load, start(load, core) as server:
            return idle_kib(load, server, IDLE_CONNECTIONS)

    row = Comparison(f"idle connection, {IDLE_CONNECTIONS:,} of them: resident KiB", 0.25)
    return row.take(plan.idle_rounds, partial(cost, partial(_start_ours, statistics=False)), partial(cost, start_peer))


if __name__ == "__main__":
    sys.exit(main("relay", measure, _FULL, _QUICK))
