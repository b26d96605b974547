"""One connection's journey: accepted, handshake done, passed on, relayed. What both sides share.

A coroutine walks a connection up to its relay and ends there, so that an idle connection costs no task.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from obfstats.proxy.outcomes import Outcomes
from obfstats.proxy.relay import RelayEnd, Scratch
from obfstats.proxy.shaking import Shaking

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    from obfstats.proxy.limits import Gate
    from obfstats.proxy.privacy import Show
    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.handshake import Side, Transport
    from obfstats.wire.machine import Random

HANDSHAKE_DEADLINE = (30.0, 60.0)
"""Seconds within which a handshake must be done; each connection draws its own, so that no prober learns it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What comes in from outside, the same for every service of a program.

    Attributes:
        gate: who may come in.
        executor: runs a handshake's costly steps.
        random: gives that many random bytes.
        draw: gives a random number between two.
        show: writes addresses into the log, or that there was one.
    """

    gate: Gate
    executor: Executor
    random: Random
    draw: Callable[[float, float], float]
    show: Show


class Service(ABC):
    """One side of one transport."""

    def __init__(self, around: Surroundings, name: str) -> None:
        """Begin.

        Args:
            around: what comes in from outside.
            name: the transport's.
        """
        self.name = name
        self._around = around
        self._scratch = Scratch()
        self._alive: set[RelayEnd] = set()
        self._walking: dict[RelayEnd, asyncio.Task[None]] = {}
        self._outcomes = Outcomes(name, around.show)

    def handle(self, accepted: socket.socket, peer: Endpoint, gone: Callable[[], None]) -> None:
        """Take a connection.

        Args:
            accepted: its socket, not blocking.
            peer: who called.
            gone: called once, when the connection is over.
        """
        # Tied together from the start: in whichever way the connection ends, the ends report it.
        near, far = RelayEnd(self._scratch), RelayEnd(self._scratch)

        def over() -> None:
            self._alive.discard(near)
            task = self._walking.get(near)
            if task is None:
                gone()
            else:
                # What is still being opened on the far side takes up room, even if the near one has gone.
                task.add_done_callback(lambda _: gone())

        near.join(far, over)
        self._alive.add(near)
        self._walking[near] = asyncio.get_running_loop().create_task(self._walk(accepted, peer, near, far))
        self._walking[near].add_done_callback(lambda _: self._walking.pop(near))

    def report(self) -> None:
        """Say what went wrong since the last time, and how often."""
        self._outcomes.report()

    def cut_off(self) -> None:
        """Cut off every connection; transports report their end at the loop's next turn."""
        for task in self._walking.values():
            task.cancel()
        for near in list(self._alive):
            near.abort()

    async def _walk(self, accepted: socket.socket, peer: Endpoint, near: RelayEnd, far: RelayEnd) -> None:
        """Bring a connection to its relay, or to its end."""
        relayed = False
        try:
            relayed = await self._connect(accepted, peer, near, far)
        finally:
            if not relayed:
                near.abort()
                # The near side may have gone first and left the far one alone.
                far.abort()

    @abstractmethod
    async def _connect(self, accepted: socket.socket, peer: Endpoint, near: RelayEnd, far: RelayEnd) -> bool:
        """Attach both ends and let them relay.

        Args:
            accepted: the accepted socket.
            peer: its peer.
            near: the end on the accepted side.
            far: the end on the destination's side.

        Returns:
            whether they relay now; if not, what is attached is to be cut off.
        """

    def _shaking(self, transport: Transport, side: Side, end: RelayEnd) -> Shaking:
        around = self._around
        return Shaking(transport.handshake(side, around.random), side, self._scratch, around.executor, end)

    @contextlib.contextmanager
    def _deadline(self, transport: asyncio.Transport) -> Iterator[None]:
        """Cut a connection off at a moment of its own, unless it has got there by the end of the block."""
        timer = asyncio.get_running_loop().call_later(self._around.draw(*HANDSHAKE_DEADLINE), transport.abort)
        try:
            yield
        finally:
            timer.cancel()


def hand_over(shaking: Shaking, obfuscated: asyncio.Transport, end: RelayEnd, clear: asyncio.Transport) -> None:
    """Let the relay take over a connection whose handshake is done and whose reading is paused.

    Args:
        shaking: what has driven the handshake.
        obfuscated: its connection.
        end: the relay's end for that connection.
        clear: the connection of the other end.
    """
    inbound = shaking.inbound.result()
    if inbound is not None:
        end.pass_on(bytes(inbound[1]))
    obfuscated.set_protocol(end)
    if shaking.ended:
        end.eof_received()
    if obfuscated.get_write_buffer_size():
        clear.pause_reading()
    # What is unsent resumes the reading itself once it is gone.
    if not clear.get_write_buffer_size():
        obfuscated.resume_reading()


async def adopt(protocol: asyncio.BaseProtocol, accepted: socket.socket) -> asyncio.Transport | None:
    """Put an accepted socket under a protocol; None if it is gone already."""
    try:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, accepted)
    except OSError:
        accepted.close()
        return None
    return transport
