"""Source addresses of connections to tor, where one has too few ephemeral ports."""

from __future__ import annotations

import asyncio
import queue
from typing import TYPE_CHECKING

import pytest

from obfstats.proxy.outbound import Direct, LoopbackSources, sources_for
from obfstats.proxy.relay import RelayEnd, Scratch
from obfstats.wire.endpoint import parse_endpoint
from peers.destinations import serve
from tests.proxy import running

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

PORTS = 28_232
"""The kernel's default number of ephemeral ports."""


@pytest.mark.parametrize(
    ("connections", "number"), [(16_384, None), (21_174, None), (21_175, 2), (28_232, 2), (100_000, 5)]
)
def test_each_source_address_serves_three_quarters_of_the_ports(connections: int, number: int | None) -> None:
    """By default the kernel chooses."""
    sources = sources_for(connections, PORTS)
    if sources is None:
        assert number is None
    else:
        assert len({sources.bind_address_for("127.0.0.1") for _ in range(100)}) == number


@pytest.mark.parametrize("host", ["192.0.2.7", "::1", "localhost", "127.example"])
def test_only_connections_to_loopback_are_bound(host: str) -> None:
    """Tor on another machine would not be reached from a loopback address."""
    assert LoopbackSources(2).bind_address_for(host) is None


@pytest.mark.parametrize("new_loop", running.LOOPS, ids=["uvloop", "asyncio"])
def test_connections_are_made_from_the_addresses_in_turn(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """What the destination sees."""
    seen = queue.Queue[str]()

    def note(connection: socket.socket) -> None:
        seen.put(connection.getpeername()[0])

    async def connect(destination: str) -> None:
        direct = Direct(LoopbackSources(3))
        for _ in range(6):
            transport = await direct.open(RelayEnd(Scratch()), parse_endpoint(destination))
            transport.abort()

    with serve(note) as destination, asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(connect(destination))
        assert sorted(seen.get(timeout=30) for _ in range(6)) == [f"127.0.0.{last}" for last in (1, 1, 2, 2, 3, 3)]
