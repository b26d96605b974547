"""Limits on floods: connections in all, a share for each network, the oldest handshake first."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.address import ClientAddress
from obfstats.proxy.limits import Gate, Limits
from obfstats.proxy.privacy import LogFormatter

if TYPE_CHECKING:
    from collections.abc import Callable


def client(address: str) -> ClientAddress:
    """A client at some port of its own."""
    return ClientAddress.parse(address, 40000)


def enter_all(gate: Gate, addresses: list[str]) -> list[bool]:
    """Admit clients one after the other; return which were admitted."""
    return [gate.admit(client(address)) is not None for address in addresses]


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        ("192.0.2.7", "192.0.2.200", "198.51.100.7"),
        ("2001:db8:1:2::7", "2001:db8:1:ffff::1", "2001:db8:2::7"),
        ("192.0.2.7", "::ffff:192.0.2.200", "::ffff:198.51.100.7"),
        ("fe80::1%lo", "fe80::2%lo", "2001:db8::1"),
    ],
)
def test_only_a_network_with_its_share_is_refused(first: str, same: str, other: str) -> None:
    """IPv4 by /24, IPv6 by /48, IPv4-mapped as IPv4."""
    gate = Gate(Limits(network=2))
    assert enter_all(gate, [first, same, same, first, other]) == [True, True, False, False, True]


def test_a_released_share_can_be_used_again() -> None:
    """A connection that closes makes space for its network."""
    gate = Gate(Limits(network=1))
    leave = gate.admit(client("192.0.2.7"))
    assert leave is not None
    assert gate.admit(client("192.0.2.8")) is None
    leave()
    assert gate.admit(client("192.0.2.8")) is not None


def test_without_a_cap_for_networks_one_may_take_all() -> None:
    """As for programs of the same machine."""
    assert all(enter_all(Gate(Limits(network=None)), ["127.0.0.1"] * 100))


def test_a_full_gate_calls_back_once_when_a_connection_closes() -> None:
    """Full at two; the callback runs when one closes, and only once."""
    gate = Gate(Limits(connections=2))
    called: list[str] = []
    leave = gate.admit(client("192.0.2.7"))
    assert leave is not None
    assert not gate.is_full(lambda: called.append("too early"))
    second = gate.admit(client("192.0.2.8"))
    assert second is not None
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
        for name in ("first", "second"):
            stack.enter_context(gate.count_handshake(client("192.0.2.7"), lambda name=name: cut.append(name)))  # type: ignore[misc]
        assert cut == []
        with gate.count_handshake(client("192.0.2.7"), lambda: cut.append("third")):
            assert cut == ["first"]
        stack.enter_context(gate.count_handshake(client("192.0.2.7"), lambda: cut.append("fourth")))
        assert cut == ["first"]
        stack.enter_context(gate.count_handshake(client("192.0.2.7"), lambda: cut.append("fifth")))
    assert cut == ["first", "second"]


def test_refusals_are_reported_once_and_without_an_address() -> None:
    """Numbers, then nothing until the next refusal."""
    gate = Gate(Limits(connections=3, handshakes=1, network=1))
    enter_all(gate, ["192.0.2.7", "192.0.2.8", "192.0.2.9", "198.51.100.1", "203.0.113.1"])
    gate.is_full(lambda: None)
    peer = client("192.0.2.7")
    with gate.count_handshake(peer, lambda: None), gate.count_handshake(peer, lambda: None):
        pass
    said = gate.pop_refusals(LogFormatter(safe=False))
    assert [sentence.split()[0] for sentence in said] == ["connection", "2", "1"]
    assert not any("192.0.2" in sentence for sentence in said)
    assert gate.pop_refusals(LogFormatter(safe=False)) == []


def test_a_flood_from_one_network_closes_its_own_handshakes() -> None:
    """Beyond its share the network loses its own oldest handshake, however long others have been waiting."""
    gate = Gate(Limits(handshakes=8, network=100))
    cut: list[str] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(gate.count_handshake(client("198.51.100.1"), lambda: cut.append("honest")))
        for number in range(5):
            stack.enter_context(gate.count_handshake(client(f"192.0.2.{number}"), partial(cut.append, f"{number}")))
        assert cut == ["0", "1", "2"]
    assert gate._handshakes_by_network == {}


def test_with_safe_logging_numbers_are_rounded_up() -> None:
    """An exact number that grows by one would date a client's visit."""
    gate = Gate(Limits(network=1))
    enter_all(gate, ["192.0.2.7"] * 3)
    assert gate.pop_refusals(LogFormatter(safe=True)) == [
        "8 connections refused: over the limit per network (--max-per-network)"
    ]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=200))
def test_closed_connections_leave_nothing_behind(story: list[tuple[int, bool]]) -> None:
    """Whatever the order of opening and closing: in the end no network is kept, and there is space again."""
    gate = Gate(Limits(connections=5, network=3))
    inside: list[Callable[[], None]] = []
    for network, leaves in story:
        if leaves and inside:
            inside.pop(network % len(inside))()
        elif not gate.is_full(lambda: None):
            leave = gate.admit(client(f"192.0.{network}.1"))
            if leave is not None:
                inside.append(leave)
        assert len(inside) <= 5
    for leave in inside:
        leave()
    assert gate._by_network == {}
    assert all(enter_all(gate, [f"192.0.{network}.1" for network in range(5)]))
