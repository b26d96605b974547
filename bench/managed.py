"""What tor's extended ORPort costs a connection, and how long a start takes: ours against lyrebird.

Four servers as tor would run them share one core, three of them idle while one is measured; the load plays their
clients and tor. Each program is also measured against its own plain ORPort. A connection is an obfs3 handshake, the way
to tor (with the extended ORPort: cookie, two hashes, the client's address, OKAY), a token each way, and the end. The
figure is the server's processor time.

A start is measured with statistics and tor's own GeoIP files: until tor has all its answers (SMETHODS DONE), and until
a client that connects then has its first byte.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.load import Server
from bench.obfs3 import Obfs3Load, connection_milliseconds
from bench.process import two_cores
from bench.report import Comparison, main, progress, surroundings, table
from bench.rivals import find_rivals
from obfstats.wire.endpoint import parse_endpoint
from obfstats.wire.extorport import COOKIE_LENGTH, write_cookie
from obfstats.wire.transports import make_transport
from peers import managed, wrapped
from peers.destinations import echo, serve
from peers.obfuscated import ObfuscatedClient

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Plan(NamedTuple):
    """How much is measured."""

    rounds: int
    handshakes: int
    starts: int


class Bridge(NamedTuple):
    """A server, and the load that plays its clients and tor."""

    server: Server
    load: Obfs3Load


_FULL = Plan(rounds=25, handshakes=250, starts=15)
_QUICK = Plan(rounds=5, handshakes=100, starts=3)


def measure(plan: Plan) -> str:
    """Measure everything, and give the tables."""
    rival, _ = find_rivals()
    server_core, load_core = two_cores()
    starts = [
        Comparison(f"{who}: s from its start to {what}", digits=3).take(
            plan.starts, partial(_start, argv, first_client), partial(_start, (rival.program,), first_client)
        )
        for first_client, what in ((False, "tor's answers"), (True, "the first client's answer"))
        for who, argv in (("obfsproxy", managed.ours()), ("wrap", wrapped.argv(program=(rival.program,))))
    ]
    os.sched_setaffinity(0, {load_core})
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        bridges = {
            (name, extended): stack.enter_context(_open(folder / f"{name}{extended}", argv, server_core, extended))
            for name, argv in (("ours", managed.ours()), ("peer", (rival.program,)))
            for extended in (True, False)
        }
        costs = {which: partial(_cost, plan, bridge) for which, bridge in bridges.items()}
        for warm_up in costs.values():
            warm_up()
        progress(f"{plan.rounds} rounds of {plan.handshakes} connections, four servers in turn")
        through = Comparison("connection through the extended ORPort: server CPU ms", 0.5)
        through.take(
            plan.rounds, partial(_cost, plan, bridges["ours", True]), partial(_cost, plan, bridges["peer", True])
        )
        added = [
            Comparison(f"{who}: server CPU ms a connection").take(plan.rounds, costs[name, True], costs[name, False])
            for name, who in (("ours", "obfsproxy managed"), ("peer", rival.name))
        ]
    return "\n".join(
        [
            surroundings(rival.version),
            table("obfsproxy", rival.name, [through]),
            table("extended ORPort", "plain ORPort", added),
            table("ours", rival.name, starts),
        ]
    )


@contextlib.contextmanager
def _open(folder: Path, argv: Sequence[str], core: int, extended: bool) -> Iterator[Bridge]:  # noqa: FBT001
    """Start a server and its load."""
    folder.mkdir()
    cookie = os.urandom(COOKIE_LENGTH) if extended else None
    with Obfs3Load(cookie) as load:
        more = {}
        if cookie is not None:
            file = folder / "cookie"
            file.write_bytes(write_cookie(cookie))
            more = {
                "TOR_PT_EXTENDED_SERVER_PORT": "{}:{}".format(*load.destination),
                "TOR_PT_AUTH_COOKIE_FILE": str(file),
            }
        with managed.server(
            folder / "state", load.destination, argv=argv, transports=["obfs3"], environment=more, cpu=core
        ) as running:
            yield Bridge(Server(running.child.pid, running.methods["obfs3"]), load)


def _start(argv: Sequence[str], first_client: bool) -> float:  # noqa: FBT001
    """Start a server, and give the seconds until tor has its answers, or until a client has one."""
    with serve(echo) as orport, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        began = time.perf_counter()
        state = Path(folder) / "state"
        with managed.server(state, parse_endpoint(orport), argv=argv, transports=["obfs3"]) as running:
            if first_client:
                with ObfuscatedClient(make_transport("obfs3"), running.methods["obfs3"]) as client:
                    client.sendall(b"?")
                    client.recv()
            return time.perf_counter() - began


def _cost(plan: Plan, bridge: Bridge) -> float:
    return connection_milliseconds(bridge.load, bridge.server, plan.handshakes)


if __name__ == "__main__":
    sys.exit(main("managed", measure, _FULL, _QUICK))
