"""Connections that are lost at the worst moment leave nothing behind: no socket, no slot, no job."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from obfstats.proxy.relay import RelayEnd, Scratch
from obfstats.wire.endpoint import Endpoint
from tests.proxy import running

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    NewLoop = Callable[[], asyncio.AbstractEventLoop]

BOTH_LOOPS = pytest.mark.parametrize("new_loop", running.LOOPS, ids=["uvloop", "asyncio"])


def run(main: Callable[[], Coroutine[Any, Any, None]], new_loop: NewLoop) -> None:
    """Run a coroutine function to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


async def connected(protocol: asyncio.BufferedProtocol) -> tuple[asyncio.Transport, socket.socket]:
    """Return a transport under a protocol, and the socket at its other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, ours)
    return transport, theirs


def wait_until(happened: Callable[[], int]) -> None:
    """Wait, off the loop, until something is no longer zero."""
    deadline = time.monotonic() + 30
    while not happened() and time.monotonic() < deadline:
        pass


@BOTH_LOOPS
def test_an_end_that_is_attached_after_the_other_is_lost_can_be_aborted(new_loop: NewLoop) -> None:
    """The near side is lost while the destination is being connected: its connection is closed too."""

    async def main() -> None:
        near, far = RelayEnd(Scratch()), RelayEnd(Scratch())
        gone = asyncio.Event()
        near.join(far, gone.set)
        near_transport, near_peer = await connected(near)
        near_transport.abort()
        await gone.wait()
        _, far_peer = await connected(far)
        far.abort()
        far_peer.settimeout(0)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert far_peer.recv(1) == b""
        near_peer.close()
        far_peer.close()

    run(main, new_loop)


def test_an_endpoint_is_formatted_as_it_is_parsed() -> None:
    """IPv6 addresses in brackets."""
    assert (str(Endpoint("::1", 80)), str(Endpoint("127.0.0.1", 80))) == ("[::1]:80", "127.0.0.1:80")
