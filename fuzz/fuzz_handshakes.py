"""Fuzz the handshakes: they answer with events and never raise; whole or byte by byte gives the same.

Run it with libFuzzer's arguments:

    .venv/bin/python -m fuzz.fuzz_handshakes -max_total_time=60 [corpus folder]

Noise alone never gets past a key exchange. So an input says how much of an honest peer's stream comes first, and noise
follows it: what is tried is any stream that is right up to some byte.

    byte 0      which transport and side
    byte 1, 2   how many bytes of the honest stream, modulo its length
    byte 3      the size of the reads in the run that is neither whole nor byte by byte
    the rest    noise

Randomness is fixed, so the honest stream is the same in every run. No shared secret here: its 100,000 hashes would be
all that is fuzzed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


from fuzz.target import run, watched

with watched(__name__, "obfstats.wire"):
    from obfstats.wire.handshake import InboundReady, OutboundReady, Side
    from obfstats.wire.machine import Compute, Event, Failed, Send
    from obfstats.wire.transports import TRANSPORTS, make_transport

HONEST_DATA = bytes(100)
TARGETS = [(name, side) for name in TRANSPORTS for side in Side]


@dataclass
class Outcome:
    """What a handshake did in all, without how it was cut into events."""

    sent: bytes = b""
    outbound: bool = False
    inbound: bool = False
    heard: bytes = b""
    failure: str | None = None


class _Run:
    """One handshake from start to end."""

    def __init__(self, name: str, side: Side, seed: int, *, hold_jobs: bool = False) -> None:
        self.outcome = Outcome()
        self._machine = make_transport(name).handshake(side, random.Random(seed).randbytes)
        self._hold_jobs = hold_jobs
        self._job: Callable[[], object] | None = None
        self._encrypt: Callable[[bytes], bytes] | None = None
        self._decrypt: Callable[[bytes], bytes] | None = None
        self._do(self._machine.start())

    def take(self, data: bytes) -> None:
        if self._decrypt is not None:
            self.outcome.heard += self._decrypt(data)
        else:
            self._do(self._machine.receive(data))

    def say(self, data: bytes) -> bytes:
        assert self._encrypt is not None
        return self._encrypt(data)

    def finish_jobs(self) -> None:
        while self._job is not None:
            job, self._job = self._job, None
            self._do(self._machine.computed(job()))

    def _do(self, events: list[Event]) -> None:
        outcome = self.outcome
        for event in events:
            assert outcome.failure is None, "an event after Failed"
            match event:
                case Send(data):
                    assert not outcome.outbound, "plain bytes after OutboundReady"
                    outcome.sent += data
                case Compute(job):
                    assert self._job is None, "two jobs at once"
                    self._job = job
                case OutboundReady(encryptor):
                    assert not outcome.outbound, "OutboundReady twice"
                    outcome.outbound, self._encrypt = True, encryptor.update
                case InboundReady(decryptor, early=early):
                    assert outcome.outbound, "InboundReady before OutboundReady"
                    assert not outcome.inbound, "InboundReady twice"
                    outcome.inbound, self._decrypt = True, decryptor.update
                    outcome.heard += decryptor.update(early)
                case Failed(reason):
                    outcome.failure = reason
        if not self._hold_jobs:
            self.finish_jobs()


def _run(name: str, side: Side, stream: bytes, size: int, *, hold_jobs: bool = False) -> Outcome:
    """Give a machine a stream in reads of this size; where jobs are held back they are done after the last read."""
    run = _Run(name, side, 1, hold_jobs=hold_jobs)
    for place in range(0, len(stream), size):
        run.take(stream[place : place + size])
    run.finish_jobs()
    return run.outcome


@cache
def honest_stream(name: str, side: Side) -> bytes:
    """What an honest peer says to the machine that plays `side`, data included."""
    machine, peer = _Run(name, side, 1), _Run(name, side.peer, 2)
    said = heard = 0
    while said < len(peer.outcome.sent) or heard < len(machine.outcome.sent):
        unread, heard = machine.outcome.sent[heard:], len(machine.outcome.sent)
        peer.take(unread)
        unread, said = peer.outcome.sent[said:], len(peer.outcome.sent)
        machine.take(unread)
    assert machine.outcome.inbound, "an honest peer was not recognised"
    return peer.outcome.sent + peer.say(HONEST_DATA)


def check(data: bytes) -> None:
    """Hold one input against the invariant.

    Raises:
        AssertionError: two ways of cutting the stream differ, or events come in an order they must not.
    """
    if len(data) < 4:
        return
    name, side = TARGETS[data[0] % len(TARGETS)]
    honest = honest_stream(name, side)
    stream = honest[: int.from_bytes(data[1:3], "big") % (len(honest) + 1)] + data[4:]
    whole = _run(name, side, stream, max(1, len(stream)))
    assert _run(name, side, stream, 1) == whole, "byte by byte differs"
    assert _run(name, side, stream, 1 + data[3]) == whole, "cut in pieces differs"
    assert _run(name, side, stream, 1 + data[3], hold_jobs=True) == whole, "a late job differs"
    if stream.startswith(honest):
        assert whole.heard.startswith(HONEST_DATA), "honest data was not read"


if __name__ == "__main__":
    run(check)
