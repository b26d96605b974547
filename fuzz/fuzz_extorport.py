"""Fuzz the extended ORPort, both ends: they answer with events and never raise; whole or byte by byte gives the same.

Run it with libFuzzer's arguments:

    .venv/bin/python -m fuzz.fuzz_extorport -max_total_time=60 [corpus folder]

Noise alone never gets past the hashes. So an input says how much of an honest peer's speech comes first, and noise
follows it:

    byte 0      which end
    byte 1      how many bytes of the honest speech, modulo its length
    byte 2      the size of the reads in the run that is neither whole nor byte by byte
    the rest    noise

Randomness is fixed, so the honest speech is the same in every run.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address

from fuzz.target import run, watched

with watched(__name__, "obfstats.wire"):
    from obfstats.formats.address import ClientAddress
    from obfstats.wire.endpoint import parse_endpoint
    from obfstats.wire.extorport import Asked, ExtOrPortClient, ExtOrPortServer, Granted
    from obfstats.wire.lines import is_name
    from obfstats.wire.machine import Failed, Send

COOKIE = bytes(32)
CLIENT = ClientAddress.parse("2001:db8::1", 5678)
ADDRESS = b"[2001:db8::1]:5678"
OURS, TORS = "our end", "tor's end"
ENDS = (OURS, TORS)


@dataclass
class Outcome:
    """What an end did in all, without how it was cut into events."""

    sent: bytes = b""
    asked: Asked | None = None
    granted: bool = False
    early: bytes = b""
    failure: str | None = None


class _Run:
    """One end from start to end."""

    def __init__(self, end: str) -> None:
        self.outcome = Outcome()
        self.machine: ExtOrPortClient | ExtOrPortServer
        if end == TORS:
            self.machine = ExtOrPortServer(COOKIE, random.Random(2).randbytes)
            self.outcome.sent = b"".join(event.data for event in self.machine.start() if isinstance(event, Send))
        else:
            self.machine = ExtOrPortClient(COOKIE, random.Random(1).randbytes, transport="obfs3", user_address=ADDRESS)

    def take(self, data: bytes) -> None:
        outcome = self.outcome
        if outcome.granted:
            # Bytes after OKAY are for the client.
            assert self.machine.receive(data) == [], "an event after the last"
            outcome.early += data
            return
        for event in self.machine.receive(data):
            assert outcome.failure is None, "an event after Failed"
            assert not outcome.granted, "an event after Granted"
            match event:
                case Send(sent):
                    assert outcome.asked is None, "more is said after Asked"
                    outcome.sent += sent
                case Asked():
                    assert outcome.asked is None, "Asked twice"
                    outcome.asked = event
                case Granted(early=early):
                    outcome.granted, outcome.early = True, early
                case Failed(reason):
                    # Bytes after DONE, with it or later: the client is not let in.
                    outcome.failure, outcome.asked = reason, None


def _run(end: str, stream: bytes, size: int) -> Outcome:
    """Give an end a stream in reads of this size."""
    run = _Run(end)
    for place in range(0, len(stream), size):
        run.take(stream[place : place + size])
    return run.outcome


@cache
def honest_stream(end: str) -> bytes:
    """What an honest peer says to this end, up to OKAY or DONE."""
    client, server = _Run(OURS), _Run(TORS)
    said = heard = 0
    while said < len(server.outcome.sent) or heard < len(client.outcome.sent):
        unread, said = server.outcome.sent[said:], len(server.outcome.sent)
        client.take(unread)
        unread, heard = client.outcome.sent[heard:], len(client.outcome.sent)
        server.take(unread)
    assert server.outcome.asked == Asked(CLIENT, ADDRESS, "obfs3"), "an honest transport was not understood"
    assert isinstance(server.machine, ExtOrPortServer)
    return client.outcome.sent if end == TORS else server.outcome.sent + server.machine.grant()


def check(data: bytes) -> None:
    """Hold one input against the invariant.

    Raises:
        AssertionError: two ways of cutting the stream differ, or events come that must not.
    """
    if len(data) < 3:
        return
    end = ENDS[data[0] % len(ENDS)]
    honest = honest_stream(end)
    stream = honest[: data[1] % (len(honest) + 1)] + data[3:]
    whole = _run(end, stream, max(1, len(stream)))
    assert _run(end, stream, 1) == whole, "byte by byte differs"
    assert _run(end, stream, 1 + data[2]) == whole, "cut in pieces differs"
    if whole.asked is not None:
        _check_asked(whole.asked)
    if stream == honest:
        assert whole.granted or whole.asked == Asked(CLIENT, ADDRESS, "obfs3"), "an honest peer was refused"


def _check_asked(asked: Asked) -> None:
    """See that nothing is passed on that tor would not take."""
    if asked.user_address is not None:
        endpoint = parse_endpoint(asked.user_address.decode())
        assert asked.client == ClientAddress.parse(*endpoint), "another client than tor reads"
        assert endpoint.port, "port 0 was taken"
        assert "%" not in str(ip_address(endpoint.host)), "a zone was taken"
    assert asked.transport is None or is_name(asked.transport), "a name that is none was taken"


if __name__ == "__main__":
    run(check)
