"""obfs4 from end to end, with the wrap and without: what an operator loses who counts an obfs4proxy's clients.

    load -> obfs4proxy (client) -> obfs4proxy (server) -> the wrap, or nothing -> load, which is tor's extended ORPort

What a bridge runs shares one core, the wrap with its obfs4proxy; the client's obfs4proxy and the load share the other.
Without the wrap it is the same obfs4proxy, which then speaks to tor itself.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.extended import TRANSPORT, Load
from bench.initiator import BrokenError
from bench.load import PATIENCE, Pair, download, upload
from bench.process import spend
from bench.report import Comparison, in_turn
from obfstats.wire import extorport
from obfstats.wire.machine import Failed, Send
from peers import managed, obfs4proxy, socks, wrapped
from peers.processes import family

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from bench.load import Address
    from bench.process import Spent

_DIRECTIONS = {"client to tor": upload, "tor to client": download}


class Bridge(NamedTuple):
    """What runs on a bridge beside tor.

    Attributes:
        pids: its processes.
        address: where obfs4proxy listens.
        arguments: what a client has to know of it.
    """

    pids: list[int]
    address: Address
    arguments: str


def compare(rounds: int, volume: int, clients: Sequence[str], server_core: int, load_core: int) -> list[Comparison]:
    """Compare how fast bytes go through one connection, and what that costs the bridge.

    Args:
        rounds: how often each direction is measured.
        volume: bytes a round.
        clients: for the load; obfs4proxy's are named as they come.
        server_core: the bridge's.
        load_core: of its client and the load.
    """
    rows = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        load = stack.enter_context(Load(folder, clients))
        bridges = []
        counting = "--stats-log", str(folder / "clients.log")
        for name, argv in (
            ("wrapped", wrapped.argv(*counting, program=[obfs4proxy.PROGRAM])),
            ("alone", (obfs4proxy.PROGRAM,)),
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
        client = stack.enter_context(obfs4proxy.client(folder / "client", transports=[TRANSPORT], cpu=load_core))
        proxy = client.methods[TRANSPORT]
        for direction in _DIRECTIONS:
            transfers = (partial(_transfer, load, proxy, bridge, direction, volume) for bridge in bridges)
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


def _transfer(load: Load, proxy: Address, bridge: Bridge, direction: str, volume: int) -> Spent:
    """Move so many bytes through a connection of their own."""
    client = socks.connect(proxy, bridge.address, bridge.arguments)
    pairs = [Pair(client, _let_in(load))]
    for end in pairs[0]:
        end.setblocking(False)
    move = _DIRECTIONS[direction]
    # Buffers and the path's speed are found out before anything is counted.
    move(pairs, volume // 8)
    spent = spend(partial(move, pairs, volume), *bridge.pids)
    pairs[0].close()
    return spent


def _let_in(load: Load) -> socket.socket:
    """Be tor for the next client."""
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
