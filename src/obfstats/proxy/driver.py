"""The driver: moves bytes between a machine of `wire` and a connection of asyncio's, until the relay takes over.

Rules:

- The relay's end is attached from the start: it stops the other end's reading while this one's peer is slow, and closes
  the other end when this connection is lost. So a connection that ends at any stage gives its slot back.
- After the machine has finished, reading is paused. uvloop may deliver one more read, and the peer may end its
  direction: both are kept for the relay.
- A responder's handshake that has failed sends nothing and stays open, and what arrives is dropped, until a random
  deadline: noise, silence, a broken-off and a late handshake look the same from outside. Any other machine that fails
  ends the waiting for its results, and the service closes the connection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar, cast

from obfstats.wire.machine import Compute, Event, Failed, Finished, Send

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from typing import TypeAlias

    from obfstats.proxy.relay import RelayEnd
    from obfstats.wire.machine import Machine

    Job: TypeAlias = Callable[[], object]
    OnDone: TypeAlias = Callable[[asyncio.Future[object]], None]
    RunJob: TypeAlias = Callable[[Job, OnDone], None]
    """Runs a job on another thread, and passes its future to `OnDone` on the loop's thread."""

_Event = TypeVar("_Event", bound=Event)


def run_on(executor: Executor | None) -> RunJob:
    """Return what runs a machine's jobs on an executor; on the loop's own one if None."""

    def run_job(job: Job, on_done: OnDone) -> None:
        asyncio.get_running_loop().run_in_executor(executor, job).add_done_callback(on_done)

    return run_job


class MachineDriver(asyncio.BufferedProtocol):
    """Runs a machine over one connection.

    Attributes:
        end: the relay's end that takes over.
        failure: why the machine has failed, a fixed text; None if it has not.
        is_hung_up: whether the peer has closed the connection before the machine finished.
    """

    __slots__ = (
        "_early",
        "_has_ended",
        "_is_silent",
        "_machine",
        "_no_more_results",
        "_results",
        "_run_job",
        "_transport",
        "_waiter",
        "end",
        "failure",
        "is_hung_up",
    )

    def __init__(
        self, machine: Machine, end: RelayEnd, run_job: RunJob | None = None, *, is_silent: bool = False
    ) -> None:
        """Set up.

        Args:
            machine: speaks the protocol.
            end: the relay's end that takes over.
            run_job: runs the machine's jobs; the loop's own executor if None.
            is_silent: whether the peer must not notice that the machine has failed.
        """
        self._machine = machine
        self.end = end
        self._run_job = run_job or run_on(None)
        self._is_silent = is_silent
        self._transport: asyncio.Transport | None = None
        self._results: list[Event] = []
        self._waiter: asyncio.Future[None] | None = None
        # What has arrived after the machine has finished; None before.
        self._early: bytearray | None = None
        self._has_ended = self._no_more_results = False
        self.failure: str | None = None
        self.is_hung_up = False

    async def result(self, kind: type[_Event]) -> _Event | None:
        """Wait for an event of the machine; None if there can be none any more."""
        while True:
            for event in self._results:
                if isinstance(event, kind):
                    return event
            if self._no_more_results:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def fail(self, reason: str) -> None:
        """Behave as if the machine had failed, although it has finished; return when the connection is lost.

        Args:
            reason: why, a fixed text.
        """
        self.failure = reason
        self._results.clear()
        if self._transport is not None:
            self._transport.resume_reading()
        await self.result(Finished)

    def hand_over(self) -> None:
        """Let the relay's end take over, once the machine has finished."""
        self.end.take_over(bytes(self._early or b""), has_ended=self._has_ended)

    def hand_over_to(self, successor: MachineDriver) -> None:
        """Let another driver take over, once the machine has finished."""
        transport = self._transport
        if transport is None:
            return
        transport.set_protocol(successor)
        successor.connection_made(transport)
        successor._receive(bytes(self._early or b""))
        if self._has_ended and not successor.eof_received():
            transport.close()
        transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what the machine sends unasked."""
        self._transport = cast("asyncio.Transport", transport)
        self.end.attach(self._transport)
        self._act(self._machine.start())

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the loop's scratch buffer for one read."""
        return self.end.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """Pass what was read to the machine, or keep it for the relay."""
        if self.failure is None:
            self._receive(bytes(self.end.scratch.view[:nbytes]))

    def eof_received(self) -> bool:
        """Keep the connection open for the other direction, or close it where the machine has not finished."""
        if self._early is not None:
            self._has_ended = True
        elif not self._is_silent:
            self.is_hung_up = True
            self._end_waiting()
            return False
        return True

    def pause_writing(self) -> None:
        """Pass on that the peer is slow."""
        self.end.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the peer has caught up."""
        self.end.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the waiting for results, and pass on that the connection is lost."""
        self._transport = None
        if exc is not None and self._early is None:
            self.is_hung_up = True
        self._end_waiting()
        self.end.connection_lost(exc)

    def _receive(self, data: bytes) -> None:
        if self._early is None:
            self._act(self._machine.receive(data))
        elif self._transport is not None:
            self._early += data
            self._transport.pause_reading()

    def _act(self, events: list[Event]) -> None:
        for event in events:
            if self._transport is None:
                return
            match event:
                case Send(data):
                    self._transport.write(data)
                case Compute(job):
                    self._transport.pause_reading()
                    self._run_job(job, self._computed)
                case Failed(reason):
                    self.failure = reason
                    if not self._is_silent:
                        self._end_waiting()
                case _:
                    if isinstance(event, Finished):
                        self._transport.pause_reading()
                        self._early = bytearray(event.early)
                    self._results.append(event)
                    self._wake()

    def _computed(self, job: asyncio.Future[object]) -> None:
        """Go on with a job's result."""
        if not job.cancelled() and self._transport is not None:
            self._transport.resume_reading()
            self._act(self._machine.computed(job.result()))

    def _end_waiting(self) -> None:
        """Wake the waiter: there will be no further result."""
        self._no_more_results = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
