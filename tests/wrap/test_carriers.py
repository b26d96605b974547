"""Carriers between two sockets, with splice and without, and during shortages."""

from __future__ import annotations

import os
import resource
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from obfstats.proxy.wrap.carriers import MANY_LENT, SIZE, SMALL_SIZE, Buffer, Carriers, Pipe, can_splice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from obfstats.proxy.wrap.carriers import Carrier

MUCH = 2 << 20
KINDS: list[Callable[[], Carrier]] = [Pipe, Buffer]


@pytest.fixture
def pairs() -> Iterator[tuple[socket.socket, socket.socket, socket.socket, socket.socket]]:
    """A peer, its socket, the other peer's socket, and that peer; the two in the middle do not block."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(one) for _ in range(2) for one in socket.socketpair()]
        peer, source, sink, other = sockets
        source.setblocking(False)
        sink.setblocking(False)
        yield peer, source, sink, other


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_are_carried_as_they_are(
    pairs: tuple[socket.socket, socket.socket, socket.socket, socket.socket], kind: Callable[[], Carrier]
) -> None:
    """It takes, holds and gives bytes; then there are none, and then the end of file."""
    peer, source, sink, other = pairs
    carrier = kind()
    data = os.urandom(5000)
    peer.sendall(data)
    assert carrier.fill(source.fileno(), SIZE) == carrier.held == len(data)
    while carrier.held:
        carrier.drain(sink.fileno())
    assert other.recv(1 << 16) == data
    with pytest.raises(BlockingIOError):
        carrier.fill(source.fileno(), SIZE)
    peer.close()
    assert carrier.fill(source.fileno(), SIZE) == carrier.held == 0
    carrier.close()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_slow_peer_does_not_accept_is_held(
    pairs: tuple[socket.socket, socket.socket, socket.socket, socket.socket], kind: Callable[[], Carrier]
) -> None:
    """Until the peer reads again; no byte is lost or repeated."""
    peer, source, sink, other = pairs
    carrier = kind()
    data, arrived, sent = os.urandom(MUCH), bytearray(), 0
    peer.setblocking(False)
    other.setblocking(False)
    stalls = 0
    while len(arrived) < MUCH:
        try:
            while sent < MUCH:
                sent += peer.send(data[sent : sent + (1 << 18)])
        except BlockingIOError:
            pass
        try:
            while True:
                while carrier.held:
                    carrier.drain(sink.fileno())
                carrier.fill(source.fileno(), SIZE)
        except BlockingIOError:
            stalls += carrier.held > 0
        arrived += other.recv(1 << 14)
    assert bytes(arrived) == data
    assert stalls
    carrier.close()


def test_this_kernel_splices() -> None:
    """Linux lets it; without splice no other test would notice."""
    assert can_splice()


def test_pipes_are_lent_again_and_buffers_are_not() -> None:
    """A pipe is costly to make; a buffer would keep a client's bytes."""
    carriers = Carriers(max_pipes=1)
    pipe, buffer = carriers.borrow(), carriers.borrow()
    assert (type(pipe), type(buffer)) == (Pipe, Buffer)
    carriers.release(buffer)
    carriers.release(pipe)
    assert carriers.borrow() is pipe
    carriers.release(pipe)
    carriers.close()


def test_a_carrier_that_holds_bytes_is_not_lent_again() -> None:
    """Or it would reach another client."""
    carriers = Carriers(max_pipes=1)
    pipe = carriers.borrow()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"!")
        assert pipe.fill(ours.fileno(), 1) == 1
    carriers.release(pipe)
    again = carriers.borrow()
    assert again is not pipe
    assert isinstance(again, Pipe)
    carriers.release(again)
    carriers.close()


def test_a_shortage_of_descriptors_leaves_nothing_behind() -> None:
    """Buffers serve during the shortage, and pipes of full size after it."""
    carriers = Carriers(max_pipes=8)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        lent = [carriers.borrow() for _ in range(4)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {type(carrier) for carrier in lent} == {Buffer}
    for carrier in lent:
        carriers.release(carrier)
    pipe = carriers.borrow()
    assert isinstance(pipe, Pipe)
    assert pipe.is_full_size
    carriers.release(pipe)
    carriers.close()


def test_with_many_on_loan_each_takes_little() -> None:
    """Thousands of clients that do not read must not take gigabytes; after them everything is as before."""
    carriers = Carriers(max_pipes=0)
    lent = [carriers.borrow() for _ in range(MANY_LENT - 1)]
    assert carriers.fill_size == SIZE
    lent.append(carriers.borrow())
    assert carriers.fill_size == SMALL_SIZE
    for carrier in lent:
        carriers.release(carrier)
    assert carriers.fill_size == SIZE
