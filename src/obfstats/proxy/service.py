"""One connection's journey: accepted, handshake done, passed on, counted, relayed.

`Server` undoes the obfuscation and passes on to the destination; `Client` is the other end. A coroutine walks a
connection up to its relay and ends there, so that an idle connection costs no task.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from socket import SO_KEEPALIVE, SOL_SOCKET
from typing import TYPE_CHECKING

from obfstats.proxy.relay import RelayEnd, Scratch
from obfstats.proxy.shaking import Shaking
from obfstats.wire.handshake import Side

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

    from obfstats.record import Recorder
    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.handshake import Random, Transport

HANDSHAKE_DEADLINE = (30.0, 60.0)
"""Seconds within which a handshake must be done; each connection draws its own, so that no prober learns it."""

DIAL_TIMEOUT = 10.0
"""Seconds for the destination to take a connection."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What comes in from outside.

    Attributes:
        transport: the pluggable transport, its options checked.
        destination: where to pass connections on, as the operator wrote it.
        addresses: its addresses, to be tried in this order.
        executor: runs a handshake's costly steps.
        random: gives that many random bytes.
        draw: gives a random number between two.
    """

    transport: Transport
    destination: Endpoint
    addresses: Sequence[Endpoint]
    executor: Executor
    random: Random
    draw: Callable[[float, float], float]


class Service(ABC):
    """What server and client have in common."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._scratch = Scratch()
        self._tasks: set[asyncio.Task[None]] = set()
        self._alive: set[RelayEnd] = set()
        self._refusal = ""

    def handle(self, accepted: socket.socket, address: str, gone: Callable[[], None]) -> None:
        """Take a connection.

        Args:
            accepted: its socket, not blocking.
            address: the peer's address as text.
            gone: called once, when the connection is over.
        """
        # Tied together from the start: in whichever way the connection ends, the ends report it.
        near, far = RelayEnd(self._scratch), RelayEnd(self._scratch)

        def over() -> None:
            self._alive.discard(near)
            gone()

        near.join(far, over)
        self._alive.add(near)
        task = asyncio.get_running_loop().create_task(self._walk(accepted, address, near, far))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def report(self) -> None:
        """Say once what went wrong since the last time."""
        if self._refusal:
            _log.warning("%s does not take connections (%s)", self._around.destination, self._refusal)
            self._refusal = ""

    async def close(self) -> None:
        """Cut off every connection."""
        for task in self._tasks:
            task.cancel()
        for near in list(self._alive):
            near.abort()
        # Transports report their end at the loop's next turn.
        await asyncio.sleep(0)

    async def _walk(self, accepted: socket.socket, address: str, near: RelayEnd, far: RelayEnd) -> None:
        """Bring a connection to its relay, or to its end."""
        relayed = False
        try:
            relayed = await self._connect(accepted, address, near, far)
        finally:
            if not relayed:
                near.abort()
                # The near side may have gone first and left the far one alone.
                far.abort()

    @abstractmethod
    async def _connect(self, accepted: socket.socket, address: str, near: RelayEnd, far: RelayEnd) -> bool:
        """Attach both ends and let them relay.

        Args:
            accepted: the accepted socket.
            address: its peer's address.
            near: the end on the accepted side.
            far: the end on the destination's side.

        Returns:
            whether they relay now; if not, what is attached is to be cut off.
        """

    def _shaking(self, side: Side, end: RelayEnd) -> Shaking:
        around = self._around
        return Shaking(around.transport.handshake(side, around.random), side, self._scratch, around.executor, end)

    async def _dial(self, protocol: asyncio.BufferedProtocol) -> asyncio.Transport | None:
        """Connect to the destination; None if it does not take the connection."""
        for address in self._around.addresses:
            try:
                async with asyncio.timeout(DIAL_TIMEOUT):
                    transport, _ = await asyncio.get_running_loop().create_connection(lambda: protocol, *address)
            except (OSError, TimeoutError) as error:
                self._refusal = type(error).__name__
            else:
                dialed: socket.socket = transport.get_extra_info("socket")
                dialed.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
                return transport
        return None

    @contextlib.contextmanager
    def _deadline(self, transport: asyncio.Transport) -> Iterator[None]:
        """Cut a connection off at a moment of its own, unless its handshake is done by then."""
        timer = asyncio.get_running_loop().call_later(self._around.draw(*HANDSHAKE_DEADLINE), transport.abort)
        try:
            yield
        finally:
            timer.cancel()


class Server(Service):
    """Undoes the obfuscation, passes on to the destination, and counts (ticket 5047, steps 2 to 5)."""

    def __init__(self, surroundings: Surroundings, recorder: Recorder | None) -> None:
        super().__init__(surroundings)
        self._recorder = recorder

    async def _connect(self, accepted: socket.socket, address: str, near: RelayEnd, far: RelayEnd) -> bool:
        shaking = self._shaking(Side.RESPONDER, near)
        obfuscated = await _adopt(shaking, accepted)
        if obfuscated is None:
            return False
        with self._deadline(obfuscated):
            encryptor, inbound = await shaking.outbound, await shaking.inbound
        if encryptor is None or inbound is None:
            return False
        near.cipher, early = inbound
        far.cipher = encryptor
        clear = await self._dial(far)
        if clear is None or obfuscated.is_closing():
            return False
        if self._recorder is not None:
            self._recorder.record(address, self._around.transport.name)
        _hand_over(obfuscated, near, early, clear)
        return True


class Client(Service):
    """Takes connections in clear and passes them on obfuscated; it counts nothing."""

    async def _connect(self, accepted: socket.socket, address: str, near: RelayEnd, far: RelayEnd) -> bool:  # noqa: ARG002
        with contextlib.ExitStack() as unless_adopted:
            unless_adopted.callback(accepted.close)
            shaking = self._shaking(Side.INITIATOR, far)
            obfuscated = await self._dial(shaking)
            if obfuscated is None:
                return False
            with self._deadline(obfuscated):
                encryptor = await shaking.outbound
            if encryptor is None:
                return False
            near.cipher = encryptor
            unless_adopted.pop_all()
        # Only now is the accepted socket read: what came early waited in the kernel.
        clear = await _adopt(near, accepted)
        if clear is None or obfuscated.is_closing():
            return False
        inbound = await shaking.inbound
        if inbound is None:
            return False
        far.cipher, early = inbound
        _hand_over(obfuscated, far, early, clear)
        return True


def _hand_over(obfuscated: asyncio.Transport, end: RelayEnd, early: bytes, clear: asyncio.Transport) -> None:
    """Let the relay take over a connection whose handshake is done and whose reading is paused."""
    end.pass_on(early)
    obfuscated.set_protocol(end)
    if obfuscated.get_write_buffer_size():
        clear.pause_reading()
    # What is unsent resumes the reading itself once it is gone.
    if not clear.get_write_buffer_size():
        obfuscated.resume_reading()


async def _adopt(protocol: asyncio.BufferedProtocol, accepted: socket.socket) -> asyncio.Transport | None:
    """Put an accepted socket under a protocol; None if it is gone already."""
    try:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, accepted)
    except OSError:
        accepted.close()
        return None
    return transport
