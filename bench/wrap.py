"""`obfstats wrap` and HAProxy between a transport's program and tor; and lyrebird and obfs4proxy with it and without.

Both relays are on the same path: bench/extended.py plays the transport's program and tor's extended ORPort, and every
connection begins with the extended ORPort's exchange. HAProxy forwards it from end to end. The wrap has one with the
transport by its own cookie and one with tor by tor's, and counts the client: it keeps statistics as on a bridge, with
tor's country files. So both carry a whole exchange and the bytes after it.

HAProxy is measured twice. In the main table it always splices, through pipes of a mebibyte: its fastest configuration
that we know. Either relay's time is then the kernel's, for the same few calls. In the other table it decides by itself
(`option splice-auto`); on this path it then copies.

All run on one core, and those that are not measured are idle; the other core is the load's. For what is measured by the
wall clock, a table shows how busy both cores were: a relay that leaves its own core idle while the load's is busy could
do more. The processor time beside it does not depend on that.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.clients import addresses, need_geoip
from bench.extended import TRANSPORT, ExtOrPortLoad
from bench.load import PATIENCE, Pair, Server, download, idle_kib, upload
from bench.process import allow_descriptors, spend, two_cores
from bench.report import BrokenError, Comparison, MissingError, in_turn, main, progress, surroundings, table
from bench.rivals import Rival, find_rivals
from obfstats.wire import extorport
from obfstats.wire.machine import Failed, Send
from peers import haproxy, managed, socks, wrapped
from peers.processes import family

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

    from bench.load import Address
    from bench.process import Spent

GIGABYTE = 1_000_000_000
IDLE_CONNECTIONS = 5_000

DIRECTIONS = {"client to tor": upload, "tor to client": download}

_CLIENTS = 2_000
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
    """The result of rounds of one kind.

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
    rivals = find_rivals()
    allow_descriptors(_DESCRIPTORS)
    clients = addresses(need_geoip(), _CLIENTS)
    server_core, load_core = two_cores()
    os.sched_setaffinity(0, {load_core})
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        load = stack.enter_context(ExtOrPortLoad(folder, clients))
        log = folder / "clients.log"
        ours = stack.enter_context(_start_ours(folder, load, server_core, "--stats-log", str(log)))
        always, automatic = (
            (ours, stack.enter_context(_start_peer(folder, load, server_core, splicing)))
            for splicing in (haproxy.Splicing.ALWAYS, haproxy.Splicing.AUTO)
        )
        outcomes = [*_compare_bulk(plan, load, always), _compare_visits(plan, load, always)]
        beside = _compare_bulk(plan, load, automatic)
        if not log.stat().st_size:
            raise BrokenError("the wrap counted no client")
    rows = _rows(outcomes)
    rows.append(_compare_idle(plan, clients, server_core))
    chains = []
    for rival in rivals:
        progress(f"{plan.chain_rounds} rounds of bulk transfer through {rival.version}, each way")
        chain = _compare_chain(plan, rival, clients, server_core, load_core)
        chains.append(table(f"{rival.name} in the wrap", "alone", chain))
    return "\n".join(
        [
            surroundings(haproxy.version(), *(rival.version for rival in rivals)),
            table("obfstats wrap", "HAProxy", rows),
            "",
            "| how busy | obfstats wrap | its load | HAProxy | its load |\n|---|---|---|---|---|",
            *(outcome.busy() for outcome in outcomes),
            table("obfstats wrap", "HAProxy, splice-auto", _rows(beside)),
            *chains,
        ]
    )


@contextlib.contextmanager
def _start_ours(folder: Path, load: ExtOrPortLoad, core: int, *options: str) -> Iterator[Server]:
    with wrapped.server(
        folder, load.destination, *options, before=("taskset", "-c", str(core)), environment=load.environment
    ) as running:
        entrance = running.entrance
        yield Server(running.child.pid, entrance.address, extorport.parse_cookie(entrance.cookie_file.read_bytes()))


@contextlib.contextmanager
def _start_peer(
    folder: Path, load: ExtOrPortLoad, core: int, splicing: haproxy.Splicing = haproxy.Splicing.ALWAYS
) -> Iterator[Server]:
    with haproxy.relay(folder, load.destination, splicing, connections=_CONNECTIONS, cpu=core) as (pid, address):
        yield Server(pid, address, load.cookie)


def _transfer(plan: Plan, load: ExtOrPortLoad, connections: int, direction: str, relay: Server) -> Spent:
    """Move the volume through that many connections."""
    move = DIRECTIONS[direction]
    each = plan.volume // connections
    pairs = load.open(relay, connections)
    # Buffers and the path's speed settle before anything is counted.
    move(pairs, each // 8)
    spent = spend(partial(move, pairs, each), relay.pid)
    for pair in pairs:
        pair.close()
    return spent


def _compare_bulk(plan: Plan, load: ExtOrPortLoad, relays: tuple[Server, Server]) -> list[Outcome]:
    """Compare the moving of bytes, both ways."""
    return [
        compare(plan, load, relays, direction)
        for compare in (_compare_cost, _compare_speed)
        for direction in DIRECTIONS
    ]


def _compare_cost(plan: Plan, load: ExtOrPortLoad, relays: tuple[Server, Server], direction: str) -> Outcome:
    """Compare the processor time of a gigabyte."""
    progress(f"{plan.rounds} rounds of bulk transfer, 16 at once, {direction}")
    transfer = partial(_transfer, plan, load, 16, direction)
    both = in_turn(plan.rounds, *(partial(transfer, relay) for relay in relays))
    name = f"{direction}, 16 at once"
    rows = [
        _row(f"{name}: CPU s a GB", 0.5, both, lambda spent: spent.server / plan.volume * GIGABYTE, digits=3),
    ]
    return Outcome(name, rows, both)


def _compare_speed(plan: Plan, load: ExtOrPortLoad, relays: tuple[Server, Server], direction: str) -> Outcome:
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


def _compare_visits(plan: Plan, load: ExtOrPortLoad, relays: tuple[Server, Server]) -> Outcome:
    """Compare connections a second: exchange, count, a token each way, end."""
    progress(f"{plan.rounds} rounds of {plan.visits:,} connections")
    for relay in relays:
        load.open_and_close(relay, plan.visits)
    both = in_turn(
        plan.rounds, *(partial(spend, partial(load.open_and_close, relay, plan.visits), relay.pid) for relay in relays)
    )
    rows = [
        _row("connections a s", 0.65, both, lambda spent: plan.visits / spent.wall, digits=0, more_is_better=True),
        _row("a connection: CPU µs", None, both, lambda spent: spent.server / plan.visits * 1e6, digits=0),
    ]
    return Outcome("connections", rows, both)


def _compare_idle(plan: Plan, clients: list[str], core: int) -> Comparison:
    """Compare the memory of an idle connection, each time in a relay that has just been started.

    Ours runs without statistics: reading country files leaves free memory, which connections would fill before the
    process had to grow.
    """
    progress(f"{plan.idle_rounds} rounds of {IDLE_CONNECTIONS:,} idle connections")

    def cost(start: Callable[[Path, ExtOrPortLoad, int], contextlib.AbstractContextManager[Server]]) -> float:
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as name,
            ExtOrPortLoad(Path(name), clients) as load,
            start(Path(name), load, core) as relay,
        ):
            return idle_kib(load, relay, IDLE_CONNECTIONS)

    def start_ours(folder: Path, load: ExtOrPortLoad, core: int) -> contextlib.AbstractContextManager[Server]:
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


class Bridge(NamedTuple):
    """What runs on a bridge beside tor.

    Attributes:
        pids: its processes.
        address: where the transport's program listens.
        arguments: what a client needs besides the address.
    """

    pids: list[int]
    address: Address
    arguments: str


def _compare_chain(
    plan: Plan, rival: Rival, clients: Sequence[str], server_core: int, load_core: int
) -> list[Comparison]:
    """Compare a program in the wrap and alone: how fast bytes move through one connection, and what that costs.

        load -> the program (client) -> the program (server) -> the wrap, or nothing -> load, as tor's extended ORPort

    What a bridge runs shares one core, the wrap with its program; the client's program and the load share the other.
    Without the wrap it is the same program, which then talks to tor itself.
    """
    rounds, volume = plan.chain_rounds, plan.chain_volume
    rows = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        load = stack.enter_context(ExtOrPortLoad(folder, clients))
        bridges = []
        counting = "--stats-log", str(folder / "clients.log")
        for name, argv in (
            ("wrapped", wrapped.argv(*counting, program=[rival.program])),
            ("alone", (rival.program,)),
        ):
            running = stack.enter_context(
                managed.server(
                    folder / name,
                    load.destination,
                    argv=argv,
                    transports=[TRANSPORT],
                    environment=load.environment,
                    cpu=server_core,
                )
            )
            found = running.child.wait_for_line("stdout", rf"^SMETHOD {TRANSPORT} \S+ ARGS:(\S+)")
            arguments = found[1].replace(",", ";")
            bridges.append(Bridge(list(family(running.child.pid)), running.methods[TRANSPORT], arguments))
        client = stack.enter_context(
            managed.client(folder / "client", argv=[rival.program], transports=[TRANSPORT], cpu=load_core)
        )
        proxy = client.methods[TRANSPORT]
        for direction in DIRECTIONS:
            transfers = (partial(_transfer_through_chain, load, proxy, bridge, direction, volume) for bridge in bridges)
            ours, peer = in_turn(rounds, *transfers)
            rows += [
                Comparison(f"obfs4 {direction}: MB a s", 0.9, 0, True, _speeds(ours, volume), _speeds(peer, volume)),
                Comparison(
                    f"obfs4 {direction}: the bridge's CPU s a GB", ours=_costs(ours, volume), peer=_costs(peer, volume)
                ),
            ]
    return rows


def _speeds(all_spent: list[Spent], volume: int) -> list[float]:
    return [volume / 1e6 / spent.wall for spent in all_spent]


def _costs(all_spent: list[Spent], volume: int) -> list[float]:
    return [spent.server / volume * 1e9 for spent in all_spent]


def _transfer_through_chain(load: ExtOrPortLoad, proxy: Address, bridge: Bridge, direction: str, volume: int) -> Spent:
    """Move that many bytes through a new connection."""
    client = socks.connect(proxy, bridge.address, bridge.arguments)
    pairs = [Pair(client, _accept_as_tor(load))]
    for end in pairs[0]:
        end.setblocking(False)
    move = DIRECTIONS[direction]
    # Buffers and the path's speed settle before anything is counted.
    move(pairs, volume // 8)
    spent = spend(partial(move, pairs, volume), *bridge.pids)
    pairs[0].close()
    return spent


def _accept_as_tor(load: ExtOrPortLoad) -> socket.socket:
    """Play tor for the next client."""
    load.listening.settimeout(PATIENCE)
    accepted, _ = load.listening.accept()
    accepted.settimeout(PATIENCE)
    tor = extorport.ExtOrPortServer(load.cookie, os.urandom)
    events = tor.start()
    while True:
        for event in events:
            match event:
                case Send(data):
                    accepted.sendall(data)
                case extorport.Asked():
                    accepted.sendall(tor.grant())
                    return accepted
                case Failed(reason):
                    raise BrokenError(reason)
        data = accepted.recv(1 << 12)
        if not data:
            raise BrokenError("the bridge hung up on the extended ORPort")
        events = tor.receive(data)


if __name__ == "__main__":
    sys.exit(main("wrap", measure, _FULL, _QUICK))
