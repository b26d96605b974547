"""The driver of a machine: what arrives after the exchange, one machine after another, failures."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest

from obfstats.proxy.driver import MachineDriver
from obfstats.proxy.relay import RelayEnd, Scratch
from obfstats.wire.machine import Finished, Machine, ProtocolError, Send, read_exactly
from tests.proxy import running

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, TypeAlias

    from obfstats.wire.machine import Script

    NewLoop: TypeAlias = Callable[[], asyncio.AbstractEventLoop]

BOTH_LOOPS = pytest.mark.parametrize("new_loop", running.LOOPS, ids=["uvloop", "asyncio"])
SECONDS = 10.0


class Answered(Finished):
    """The end of a greeting of two bytes."""


def greet(length: int, held: bytearray) -> Script:
    """Take so many bytes, and answer with them in capitals; fail on a zero."""
    given = yield from read_exactly(held, length)
    if b"0" in given:
        raise ProtocolError("a zero", answer=b"no")
    yield Send(given.upper())
    yield (Finished if length == 1 else Answered)(early=bytes(held))


class Relayed:
    """A driver between two peers.

    Attributes:
        driver: runs on the near connection.
        near: the near connection's peer.
        far: the far one's.
    """

    def __init__(self, *, is_silent: bool = False) -> None:
        self.near, self._near = socket.socketpair()
        self.far, self._far = socket.socketpair()
        scratch = Scratch()
        self._ends = RelayEnd(scratch), RelayEnd(scratch)
        self._closed = asyncio.Event()
        self._ends[0].join(self._ends[1], self._closed.set)
        self.driver = MachineDriver(Machine(partial(greet, 2)), self._ends[0], is_silent=is_silent)

    async def connect(self, first: MachineDriver | None = None) -> None:
        """Attach both connections, the near one to another driver if there is one."""
        loop = asyncio.get_running_loop()
        for ours in (self.near, self.far, self._near, self._far):
            ours.setblocking(False)
        await loop.connect_accepted_socket(lambda: self._ends[1], self._far)
        await loop.connect_accepted_socket(lambda: first or self.driver, self._near)

    async def hear(self, peer: socket.socket, length: int) -> bytes:
        """Receive so many bytes, or fewer up to the end."""
        heard = b""
        async with asyncio.timeout(SECONDS):
            while len(heard) < length and (more := await asyncio.get_running_loop().sock_recv(peer, length)):
                heard += more
        return heard

    async def close(self) -> None:
        """Close everything, and wait until the ends report it."""
        self._ends[0].abort()
        await self._closed.wait()
        self.near.close()
        self.far.close()


def run(main: Callable[[], Coroutine[Any, Any, None]], new_loop: NewLoop) -> None:
    """Run a coroutine function to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@BOTH_LOOPS
@pytest.mark.parametrize("says_more", [False, True], ids=["at once", "later"])
def test_what_arrives_after_the_exchange_reaches_the_other_end(new_loop: NewLoop, *, says_more: bool) -> None:
    """Bytes and the end of the direction, whether they came before the relay took over or after it."""

    async def main() -> None:
        relayed = Relayed()
        relayed.near.sendall(b"abearly")
        if not says_more:
            relayed.near.shutdown(socket.SHUT_WR)
        await relayed.connect()
        finished = await relayed.driver.result(Finished)
        assert finished == Answered(early=b"early")
        relayed.driver.hand_over()
        if says_more:
            relayed.near.sendall(b" and late")
            relayed.near.shutdown(socket.SHUT_WR)
        assert await relayed.hear(relayed.near, 2) == b"AB"
        assert await relayed.hear(relayed.far, 100) == (b"early and late" if says_more else b"early")
        await relayed.close()

    run(main, new_loop)


@BOTH_LOOPS
def test_one_driver_runs_after_another(new_loop: NewLoop) -> None:
    """It gets what arrived after the first one's exchange."""

    async def main() -> None:
        relayed = Relayed()
        first = MachineDriver(Machine(partial(greet, 1)), RelayEnd(Scratch()))
        relayed.near.sendall(b"xabearly")
        await relayed.connect(first)
        assert await first.result(Finished) == Finished(early=b"abearly")
        first.hand_over_to(relayed.driver)
        assert await relayed.driver.result(Answered) == Answered(early=b"early")
        relayed.driver.hand_over()
        assert await relayed.hear(relayed.near, 3) == b"XAB"
        assert await relayed.hear(relayed.far, 5) == b"early"
        await relayed.close()

    run(main, new_loop)


@BOTH_LOOPS
def test_a_machine_that_fails_ends_the_waiting(new_loop: NewLoop) -> None:
    """The peer gets the answer, and the reason is kept."""

    async def main() -> None:
        relayed = Relayed()
        relayed.near.sendall(b"00")
        await relayed.connect()
        assert await relayed.driver.result(Finished) is None
        assert relayed.driver.failure == "a zero"
        assert await relayed.hear(relayed.near, 2) == b"no"
        await relayed.close()

    run(main, new_loop)


@BOTH_LOOPS
def test_a_peer_that_hangs_up_ends_the_waiting(new_loop: NewLoop) -> None:
    """That is no failure of the machine's."""

    async def main() -> None:
        relayed = Relayed()
        relayed.near.sendall(b"a")
        await relayed.connect()
        relayed.near.close()
        assert await relayed.driver.result(Finished) is None
        assert relayed.driver.is_hung_up
        assert relayed.driver.failure is None
        await relayed.close()

    run(main, new_loop)


@BOTH_LOOPS
def test_a_silent_failure_lasts_until_the_connection_is_closed(new_loop: NewLoop) -> None:
    """Neither more bytes nor the end of the peer's direction shorten it."""

    async def main() -> None:
        relayed = Relayed(is_silent=True)
        relayed.near.sendall(b"00" + bytes(1000))
        relayed.near.shutdown(socket.SHUT_WR)
        await relayed.connect()
        waiting = asyncio.ensure_future(relayed.driver.result(Finished))
        while relayed.driver.failure is None:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await relayed.close()
        assert await waiting is None

    run(main, new_loop)
