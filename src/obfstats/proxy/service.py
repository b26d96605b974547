"""The steps of a connection, the same for every transport: accepted, handshake done, forwarded, relayed.

A coroutine brings a connection up to its relay and ends there, so an idle connection costs no task.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from obfstats.proxy.driver import MachineDriver
from obfstats.proxy.relay import RelayEnd, Scratch
from obfstats.proxy.totals import Totals
from obfstats.wire.handshake import Side

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    from obfstats.formats.address import ClientAddress
    from obfstats.proxy.driver import RunJob
    from obfstats.proxy.handshakes import Handshakes
    from obfstats.proxy.limits import Gate
    from obfstats.proxy.privacy import LogFormatter
    from obfstats.proxy.shares import NetworkShares
    from obfstats.wire.handshake import Transport
    from obfstats.wire.machine import Random

HANDSHAKE_DEADLINE = (30.0, 60.0)
"""Seconds within which a handshake must be done; each connection draws its own, so that no prober learns it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Context:
    """Randomness, executor, limits, log format and totals, shared by all services of a program.

    Attributes:
        gate: admits connections.
        shares: limits the connections of each network.
        handshakes: counts clients' handshakes, and runs their costly steps in turn.
        executor: runs costly steps.
        random: returns that many random bytes.
        draw: returns a random number between two.
        formatter: formats addresses and numbers for the log.
        totals: what was relayed and refused.
    """

    gate: Gate
    shares: NetworkShares
    handshakes: Handshakes
    executor: Executor
    random: Random
    draw: Callable[[float, float], float]
    formatter: LogFormatter
    totals: Totals = field(default_factory=Totals)


class OutcomeLog:
    """Logs the outcome of a service's connections: each one at level info, failures as sums at level warning."""

    def __init__(self, name: str, formatter: LogFormatter) -> None:
        """Set up.

        Args:
            name: of the service, for reports.
            formatter: formats addresses and numbers for the log.
        """
        self._name = name
        self._formatter = formatter
        self._failures: Counter[str] = Counter()

    def log_failure(self, client: ClientAddress, destination: str, reason: str) -> None:
        """Count a connection that could not be forwarded, and log it at level info."""
        self._failures[reason] += 1
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s: connection to %s failed: %s", self._formatter.address(client), destination, reason)

    def log_success(self, client: ClientAddress, transport: str, destination: str) -> None:
        """Log, in the words of the C program, that a client was forwarded."""
        if _log.isEnabledFor(logging.INFO):
            _log.info(
                "%s (%s): Successful outbound connection to '%s'.",
                self._formatter.address(client),
                transport,
                destination,
            )

    def log_summary(self) -> None:
        """Log how many connections have failed since the last report, and why."""
        for reason, times in self._failures.items():
            number = self._formatter.number(times)
            _log.warning("%s: %d connection(s) could not be passed on (%s)", self._name, number, reason)
        self._failures.clear()


class Service(ABC):
    """One side of one transport."""

    def __init__(self, context: Context, name: str) -> None:
        """Set up.

        Args:
            context: shared by all services.
            name: the transport's.
        """
        self.name = name
        self._context = context
        self._scratch = Scratch(context.totals)
        self._open: set[RelayEnd] = set()
        self._tasks: dict[RelayEnd, asyncio.Task[None]] = {}
        self._outcomes = OutcomeLog(name, context.formatter)

    def handle(self, accepted: socket.socket, peer: ClientAddress, on_closed: Callable[[], None]) -> None:
        """Serve a connection.

        Args:
            accepted: its socket, not blocking.
            peer: its other end.
            on_closed: called once, when the connection is closed.
        """
        # The ends are joined from the start: however the connection ends, they report it.
        near, far = RelayEnd(self._scratch), RelayEnd(self._scratch)

        def on_both_closed() -> None:
            self._open.discard(near)
            task = self._tasks.get(near)
            if task is None:
                on_closed()
            else:
                # While the far end is still being opened, the connection takes a slot.
                task.add_done_callback(lambda _: on_closed())

        near.join(far, on_both_closed)
        self._open.add(near)
        self._tasks[near] = asyncio.get_running_loop().create_task(self._serve(accepted, peer, near, far))
        self._tasks[near].add_done_callback(lambda _: self._tasks.pop(near))

    def log_summary(self) -> None:
        """Log what has failed since the last report."""
        self._outcomes.log_summary()

    def close_all(self) -> None:
        """Close every connection at once; transports report it in the loop's next iteration."""
        for task in self._tasks.values():
            task.cancel()
        for near in list(self._open):
            near.abort()

    async def _serve(self, accepted: socket.socket, client: ClientAddress, near: RelayEnd, far: RelayEnd) -> None:
        """Bring a connection to its relay, or close it."""
        is_relayed = False
        try:
            is_relayed = await self._connect(accepted, client, near, far)
        finally:
            if not is_relayed:
                near.abort()
                # If the near end was lost first, the far one is not joined to it any more.
                far.abort()

    @abstractmethod
    async def _connect(self, accepted: socket.socket, client: ClientAddress, near: RelayEnd, far: RelayEnd) -> bool:
        """Attach both ends and let them relay.

        Args:
            accepted: the accepted socket.
            client: its other end.
            near: the end on the accepted side.
            far: the end on the destination's side.

        Returns:
            whether they relay now; if not, whatever is attached is closed.
        """

    def _drive_handshake(self, transport: Transport, side: Side, end: RelayEnd, run_job: RunJob) -> MachineDriver:
        """Make the driver of one connection's handshake."""
        machine = transport.handshake(side, self._context.random)
        return MachineDriver(machine, end, run_job, is_silent=side is Side.RESPONDER)

    @contextlib.contextmanager
    def _deadline(self, transport: asyncio.Transport) -> Iterator[None]:
        """Close a connection at a random moment, unless the block ends before."""
        timer = asyncio.get_running_loop().call_later(self._context.draw(*HANDSHAKE_DEADLINE), transport.abort)
        try:
            yield
        finally:
            timer.cancel()


async def adopt(protocol: asyncio.BaseProtocol, accepted: socket.socket) -> asyncio.Transport | None:
    """Make a transport of an accepted socket; None if the connection is lost already."""
    try:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, accepted)
    except OSError:
        accepted.close()
        return None
    return transport
