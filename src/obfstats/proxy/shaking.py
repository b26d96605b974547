"""An obfuscated connection until its ciphers are there: drives a handshake of `wire` with a transport of asyncio's.

A responder whose peer does not speak the protocol says nothing and goes on reading into nowhere until a random
deadline that was drawn when the connection came: noise, silence, a broken-off and a late handshake all look the same
from outside. An initiator has nothing to hide from the server it was told to call, and hangs up at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from obfstats.proxy.opening import Opening
from obfstats.wire.handshake import InboundReady, OutboundReady, Side
from obfstats.wire.machine import Compute, Event, Failed, Send

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from cryptography.hazmat.primitives.ciphers import CipherContext

    from obfstats.proxy.relay import RelayEnd, Scratch
    from obfstats.wire.machine import Machine


_Result = TypeVar("_Result")


class Shaking(Opening):
    """One connection's handshake.

    Attributes:
        outbound: becomes the cipher for what is sent; None if the connection was lost before.
        inbound: becomes the cipher for what arrives, with the plaintext that came behind the handshake; None if the
            connection was lost before. Reading is paused from then on, until the transport gets its next protocol;
            uvloop may read on for a moment, and what it reads is added to that plaintext.
        ended: whether the peer has ended its direction behind the handshake.
    """

    __slots__ = (
        "_deaf",
        "_early",
        "_executor",
        "_handshake",
        "_job",
        "_scratch",
        "_side",
        "ended",
        "inbound",
        "outbound",
    )  # fmt: skip

    def __init__(self, handshake: Machine, side: Side, scratch: Scratch, executor: Executor, then: RelayEnd) -> None:
        """Take what a connection needs.

        Args:
            handshake: the transport's machine.
            side: which side it plays.
            scratch: the buffer to read into.
            executor: runs the machine's jobs.
            then: the relay's end that takes over.
        """
        super().__init__(then)
        loop = asyncio.get_running_loop()
        self._handshake = handshake
        self._side = side
        self._scratch = scratch
        self._executor = executor
        self._deaf = False
        self._job: asyncio.Future[object] | None = None
        self.outbound: asyncio.Future[CipherContext | None] = loop.create_future()
        self.inbound: asyncio.Future[tuple[CipherContext, bytearray] | None] = loop.create_future()
        self.ended = False
        self._early: tuple[CipherContext, bytearray] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what this side says unasked."""
        super().connection_made(transport)
        self._obey(self._handshake.start())

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Lend the scratch for one read."""
        return self._scratch.view

    def buffer_updated(self, nbytes: int) -> None:
        """Hand what was read to the handshake, or keep it for whoever comes next."""
        if not self._deaf:
            self._obey(self._handshake.receive(bytes(self._scratch.view[:nbytes])))
        elif self._early is not None and self._transport is not None:
            decryptor, early = self._early
            early += decryptor.update(self._scratch.view[:nbytes])
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Hold the connection open, or hang up on a server that leaves in the middle of a handshake."""
        self.ended = self._early is not None
        return self.ended or self._side is Side.RESPONDER

    def connection_lost(self, exc: Exception | None) -> None:
        """Let whoever waits know."""
        self._deaf = True
        if self._job is not None:
            # What nobody waits for any more must not keep others waiting.
            self._job.cancel()
        _settle(self.outbound, None)
        _settle(self.inbound, None)
        super().connection_lost(exc)

    def _obey(self, events: list[Event]) -> None:
        """Do what the handshake says."""
        if self._transport is None:
            return
        for event in events:
            match event:
                case Send(data):
                    self._transport.write(data)
                case Compute(job):
                    self._transport.pause_reading()
                    self._job = asyncio.get_running_loop().run_in_executor(self._executor, job)
                    self._job.add_done_callback(self._computed)
                case OutboundReady(encryptor):
                    _settle(self.outbound, encryptor)
                case InboundReady(decryptor, early=early):
                    self._deaf = True
                    self._transport.pause_reading()
                    self._early = decryptor, bytearray(decryptor.update(early))
                    _settle(self.inbound, self._early)
                case Failed():
                    self._deaf = True
                    if self._side is Side.INITIATOR:
                        self._transport.abort()

    def _computed(self, future: asyncio.Future[object]) -> None:
        """Go on with what the job returned."""
        self._job = None
        if future.cancelled() or self._transport is None:
            return
        self._transport.resume_reading()
        self._obey(self._handshake.computed(future.result()))


def _settle(future: asyncio.Future[_Result], result: _Result) -> None:
    """Give a future its result, unless nobody waits for it any more."""
    if not future.done():
        future.set_result(result)
