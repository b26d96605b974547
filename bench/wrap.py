"""`obfstats wrap` and HAProxy between a transport's program and tor; and obfs4proxy with the wrap and without.

Both relays lie on the same path: bench/extended.py plays the transport's program and tor's extended ORPort, and every
connection begins with the extended ORPort's exchange. HAProxy passes it on from end to end. The wrap has it with the
transport by its own cookie and with tor by tor's, and counts the client: it keeps statistics as on a bridge, with tor's
country files. So both carry a whole exchange, and bytes behind it.

HAProxy is there twice. The table with everything has it splice whatever comes, through pipes of a mebibyte: the best
that we know of for it. Either relay's time is then the kernel's, for the same few calls. The other table has it decide
by itself (`option splice-auto`); on this path it then copies.

All run on one core, idle but for the one that is measured; the other core is their load's. Where the clock on the wall
measures, a table says how busy both cores were: a relay that leaves its own core idle while the load's is busy could do
more. The processor time beside it does not depend on that.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import haproxy, obfs4
from bench.clients import addresses, need_geoip
from bench.extended import Load, Relay
from bench.initiator import BrokenError
from bench.load import download, upload
from bench.process import allow_descriptors, settled_kib, spend, two_cores
from bench.report import Comparison, MissingError, in_turn, main, progress, surroundings, table
from obfstats.wire.extorport import parse_cookie
from peers import obfs4proxy, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.process import Spent

GIGABYTE = 1_000_000_000
IDLE_CONNECTIONS = 5_000

DIRECTIONS = {"client to tor": upload, "tor to client": download}

_CLIENTS = 2_000
_WARM_UP = 100
_CONNECTIONS = IDLE_CONNECTIONS + 200
_DESCRIPTORS = 12_288


class Plan(NamedTuple):
    """How much is measured."""

    rounds: int
    volume: int
    visits: int
    idle_rounds: int
    chain_rounds: int
    chain_volume: int


_FULL = Plan(rounds=25, volume=1 << 28, visits=2_000, idle_rounds=3, chain_rounds=15, chain_volume=1 << 26)
_QUICK = Plan(rounds=5, volume=1 << 27, visits=1_000, idle_rounds=1, chain_rounds=5, chain_volume=1 << 25)


class Outcome(NamedTuple):
    """What was found out in rounds of one kind.

    Attributes:
        name: what was done.
        rows: the figures.
        both: what the rounds took, ours and the peer's.
    """

    name: str
    rows: list[Comparison]
    both: tuple[list[Spent], list[Spent]]

    def busy(self) -> str:
        """Write how busy the cores were as a table's row."""
        cells = [self.name]
        for side in self.both:
            wall = sum(spent.wall for spent in side)
            cells += [f"{sum(spent.server for spent in side) / wall:.0%}", f"{sum(s.load for s in side) / wall:.0%}"]
        return f"| {' | '.join(cells)} |"


def measure(plan: Plan) -> str:
    """Measure everything, and give the tables."""
    if not haproxy.is_installed():
        raise MissingError(f"the peer is missing: apt-get install {haproxy.PACKAGE}")
    if not obfs4proxy.is_installed():
        raise MissingError(f"the peer is missing: apt-get install {obfs4proxy.PACKAGE}")
    allow_descriptors(_DESCRIPTORS)
    clients = addresses(need_geoip(), _CLIENTS)
    server_core, load_core = two_cores()
    os.sched_setaffinity(0, {load_core})
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        load = stack.enter_context(Load(folder, clients))
        log = folder / "clients.log"
        ours = stack.enter_context(_start_ours(folder, load, server_core, "--stats-log", str(log)))
        always, automatic = (
            (ours, stack.enter_context(_start_peer(folder, load, server_core, splicing)))
            for splicing in (haproxy.Splicing.ALWAYS, haproxy.Splicing.AUTO)
        )
        outcomes = [*_compare_bulk(plan, load, always), _compare_visits(plan, load, always)]
        beside = _compare_bulk(plan, load, automatic)
        if not log.stat().st_size:
            raise BrokenError("the wrap counted nobody")
    rows = _rows(outcomes)
    rows.append(_compare_idle(plan, clients, server_core))
    progress(f"{plan.chain_rounds} rounds of bulk transfer through obfs4, each way")
    chain = obfs4.compare(plan.chain_rounds, plan.chain_volume, clients, server_core, load_core)
    return "\n".join(
        [
            surroundings(haproxy.version(), obfs4proxy.version()),
            table("obfstats wrap", "HAProxy", rows),
            "",
            "| how busy | obfstats wrap | its load | HAProxy | its load |\n|---|---|---|---|---|",
            *(outcome.busy() for outcome in outcomes),
            table("obfstats wrap", "HAProxy, splice-auto", _rows(beside)),
            table("obfs4proxy in the wrap", "alone", chain),
        ]
    )


@contextlib.contextmanager
def _start_ours(folder: Path, load: Load, core: int, *options: str) -> Iterator[Relay]:
    with wrapped.server(
        folder, load.destination, *options, before=("taskset", "-c", str(core)), environment=load.environment
    ) as running:
        entrance = running.entrance
        yield Relay(running.child.pid, entrance.address, parse_cookie(entrance.cookie_file.read_bytes()))


@contextlib.contextmanager
def _start_peer(
    folder: Path, load: Load, core: int, splicing: haproxy.Splicing = haproxy.Splicing.ALWAYS
) -> Iterator[Relay]:
    with haproxy.relay(folder, load.destination, splicing, connections=_CONNECTIONS, cpu=core) as (pid, address):
        yield Relay(pid, address, load.cookie)


def _transfer(plan: Plan, load: Load, connections: int, direction: str, relay: Relay) -> Spent:
    """Move the volume through so many connections."""
    move = DIRECTIONS[direction]
    each = plan.volume // connections
    pairs = load.connections(relay, connections)
    # Buffers and the path's speed are found out before anything is counted.
    move(pairs, each // 8)
    spent = spend(partial(move, pairs, each), relay.pid)
    for pair in pairs:
        pair.close()
    return spent


def _compare_bulk(plan: Plan, load: Load, relays: tuple[Relay, Relay]) -> list[Outcome]:
    """Compare the moving of bytes, both ways."""
    return [
        compare(plan, load, relays, direction)
        for compare in (_compare_cost, _compare_speed)
        for direction in DIRECTIONS
    ]


def _compare_cost(plan: Plan, load: Load, relays: tuple[Relay, Relay], direction: str) -> Outcome:
    """Compare the processor time of a gigabyte."""
    progress(f"{plan.rounds} rounds of bulk transfer, 16 at once, {direction}")
    transfer = partial(_transfer, plan, load, 16, direction)
    both = in_turn(plan.rounds, *(partial(transfer, relay) for relay in relays))
    name = f"{direction}, 16 at once"
    rows = [
        _row(f"{name}: CPU s a GB", 0.5, both, lambda spent: spent.server / plan.volume * GIGABYTE, digits=3),
    ]
    return Outcome(name, rows, both)


def _compare_speed(plan: Plan, load: Load, relays: tuple[Relay, Relay], direction: str) -> Outcome:
    """Compare the speed of one connection."""
    progress(f"{plan.rounds} rounds of bulk transfer, one connection, {direction}")
    transfer = partial(_transfer, plan, load, 1, direction)
    both = in_turn(plan.rounds, *(partial(transfer, relay) for relay in relays))
    name = f"{direction}, one connection"
    rows = [
        _row(f"{name}: GB a s", 0.8, both, lambda spent: plan.volume / GIGABYTE / spent.wall, more_is_better=True),
        _row(f"{name}: CPU s a GB", None, both, lambda spent: spent.server / plan.volume * GIGABYTE, digits=3),
    ]
    return Outcome(name, rows, both)


def _compare_visits(plan: Plan, load: Load, relays: tuple[Relay, Relay]) -> Outcome:
    """Compare how many connections come and go: exchange, count, a token each way, end."""
    progress(f"{plan.rounds} rounds of {plan.visits:,} connections")
    for relay in relays:
        load.visits(relay, plan.visits)
    both = in_turn(
        plan.rounds, *(partial(spend, partial(load.visits, relay, plan.visits), relay.pid) for relay in relays)
    )
    rows = [
        _row("connections a s", 0.7, both, lambda spent: plan.visits / spent.wall, digits=0, more_is_better=True),
        _row("a connection: CPU µs", None, both, lambda spent: spent.server / plan.visits * 1e6, digits=0),
    ]
    return Outcome("connections", rows, both)


def _compare_idle(plan: Plan, clients: list[str], core: int) -> Comparison:
    """Compare the memory of an idle connection, each time in a relay that has just been started.

    Some connections come and go before the first reading, so that nothing which a relay sets up once is taken for a
    connection's. Ours runs without statistics: reading country files leaves free memory behind, which connections would
    fill before the process had to grow.
    """
    progress(f"{plan.idle_rounds} rounds of {IDLE_CONNECTIONS:,} idle connections")

    def cost(start: Callable[[Path, Load, int], contextlib.AbstractContextManager[Relay]]) -> float:
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as name,
            Load(Path(name), clients) as load,
            start(Path(name), load, core) as relay,
        ):
            load.visits(relay, _WARM_UP)
            before = settled_kib(relay.pid)
            pairs = load.connections(relay, IDLE_CONNECTIONS)
            grown = settled_kib(relay.pid) - before
            for pair in pairs:
                pair.close()
            return grown / IDLE_CONNECTIONS

    def start_ours(folder: Path, load: Load, core: int) -> contextlib.AbstractContextManager[Relay]:
        return _start_ours(folder, load, core, "--no-stats")

    row = Comparison(f"idle connection, {IDLE_CONNECTIONS:,} of them: resident KiB", 0.5)
    return row.take(plan.idle_rounds, partial(cost, start_ours), partial(cost, _start_peer))


def _rows(outcomes: list[Outcome]) -> list[Comparison]:
    return [row for outcome in outcomes for row in outcome.rows]


def _row(
    measure: str,
    goal: float | None,
    both: tuple[list[Spent], list[Spent]],
    figure: Callable[[Spent], float],
    *,
    digits: int = 2,
    more_is_better: bool = False,
) -> Comparison:
    """Make a row of one figure of each round's."""
    ours, peer = ([figure(spent) for spent in side] for side in both)
    return Comparison(measure, goal, digits, more_is_better, ours, peer)


if __name__ == "__main__":
    sys.exit(main("wrap", measure, _FULL, _QUICK))
