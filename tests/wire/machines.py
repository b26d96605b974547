"""Machines without a network: two handshakes joined in memory, and reads cut anywhere."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from hypothesis import strategies as st

from obfstats.wire.handshake import InboundReady, OutboundReady, Side
from obfstats.wire.machine import Compute, Failed, Send

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext

    from obfstats.wire.handshake import Transport
    from obfstats.wire.machine import Event, Machine, Random

Cut: TypeAlias = Callable[[bytes], Iterable[bytes]]
"""How the network cuts what one side has sent into reads."""

REQUEST, ANSWER = b"one side's first words" * 20, b"and the other's" * 30

NO_PADDING = b"\x00"
LONGEST_PADDING = b"\xff"


def seeded(seed: int) -> Random:
    """Randomness that a run can repeat."""
    return random.Random(seed).randbytes


def constant(byte: bytes) -> Random:
    """Randomness of one byte: zeros make every padding empty, ones make it the longest there is."""
    return lambda length: byte * length


class End:
    """One end of a connection, with everything that happened to it.

    Attributes:
        events: every event the machine gave, in order.
        outbox: what was sent and not delivered yet.
        plaintext: what the peer sent, deciphered.
        failure: the reason the machine gave for giving up.
        job: the job that waits, where jobs are held back.
    """

    def __init__(self, transport: Transport, side: Side, random: Random, *, hold_jobs: bool = False) -> None:
        self.handshake = transport.handshake(side, random)
        self.events: list[Event] = []
        self.outbox = bytearray()
        self.plaintext = bytearray()
        self.encryptor: CipherContext | None = None
        self.decryptor: CipherContext | None = None
        self.failure: str | None = None
        self.job: Callable[[], object] | None = None
        self._hold_jobs = hold_jobs

    def start(self) -> None:
        """Start the handshake."""
        self._do(self.handshake.start())

    def deliver(self, data: bytes) -> None:
        """Receive bytes from the network."""
        if self.decryptor is not None:
            self.plaintext += self.decryptor.update(data)
        else:
            self._do(self.handshake.receive(data))

    def say(self, plaintext: bytes) -> None:
        """Send data through this end's cipher."""
        assert self.encryptor is not None
        self.outbox += self.encryptor.update(plaintext)

    def take_outbox(self) -> bytes:
        """Remove and return what was sent."""
        sent = bytes(self.outbox)
        self.outbox.clear()
        return sent

    def finish_job(self) -> None:
        """Run the job that was held back."""
        assert self.job is not None
        job, self.job = self.job, None
        self._do(self.handshake.computed(job()))

    @property
    def story(self) -> list[str]:
        """The events' names."""
        return [type(event).__name__ for event in self.events]

    def _do(self, events: list[Event]) -> None:
        for event in events:
            assert self.failure is None, "nothing comes after Failed"
            self.events.append(event)
            match event:
                case Send(data):
                    assert self.encryptor is None, "plain bytes come before OutboundReady"
                    self.outbox += data
                case Compute(job):
                    assert self.job is None, "one job at a time"
                    self.job = job
                    if not self._hold_jobs:
                        self.finish_job()
                case OutboundReady(encryptor):
                    assert self.encryptor is None, "OutboundReady comes once"
                    self.encryptor = encryptor
                case InboundReady(decryptor, early=early):
                    assert self.encryptor is not None, "OutboundReady comes first"
                    assert self.decryptor is None, "InboundReady comes once"
                    self.decryptor = decryptor
                    self.plaintext += decryptor.update(early)
                case Failed(reason):
                    self.failure = reason


def make_ends(transport: Transport, initiator: Random, responder: Random) -> tuple[End, End]:
    """Make both ends of a connection and start them."""
    ends = End(transport, Side.INITIATOR, initiator), End(transport, Side.RESPONDER, responder)
    for end in ends:
        end.start()
    return ends


def whole(data: bytes) -> Iterable[bytes]:
    """One read."""
    return [data]


def single_bytes(data: bytes) -> Iterable[bytes]:
    """A read for each byte."""
    return (data[place : place + 1] for place in range(len(data)))


def cut_by(sizes: Iterable[int]) -> Cut:
    """Cut into reads of these sizes, one after the other over both directions; the rest in one."""
    coming = iter(sizes)

    def cut(data: bytes) -> Iterable[bytes]:
        while data:
            size = next(coming, len(data))
            yield data[:size]
            data = data[size:]

    return cut


def pump(one: End, other: End, cut: Cut = whole) -> None:
    """Move bytes between two ends until neither has anything to send."""
    while one.outbox or other.outbox:
        for source, target in ((one, other), (other, one)):
            for piece in cut(source.take_outbox()):
                target.deliver(piece)


def talk(one: End, other: End) -> None:
    """Send data both ways."""
    one.say(REQUEST)
    pump(one, other)
    other.say(ANSWER)
    pump(one, other)


def hear(machine: Machine, reads: Iterable[bytes]) -> list[Event]:
    """Give a machine one read after the other; return all its events."""
    return [event for read in reads for event in machine.receive(read)]


def sent(events: Iterable[Event]) -> bytes:
    """All that a machine has sent to its peer."""
    return b"".join(event.data for event in events if isinstance(event, Send))


def memory_kept(receive: Callable[[bytes], list[Event]], reads: Iterable[bytes]) -> int:
    """Bytes of memory that a machine keeps of reads that cause no event."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert not any(receive(read) for read in reads)
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


cuts: st.SearchStrategy[Cut] = st.lists(st.integers(1, 400), max_size=60).map(cut_by) | st.just(single_bytes)
"""Any way of cutting, single bytes included."""
