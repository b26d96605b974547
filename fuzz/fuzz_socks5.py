"""Fuzz the SOCKS5 server: it answers with events and never raises; whole or byte by byte gives the same.

Run it with libFuzzer's arguments:

    .venv/bin/python -m fuzz.fuzz_socks5 -max_total_time=60 [corpus folder]

An input says how much of an honest client's speech comes first, and noise follows it:

    byte 0      which honest client
    byte 1      how many bytes of its speech, modulo its length
    byte 2      the size of the reads in the run that is neither whole nor byte by byte
    the rest    noise
"""

from __future__ import annotations

from dataclasses import dataclass

from fuzz.target import run, watched
from peers.arguments import write_arguments

with watched(__name__, "obfstats.wire"):
    from obfstats.wire.arguments import parse_arguments
    from obfstats.wire.endpoint import parse_endpoint
    from obfstats.wire.machine import Failed, Send
    from obfstats.wire.socks5 import Request, Socks5

# Without and with arguments; to an IPv4 address, an IPv6 address and a name.
HONEST = (
    b"\x05\x01\x00" + b"\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb",
    b"\x05\x02\x00\x02" + b"\x01\x03a=b\x01\x00" + b"\x05\x01\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x01\xbb",
    b"\x05\x01\x02" + b"\x01\x03a=b\x04;c=d" + b"\x05\x01\x00\x03\x0ebridge.example\x01\xbb",
)


@dataclass
class Outcome:
    """What the server did in all, without how it was cut into events."""

    sent: bytes = b""
    request: Request | None = None
    early: bytes = b""
    failure: str | None = None


def _run(stream: bytes, size: int) -> Outcome:
    """Give the server a stream in reads of this size."""
    socks, outcome = Socks5(), Outcome()
    for place in range(0, len(stream), size):
        read = stream[place : place + size]
        events = socks.receive(read)
        if outcome.request is not None:
            assert not events, "an event after Request"
            outcome.early += read
        for event in events:
            assert outcome.failure is None, "an event after Failed"
            assert outcome.request is None, "an event after Request"
            match event:
                case Send(data):
                    outcome.sent += data
                case Request(endpoint, arguments, early=early):
                    outcome.request, outcome.early = Request(endpoint, arguments, early=b""), early
                case Failed(reason):
                    outcome.failure = reason
    return outcome


def check(data: bytes) -> None:
    """Hold one input against the invariant.

    Raises:
        AssertionError: two ways of cutting the stream differ, or a request comes that must not.
    """
    if len(data) < 3:
        return
    honest = HONEST[data[0] % len(HONEST)]
    stream = honest[: data[1] % (len(honest) + 1)] + data[3:]
    whole = _run(stream, max(1, len(stream)))
    assert _run(stream, 1) == whole, "byte by byte differs"
    assert _run(stream, 1 + data[2]) == whole, "cut in pieces differs"
    if whole.request is not None:
        _check_request(whole.request)
        assert stream.endswith(whole.early), "early data is not what came last"
    if stream.startswith(honest):
        assert whole.request is not None, "an honest client was refused"
        assert whole.early == stream[len(honest) :], "early data is lost"


def _check_request(request: Request) -> None:
    """See that only what can be written can be asked for."""
    assert parse_endpoint(str(request.endpoint)) == request.endpoint, "no endpoint"
    assert request.endpoint.port, "port 0"
    assert parse_arguments(write_arguments(request.arguments)) == request.arguments, "arguments are not the same"


if __name__ == "__main__":
    run(check)
