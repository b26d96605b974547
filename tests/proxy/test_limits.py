"""What a flood may take: room for everybody, a share for each network, the oldest handshake first."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.address import ClientAddress
from obfstats.proxy.limits import Gate, Limits
from obfstats.proxy.privacy import Show

if TYPE_CHECKING:
    from collections.abc import Callable


def client(address: str) -> ClientAddress:
    """A client at some port of its own."""
    return ClientAddress.parse(address, 40000)


def enter_all(gate: Gate, addresses: list[str]) -> list[bool]:
    """Let clients in, one after the other; tells who got in."""
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
def test_a_network_with_its_share_is_turned_away_and_others_are_not(first: str, same: str, other: str) -> None:
    """IPv4 by /24, IPv6 by /48, IPv4-mapped as IPv4."""
    gate = Gate(Limits(network=2))
    assert enter_all(gate, [first, same, same, first, other]) == [True, True, False, False, True]


def test_a_share_that_is_given_back_can_be_had_again() -> None:
    """Who leaves makes room for the same network."""
    gate = Gate(Limits(network=1))
    leave = gate.admit(client("192.0.2.7"))
    assert leave is not None
    assert gate.admit(client("192.0.2.8")) is None
    leave()
    assert gate.admit(client("192.0.2.8")) is not None


def test_without_a_cap_for_networks_one_may_take_all() -> None:
    """As for the programs of the same machine."""
    assert all(enter_all(Gate(Limits(network=None)), ["127.0.0.1"] * 100))


def test_whoever_waits_for_room_is_called_once_there_is() -> None:
    """Full at two; the one who asked is called when one leaves, and only once."""
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


def test_one_handshake_too_many_cuts_off_the_oldest() -> None:
    """The newcomers go on; a handshake that is done is none any more."""
    gate = Gate(Limits(handshakes=2))
    cut: list[str] = []
    with contextlib.ExitStack() as stack:
        for name in ("first", "second"):
            stack.enter_context(gate.handshake(client("192.0.2.7"), lambda name=name: cut.append(name)))  # type: ignore[misc]
        assert cut == []
        with gate.handshake(client("192.0.2.7"), lambda: cut.append("third")):
            assert cut == ["first"]
        stack.enter_context(gate.handshake(client("192.0.2.7"), lambda: cut.append("fourth")))
        assert cut == ["first"]
        stack.enter_context(gate.handshake(client("192.0.2.7"), lambda: cut.append("fifth")))
    assert cut == ["first", "second"]


def test_what_was_shed_is_said_once_and_without_an_address() -> None:
    """Numbers, then nothing until something new happens."""
    gate = Gate(Limits(connections=3, handshakes=1, network=1))
    enter_all(gate, ["192.0.2.7", "192.0.2.8", "192.0.2.9", "198.51.100.1", "203.0.113.1"])
    gate.is_full(lambda: None)
    with gate.handshake(client("192.0.2.7"), lambda: None), gate.handshake(client("192.0.2.7"), lambda: None):
        pass
    said = gate.report(Show(safe=False))
    assert [sentence.split()[0] for sentence in said] == ["all", "2", "1"]
    assert not any("192.0.2" in sentence for sentence in said)
    assert gate.report(Show(safe=False)) == []


def test_a_flood_from_one_network_cuts_off_itself() -> None:
    """Beyond its share the network's own oldest handshake goes, however many others have been waiting for longer."""
    gate = Gate(Limits(handshakes=8, network=100))
    cut: list[str] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(gate.handshake(client("198.51.100.1"), lambda: cut.append("honest")))
        for number in range(5):
            stack.enter_context(gate.handshake(client(f"192.0.2.{number}"), partial(cut.append, f"{number}")))
        assert cut == ["0", "1", "2"]
    assert gate._handshakes_by_network == {}


def test_with_safe_logging_numbers_are_rounded_up() -> None:
    """An exact number that grows by one would date somebody's coming."""
    gate = Gate(Limits(network=1))
    enter_all(gate, ["192.0.2.7"] * 3)
    assert gate.report(Show(safe=True)) == ["8 connections turned away: their network had its share already"]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=200))
def test_nothing_is_left_of_those_who_are_gone(story: list[tuple[int, bool]]) -> None:
    """Whoever comes and goes in whatever order: in the end no network is remembered, and there is room again."""
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
