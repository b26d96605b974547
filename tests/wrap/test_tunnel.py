"""A tunnel between two sockets, each of which may be slow, half closed or lost."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from obfstats.proxy.wrap import tunnel as tunnel_module
from obfstats.proxy.wrap.carriers import Carriers
from obfstats.proxy.wrap.poll import Poll
from obfstats.proxy.wrap.tunnel import Tunnel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obfstats.proxy.totals import Totals

RESET = struct.pack("ii", 1, 0)
"""Makes a socket reset its connection as it closes."""

SECONDS = 5.0


class Tied(NamedTuple):
    """A tunnel and both its peers, which do not block.

    Attributes:
        near: one peer.
        far: the other.
        gone: becomes true when the tunnel is gone.
        totals: count the bytes.
    """

    near: socket.socket
    far: socket.socket
    gone: asyncio.Event
    totals: Totals


def connected() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection on loopback, which do not block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


@contextmanager
def tied(pipes: int, near_buffer: int | None = None) -> Iterator[Tied]:
    """Join two connections.

    Args:
        pipes: how many there are to carry their bytes.
        near_buffer: about how many bytes the kernel holds for the near peer; None for its choice.
    """
    (near, near_end), (far, far_end) = connected(), connected()
    if near_buffer is not None:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, near_buffer)
        near_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, near_buffer)
    poll, carriers, gone = Poll(), Carriers(pipes), asyncio.Event()
    tunnel = Tunnel(near_end, far_end, poll, carriers, lambda _: gone.set())
    poll.add(near_end, tunnel)
    poll.add(far_end, tunnel)
    tunnel.begin(has_unread=True)
    with near, far:
        yield Tied(near, far, gone, carriers.totals)
        tunnel.abort()
    carriers.close()
    poll.stop()


async def fill(peer: socket.socket) -> int:
    """Send until no more is accepted; return how much that was."""
    sent = 0
    for _ in range(50):
        try:
            while True:
                sent += peer.send(bytes(1 << 18))
        except BlockingIOError:
            await asyncio.sleep(0.002)
    return sent


def lose(peer: socket.socket) -> None:
    """Reset the connection."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    peer.close()


both = pytest.mark.parametrize("pipes", [8, 0], ids=["splice", "buffers"])


@both
def test_both_directions_at_once_with_half_closes(pipes: int) -> None:
    """Each side sends much, ends its direction, and gets all of the other's."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        with tied(pipes) as peers:
            data = os.urandom(3 << 20)

            async def say_all(peer: socket.socket) -> None:
                await loop.sock_sendall(peer, data)
                peer.shutdown(socket.SHUT_WR)

            async def hear_all(peer: socket.socket) -> bytes:
                heard = bytearray()
                while more := await loop.sock_recv(peer, 1 << 16):
                    heard += more
                return bytes(heard)

            async with asyncio.timeout(SECONDS):
                heard = await asyncio.gather(
                    hear_all(peers.near), hear_all(peers.far), say_all(peers.near), say_all(peers.far)
                )
                assert heard[0] == heard[1] == data
                await peers.gone.wait()
            assert peers.totals.relayed_bytes == 2 * len(data)

    asyncio.run(run())


@both
def test_a_tunnel_stalled_both_ways_and_lost_at_both_ends_closes_at_once(pipes: int) -> None:
    """No peer is left to receive what it holds."""

    async def run() -> None:
        with tied(pipes) as peers:
            assert await fill(peers.near)
            assert await fill(peers.far)
            lose(peers.near)
            lose(peers.far)
            async with asyncio.timeout(SECONDS):
                await peers.gone.wait()

    asyncio.run(run())


@both
def test_what_one_peer_sent_before_it_was_lost_still_arrives(pipes: int) -> None:
    """A slow reader gets what the tunnel holds for it, and then the end of file."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        with tied(pipes) as peers:
            assert await fill(peers.near)
            lose(peers.near)
            await asyncio.sleep(0.01)
            assert not peers.gone.is_set()
            heard = 0
            async with asyncio.timeout(SECONDS):
                try:
                    while more := await loop.sock_recv(peers.far, 1 << 20):
                        heard += len(more)
                except ConnectionResetError:
                    pass
                await peers.gone.wait()
            assert heard

    asyncio.run(run())


@both
def test_a_half_closed_connection_that_is_lost_closes(pipes: int) -> None:
    """A peer that has ended its direction can still be lost, and the other one's connection is closed."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        with tied(pipes) as peers:
            peers.near.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(SECONDS):
                assert await loop.sock_recv(peers.far, 1) == b""
                lose(peers.near)
                await peers.gone.wait()

    asyncio.run(run())


@both
def test_what_tor_has_closed_gives_its_place_back(pipes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that keeps its side open loses it a while after tor's end."""
    monkeypatch.setattr(tunnel_module, "LINGER", 0.05)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        with tied(pipes) as peers:
            await loop.sock_sendall(peers.far, b"last")
            peers.far.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(SECONDS):
                assert await loop.sock_recv(peers.near, 100) == b"last"
                assert await loop.sock_recv(peers.near, 100) == b""
                assert not peers.gone.is_set()
                await peers.gone.wait()

    asyncio.run(run())


def test_tors_end_is_noticed_behind_bytes_that_the_client_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipe holds them, so the end of stream has not been read yet."""
    monkeypatch.setattr(tunnel_module, "LINGER", 0.05)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        with tied(8, near_buffer=1 << 12) as peers:
            async with asyncio.timeout(SECONDS):
                await loop.sock_sendall(peers.far, bytes(1 << 19))
                peers.far.shutdown(socket.SHUT_WR)
                await peers.gone.wait()

    asyncio.run(run())


@both
def test_a_client_that_ends_first_keeps_the_other_direction(pipes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tor sends later than that still arrives."""
    monkeypatch.setattr(tunnel_module, "LINGER", 0.0)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        with tied(pipes) as peers:
            peers.near.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(SECONDS):
                assert await loop.sock_recv(peers.far, 1) == b""
                await asyncio.sleep(0.02)
                await loop.sock_sendall(peers.far, b"late")
                assert await loop.sock_recv(peers.near, 4) == b"late"

    asyncio.run(run())
