"""What a running bridge has relayed and refused, and why."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from obfstats.proxy.limits import Limits
from obfstats.proxy.totals import Failure, Totals
from obfstats.wire.transports import make_transport
from peers.destinations import echo, serve
from peers.obfuscated import ObfuscatedClient
from tests.proxy.running import server
from tests.proxy.visiting import HELLO, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obfstats.wire.handshake import Transport

FEW = Limits(connections=100, handshakes=4, network=1)
"""One unfinished handshake and one connection of a network."""


@contextlib.contextmanager
def visitor(bridge: tuple[str, int], transport: Transport) -> Iterator[ObfuscatedClient]:
    """Be served."""
    with ObfuscatedClient(transport, bridge) as client:
        client.sendall(HELLO)
        assert client.recv() == HELLO
        yield client


@pytest.mark.parametrize("failure", Failure)
def test_each_failure_is_counted_once_with_its_reason(failure: Failure) -> None:
    """And nothing else is."""
    totals = Totals()
    name = "obfs2" if failure is Failure.PROTOCOL else "obfs3"
    with contextlib.ExitStack() as stack:
        destination = stack.enter_context(serve(echo)) if failure is not Failure.ORPORT else "127.0.0.1:9"
        bridge = stack.enter_context(server(destination, name=name, limits=FEW, deadline=1.0, totals=totals))
        transport = make_transport(name)
        if failure is Failure.ORPORT:
            with ObfuscatedClient(transport, bridge) as client:
                assert client.recv() == b""
        elif failure is Failure.NETWORK_SHARE:
            stack.enter_context(visitor(bridge, transport))
            with ObfuscatedClient(transport, bridge) as client, contextlib.suppress(OSError):
                assert client.recv() == b""
        elif failure is Failure.SHED:
            with socket.create_connection(bridge, 30) as first:
                stack.enter_context(visitor(bridge, transport))
                with contextlib.suppress(OSError):
                    first.recv(1 << 16)
        else:
            with socket.create_connection(bridge, 30) as probe:
                probe.sendall(bytes(64))
        expected = {each: int(each is failure) for each in Failure}
        assert wait_until(lambda: totals.failed == expected), totals.failed


def test_bytes_are_counted_in_both_directions() -> None:
    """As many as the client sends, and as it gets back."""
    totals = Totals()
    with (
        serve(echo) as destination,
        server(destination, totals=totals) as bridge,
        visitor(bridge, make_transport("obfs3")) as client,
    ):
        before = totals.relayed_bytes
        client.sendall(bytes(100_000))
        received = 0
        while received < 100_000:
            received += len(client.recv())
        assert totals.relayed_bytes - before == 200_000
