"""A file arrives complete through the network, by each transport, over each family, with each client's program."""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from peers import web
from peers.missing import need
from peers.network import OBFS4PROXY
from peers.processes import command_line, family, listeners
from peers.tors import telling
from tests.e2e.visitors import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from peers.network import Network
    from peers.tors import Bridge, Client

    Clients: TypeAlias = dict[tuple[str, str, str], tuple[Bridge, Client]]

FILE = os.urandom(300_000)

BRIDGES = {
    "first": {"obfs2": "127.0.0.1", "obfs3": "::1"},
    "second": {"obfs2": "::1", "obfs3": "127.0.0.1"},
}
"""Two bridges, and where each one's transports listen."""

PROGRAMS = {"ours": OURS, "obfs4proxy": OBFS4PROXY}
"""What is at the client's end."""

WAYS = [
    (bridge, transport, program) for bridge, hosts in BRIDGES.items() for transport in hosts for program in PROGRAMS
]


@pytest.fixture(scope="module")
def clients(network: Network) -> Iterator[Clients]:
    """A tor client for each way, all of them at once; each uses one bridge by one transport."""
    need("obfs4proxy", "obfs4proxy")
    with ExitStack() as stack:
        network.wait()
        bridges = {name: stack.enter_context(network.bridge(name, OURS, hosts)) for name, hosts in BRIDGES.items()}
        for bridge in bridges.values():
            bridge.wait_for("The current consensus contains exit nodes")
        yield {
            (bridge, transport, program): (
                bridges[bridge],
                stack.enter_context(
                    network.client(f"{bridge}{transport}{program}", PROGRAMS[program], bridges[bridge].line(transport))
                ),
            )
            for bridge, transport, program in WAYS
        }


@pytest.fixture(scope="module")
def destination() -> Iterator[tuple[str, int]]:
    """A web server that the exit connects to."""
    with web.serve(FILE) as address:
        yield address


@pytest.mark.parametrize(
    "way", WAYS, ids=[f"{transport}-{BRIDGES[bridge][transport]}-{program}" for bridge, transport, program in WAYS]
)
def test_a_file_comes_whole_through_an_exit(
    clients: Clients, destination: tuple[str, int], way: tuple[str, str, str]
) -> None:
    """The bridge's listener is this tor's only way out, and what arrives is what was there."""
    bridge, client = clients[way]
    with telling(bridge, client):
        assert web.fetch_digest(client.socks(), destination) == hashlib.sha256(FILE).hexdigest()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a process that is not dumpable")
def test_nothing_listens_but_on_loopback(network: Network, clients: Clients) -> None:
    """All tors and all the transports' programs of the network: none can be reached from outside."""
    for bridge, client in clients.values():
        with telling(bridge, client):
            client.socks()
    processes = [pid for tor in network.tors for pid in family(tor.child.pid)]
    # Authority, exit, two bridges, eight clients; a program for each bridge and each client.
    assert len(processes) == 2 + 2 * len(BRIDGES) + 2 * len(WAYS), [command_line(pid) for pid in processes]
    assert listeners(processes) == {"127.0.0.1", "::1"}
