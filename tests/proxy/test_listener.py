"""Accepting and pausing: at the cap, and without descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from obfstats.proxy.limits import Gate, Limits
from obfstats.proxy.listener import USER_TIMEOUT, Listener, listen
from obfstats.wire.endpoint import Endpoint
from obfstats.wire.transports import make_transport
from peers.destinations import echo, serve
from peers.obfuscated import ObfuscatedClient
from tests import canary
from tests.proxy import running

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.formats.address import ClientAddress

BOTH_LOOPS = pytest.mark.parametrize("new_loop", running.LOOPS, ids=["uvloop", "asyncio"])


@BOTH_LOOPS
def test_beyond_the_cap_clients_wait_and_are_served_later(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """With a cap of two the third waits in the kernel's queue, and is served when one leaves."""
    transport = make_transport("obfs2")
    with (
        serve(echo) as destination,
        running.server(destination, name="obfs2", limits=Limits(connections=2), new_loop=new_loop) as address,
    ):
        first, second = (ObfuscatedClient(transport, address, canary.address()) for _ in range(2))
        for client in (first, second):
            client.sendall(b"1")
            assert client.recv() == b"1"
        replies: list[bytes] = []
        served = threading.Event()

        def third() -> None:
            with ObfuscatedClient(transport, address, canary.address()) as client:
                client.sendall(b"3")
                replies.append(client.recv())
            served.set()

        threading.Thread(target=third, daemon=True).start()
        assert not served.wait(0.3)
        first.close()
        assert served.wait(30)
        second.close()
    assert replies == [b"3"]


@BOTH_LOOPS
def test_without_descriptors_accepting_pauses_and_resumes(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A client that connects meanwhile is not closed, and is served after the shortage."""
    transport = make_transport("obfs2")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serve(echo) as destination, running.server(destination, name="obfs2", new_loop=new_loop) as address:
        with ObfuscatedClient(transport, address, canary.address()) as before:
            before.sendall(b"1")
            assert before.recv() == b"1"
            waiting = socket.socket()
            taken = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (waiting.fileno() + 20, hard))
            try:
                while True:
                    taken.append(os.dup(0))
            except OSError:
                pass
            try:
                waiting.settimeout(1.0)
                waiting.connect(address)
                with pytest.raises(TimeoutError):
                    waiting.recv(1)
                before.sendall(b"2")
                assert before.recv() == b"2"
            finally:
                for descriptor in taken:
                    os.close(descriptor)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with waiting, ObfuscatedClient(transport, address, canary.address()) as after:
            after.sendall(b"3")
            assert after.recv() == b"3"


def test_a_client_that_never_reads_is_bounded_by_the_kernel() -> None:
    """Accepted sockets inherit the limit, which begins when the client accepts nothing more."""
    listening = listen(Endpoint("127.0.0.1", 0))
    with contextlib.closing(listening), socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == USER_TIMEOUT * 1000


@BOTH_LOOPS
def test_a_connection_that_was_reset_before_is_not_served(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """In a flood most are: a service has no work with them, and one that says nothing yet is served."""
    served: list[int] = []

    def handle(accepted: socket.socket, peer: ClientAddress, on_closed: Callable[[], None]) -> None:
        served.append(peer.port)
        accepted.close()
        on_closed()

    async def serve_waiting() -> None:
        listener = Listener(listening, Gate(Limits()), handle)
        async with asyncio.timeout(30):
            while not served:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        listener.close()

    listening = listen(Endpoint("127.0.0.1", 0))
    for _ in range(20):
        with socket.create_connection(listening.getsockname()) as flood:
            flood.sendall(b"key")
            flood.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with socket.create_connection(listening.getsockname()) as silent, asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve_waiting())
        assert served == [silent.getsockname()[1]]
