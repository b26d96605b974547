"""Source addresses of connections to tor, where one has too few ephemeral ports."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from obfstats.proxy.outbound import Direct, LoopbackSources, sources_for
from obfstats.proxy.relay import RelayEnd, Scratch
from obfstats.wire.endpoint import parse_endpoint
from peers import extended, managed, stand_in
from peers.destinations import TIMEOUT, serve
from tests.networks import in_own_network_if_allowed
from tests.proxy import running
from tests.proxy.visiting import HELLO

if TYPE_CHECKING:
    from collections.abc import Callable

PORTS = 28_232
"""The kernel's default number of ephemeral ports."""


def source_of(sources: LoopbackSources) -> str:
    """Return the address of the next connection to loopback."""
    bound = sources.open_socket("127.0.0.1")
    assert bound is not None
    with bound:
        return str(bound.getsockname()[0])


@pytest.mark.parametrize(
    ("connections", "number"), [(16_384, None), (21_174, None), (21_175, 2), (28_232, 2), (100_000, 5)]
)
def test_each_source_address_serves_three_quarters_of_the_ports(connections: int, number: int | None) -> None:
    """By default the kernel chooses."""
    sources = sources_for(connections, PORTS)
    if sources is None:
        assert number is None
    else:
        assert len({source_of(sources) for _ in range(100)}) == number


@pytest.mark.parametrize("host", ["192.0.2.7", "::1", "localhost", "127.example"])
def test_only_connections_to_loopback_are_bound(host: str) -> None:
    """Tor on another machine would not be reached from a loopback address."""
    assert LoopbackSources(2).open_socket(host) is None


@pytest.mark.parametrize("new_loop", running.LOOPS, ids=["uvloop", "asyncio"])
def test_connections_are_made_from_the_addresses_in_turn(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """What the destination sees."""
    seen = queue.Queue[str]()

    def note(connection: socket.socket) -> None:
        seen.put(connection.getpeername()[0])

    async def connect(destination: str) -> None:
        direct = Direct(sources=LoopbackSources(3))
        for _ in range(6):
            transport = await direct.open(RelayEnd(Scratch()), parse_endpoint(destination))
            transport.abort()

    with serve(note) as destination, asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(connect(destination))
        assert sorted(seen.get(timeout=30) for _ in range(6)) == [f"127.0.0.{last}" for last in (1, 1, 2, 2, 3, 3)]


def test_more_clients_are_served_than_there_are_ports(tmp_path: Path) -> None:
    """The kernel has twenty ephemeral ports for one address, and thirty-two clients are connected at once."""

    def story() -> None:
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40019")
        argv = managed.ours("--no-stats", "--max-connections", "32")
        with (
            extended.orport(tmp_path) as tor,
            managed.server(tmp_path, tor, argv=argv, transports=["dummy"]) as bridge,
            contextlib.ExitStack() as stack,
        ):
            for number in range(32):
                # Ports outside the range, as those of clients on other machines.
                place = f"127.9.{number}.1", 20_000
                client = stack.enter_context(socket.create_connection(bridge.methods["dummy"], TIMEOUT, place))
                client.sendall(HELLO)
                assert stand_in.read(client, len(HELLO)) == HELLO
            assert len(tor.visits) == 32

    in_own_network_if_allowed(story)
