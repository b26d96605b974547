"""Limits on floods: connections in all, the oldest handshake first."""

from __future__ import annotations

import contextlib
from functools import partial

from obfstats.formats.address import ClientAddress
from obfstats.proxy.limits import Gate, Limits
from obfstats.proxy.privacy import LogFormatter


def client(address: str) -> ClientAddress:
    """A client at some port of its own."""
    return ClientAddress.parse(address, 40000)


def test_a_full_gate_calls_back_once_when_a_connection_closes() -> None:
    """Full at two; the callback runs when one closes, and only once."""
    gate = Gate(Limits(connections=2))
    called: list[str] = []
    leave = gate.admit()
    assert not gate.is_full(lambda: called.append("too early"))
    second = gate.admit()
    assert gate.is_full(lambda: called.append("now"))
    leave()
    assert called == ["now"]
    second()
    assert called == ["now"]


def test_one_handshake_too_many_closes_the_oldest() -> None:
    """New ones go on; finished ones do not count."""
    gate = Gate(Limits(handshakes=2))
    cut: list[str] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(gate.count_handshake(client("198.51.100.7"), lambda: cut.append("first")))
        stack.enter_context(gate.count_handshake(client("203.0.113.7"), lambda: cut.append("second")))
        assert cut == []
        with gate.count_handshake(client("192.0.1.7"), lambda: cut.append("third")):
            assert cut == ["first"]
        stack.enter_context(gate.count_handshake(client("192.0.3.7"), lambda: cut.append("fourth")))
        assert cut == ["first"]
        stack.enter_context(gate.count_handshake(client("192.0.4.7"), lambda: cut.append("fifth")))
    assert cut == ["first", "second"]


def test_refusals_are_reported_once_and_without_an_address() -> None:
    """Numbers, then nothing until the next refusal."""
    gate = Gate(Limits(connections=1, handshakes=1))
    gate.admit()
    gate.is_full(lambda: None)
    peer = client("192.0.2.7")
    with gate.count_handshake(peer, lambda: None), gate.count_handshake(peer, lambda: None):
        pass
    said = gate.pop_refusals(LogFormatter(safe=False))
    assert [sentence.split()[0] for sentence in said] == ["connection", "1"]
    assert not any("192.0.2" in sentence for sentence in said)
    assert gate.pop_refusals(LogFormatter(safe=False)) == []


def test_a_flood_from_one_network_closes_its_own_handshakes() -> None:
    """Beyond its share the network loses its own oldest handshake, however long others have been waiting."""
    gate = Gate(Limits(handshakes=8))
    cut: list[str] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(gate.count_handshake(client("198.51.100.1"), lambda: cut.append("honest")))
        for number in range(5):
            stack.enter_context(gate.count_handshake(client(f"192.0.2.{number}"), partial(cut.append, f"{number}")))
        assert cut == ["0", "1", "2"]
    assert gate._handshakes_by_network == {}


def test_with_safe_logging_numbers_are_rounded_up() -> None:
    """An exact number that grows by one would date a client's visit."""
    gate = Gate(Limits(handshakes=1))
    peer = client("192.0.2.7")
    with gate.count_handshake(peer, lambda: None), gate.count_handshake(peer, lambda: None):
        pass
    assert gate.pop_refusals(LogFormatter(safe=True)) == [
        "8 unfinished handshakes closed: over the limit (--max-handshakes)"
    ]
