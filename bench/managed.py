"""What tor's extended ORPort costs a connection, ours against obfs4proxy, and each against its own plain ORPort.

Four servers as tor would run them share one core, three of them idle while one is measured; the load plays their
clients and tor. A connection is an obfs3 handshake, the way to tor (with the extended ORPort: cookie, two hashes, the
client's address, OKAY), a token each way, and the end. The figure is the server's processor time.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.load import Server
from bench.obfs3 import Obfs3Load, connection_milliseconds
from bench.process import two_cores
from bench.report import Comparison, MissingError, main, progress, surroundings, table
from obfstats.wire.extorport import COOKIE_LENGTH, write_cookie
from peers import managed, obfs4proxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Plan(NamedTuple):
    """How much is measured."""

    rounds: int
    handshakes: int


class Bridge(NamedTuple):
    """A server, and the load that plays its clients and tor."""

    server: Server
    load: Obfs3Load


_FULL = Plan(rounds=25, handshakes=250)
_QUICK = Plan(rounds=5, handshakes=100)


def measure(plan: Plan) -> str:
    """Measure everything, and give the tables."""
    if not obfs4proxy.is_installed():
        raise MissingError(f"the peer is missing: apt-get install {obfs4proxy.PACKAGE}")
    server_core, load_core = two_cores()
    os.sched_setaffinity(0, {load_core})
    peer = (obfs4proxy.PROGRAM,)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        bridges = {
            (name, extended): stack.enter_context(_open(folder / f"{name}{extended}", argv, server_core, extended))
            for name, argv in (("ours", managed.ours()), ("peer", peer))
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
            for name, who in (("ours", "obfsproxy managed"), ("peer", "obfs4proxy"))
        ]
    return "\n".join(
        [
            surroundings(obfs4proxy.version()),
            table("obfsproxy", "obfs4proxy", [through]),
            table("extended ORPort", "plain ORPort", added),
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


def _cost(plan: Plan, bridge: Bridge) -> float:
    return connection_milliseconds(bridge.load, bridge.server, plan.handshakes)


if __name__ == "__main__":
    sys.exit(main("managed", measure, _FULL, _QUICK))
