"""The one shape of every protocol here: a machine that takes bytes and returns events. It does no IO.

The owner of the connection calls `start` once, then `receive` with every read, cut anywhere, and acts on the returned
events in their order:

    Send(data)          write these bytes to the peer
    Compute(job)        call job() on any thread and pass its result to `computed`; pause reading until then
    Finished(early)     the exchange is complete; `early` is what the peer has sent after it. What arrives from now on
                        belongs to the caller. Each protocol has its own subclass
    Failed(reason)      the peer does not speak this protocol, or one side refuses the other: close the connection
    any other event     a result before the end; its protocol describes it

Rules:

- Nothing follows Finished or Failed. The machine drops its keys, secrets and addresses with that event, and ignores
  further input.
- A machine holds a bounded number of bytes: MAX_HELD, or one read if that is longer, while a job runs; at most a few
  hundred otherwise, where its module names no other number.
- Jobs are pure functions: they touch no machine, draw no random bytes, and may run on any thread.
- Reasons are fixed texts: no byte of the peer's is ever in one.
- Randomness is passed in as a function, so that an exchange can be replayed.

A protocol is written as a script: a generator that follows the exchange from top to bottom. It yields events, or None
where it needs more bytes than it holds, and ends by yielding Finished or raising ProtocolError.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

MAX_HELD = 1 << 20
"""Bytes a machine holds while a job runs: several of the largest reads. A caller that pauses never gets there."""

Random: TypeAlias = Callable[[int], bytes]
"""Returns as many random bytes as it is asked for."""


class Event:
    """What a machine returns."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Send(Event):
    """Bytes to write to the peer."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Compute(Event):
    """A costly pure function to call on any thread; its result goes to `computed`."""

    job: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Finished(Event):
    """The exchange is complete. `early` is what the peer has sent after it, as it arrived."""

    early: bytes = field(repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """The exchange has failed. `reason` is a fixed text."""

    reason: str


Script: TypeAlias = Generator[Event | None, Any, None]
"""One run of a protocol. It is sent None, or a job's result in return for its Compute."""


class ProtocolError(Exception):
    """Raised by a script: the exchange has failed.

    Attributes:
        reason: a fixed text.
        answer: what the peer is sent before the connection is closed.
    """

    def __init__(self, reason: str, *, answer: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.answer = answer


class Machine:
    """Runs one script over one connection."""

    __slots__ = ("_held", "_is_computing", "_script")

    def __init__(self, script: Callable[[bytearray], Script]) -> None:
        """Set up; nothing runs before `start` or `receive`.

        Args:
            script: begins a run that consumes the bytes of the given buffer.
        """
        self._held = bytearray()
        self._script: Script | None = script(self._held)
        self._is_computing = False

    def start(self) -> list[Event]:
        """Return what this side sends unasked, or the job that comes before it. Call it once, first."""
        return self._run(None)

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes that the peer has sent."""
        if self._script is None:
            return []
        if not self._is_computing:
            self._held += data
            return self._run(None)
        if len(self._held) + len(data) > MAX_HELD:
            self.end()
            return [Failed("more bytes than fit arrived while the keys were computed")]
        self._held += data
        return []

    def computed(self, result: object) -> list[Event]:
        """Take the result of the last Compute's job."""
        if not self._is_computing:
            return []
        self._is_computing = False
        return self._run(result)

    def end(self) -> None:
        """Drop everything held, and ignore further input."""
        self._script = None
        self._held = bytearray()
        self._is_computing = False

    def _run(self, result: object) -> list[Event]:
        events: list[Event] = []
        if self._script is None:
            return events
        try:
            while (event := self._script.send(result)) is not None:
                events.append(event)
                result = None
                if isinstance(event, Compute):
                    self._is_computing = True
                    break
                if isinstance(event, Finished):
                    self.end()
                    break
        except ProtocolError as error:
            events += [Send(error.answer), Failed(error.reason)] if error.answer else [Failed(error.reason)]
            self.end()
        return events


def read_exactly(held: bytearray, length: int) -> Generator[None, Any, bytes]:
    """Part of a script: take so many bytes from the buffer's start, waiting until they are there."""
    while len(held) < length:
        yield None
    data = bytes(held[:length])
    del held[:length]
    return data
