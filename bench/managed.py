"""What tor's extended ORPort costs a connection, ours against obfs4proxy, and each against its own plain ORPort.

Four servers as tor would run them share one core, three of them idle while one is measured; the load plays their
clients and tor. A connection is an obfs3 handshake, the way to tor (with the extended ORPort: cookie, two hashes, the
client's address, OKAY), a token each way, and the end. What counts is the server's processor time.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.load import Load
from bench.process import cpu_seconds, two_cores
from bench.report import Comparison, MissingError, main, progress, surroundings, table
from obfstats.wire.extorport import COOKIE_LENGTH, write_cookie
from peers import managed, obfs4proxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.load import Address


class Plan(NamedTuple):
    """How much is measured."""

    rounds: int
    handshakes: int


class Door(NamedTuple):
    """A server, and the tor that it passes clients on to."""

    pid: int
    address: Address
    load: Load


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
        doors = {
            (name, extended): stack.enter_context(_open(folder / f"{name}{extended}", argv, server_core, extended))
            for name, argv in (("ours", managed.ours()), ("peer", peer))
            for extended in (True, False)
        }
        for door in doors.values():
            _cost(plan, door)
        progress(f"{plan.rounds} rounds of {plan.handshakes} connections, four servers in turn")
        through = Comparison("connection through the extended ORPort: server CPU ms", 0.5)
        through.take(plan.rounds, partial(_cost, plan, doors["ours", True]), partial(_cost, plan, doors["peer", True]))
        added = [
            Comparison(f"{who}: server CPU ms a connection").take(
                plan.rounds, partial(_cost, plan, doors[name, True]), partial(_cost, plan, doors[name, False])
            )
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
def _open(folder: Path, argv: Sequence[str], core: int, extended: bool) -> Iterator[Door]:  # noqa: FBT001
    """Start a server, and the tor behind it."""
    folder.mkdir()
    cookie = os.urandom(COOKIE_LENGTH) if extended else None
    with Load(cookie) as load:
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
            yield Door(running.child.pid, running.methods["obfs3"], load)


def _cost(plan: Plan, door: Door) -> float:
    """Give the processor time of a connection in milliseconds."""
    before = cpu_seconds(door.pid)
    door.load.handshakes(door.address, plan.handshakes)
    return (cpu_seconds(door.pid) - before) / plan.handshakes * 1e3


if __name__ == "__main__":
    sys.exit(main("managed", measure, _FULL, _QUICK))
