"""A network's share of the connections: whom it refuses, and that filling it does not count the neighbours."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.address import ClientAddress
from obfstats.proxy.shares import KEY_LENGTH, NetworkShares

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = bytes(KEY_LENGTH)
SHARE = 400


def client(address: str) -> ClientAddress:
    """A client at some port of its own."""
    return ClientAddress.parse(address, 40000)


def new_shares(share: int = SHARE, seed: int = 1) -> NetworkShares:
    """Shares with a key and draws of their own."""
    chance = random.Random(seed)
    return NetworkShares(share, chance.randbytes(KEY_LENGTH), chance.uniform)


def fill(shares: NetworkShares, address: str = "192.0.2.7") -> list[Callable[[], None]]:
    """Take until one is refused; return what releases those that were taken."""
    taken = []
    while (release := shares.take(client(address))) is not None:
        taken.append(release)
    return taken


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
    shares = NetworkShares(2, KEY, lambda low, _high: low)
    taken = [shares.take(client(address)) is not None for address in (first, same, same, first, other)]
    assert taken == [True, True, False, False, True]


def test_a_released_share_can_be_used_again() -> None:
    """A connection that closes makes space for its network."""
    shares = NetworkShares(1, KEY, lambda low, _high: low)
    release = shares.take(client("192.0.2.7"))
    assert release is not None
    assert shares.take(client("192.0.2.8")) is None
    release()
    assert shares.take(client("192.0.2.8")) is not None


@given(st.integers(1, 2000), st.integers(0, 1 << 32))
def test_a_network_gets_between_half_of_its_share_and_all(share: int, seed: int) -> None:
    """Whatever is drawn."""
    assert share / 2 <= len(fill(new_shares(share, seed))) <= share


def test_the_limit_differs_between_networks_processes_and_attempts() -> None:
    """So what was taken until the refusal does not tell what others have."""
    shares = new_shares()
    by_network = {len(fill(shares, f"192.0.{number}.7")) for number in range(40)}
    by_process = {len(fill(new_shares(seed=seed))) for seed in range(40)}
    by_attempt = set()
    for _ in range(40):
        taken = fill(shares, "198.51.100.7")
        by_attempt.add(len(taken))
        for release in taken:
            release()
    assert min(len(by_network), len(by_process), len(by_attempt)) > 20


def test_repeating_does_not_find_the_number_itself() -> None:
    """The mean of many attempts differs between keys by more than a tenth of the share."""

    def mean(seed: int) -> float:
        shares, total = new_shares(seed=seed), 0
        for _ in range(100):
            taken = fill(shares)
            total += len(taken)
            for release in taken:
                release()
        return total / 100

    means = [mean(seed) for seed in range(12)]
    assert max(means) - min(means) > SHARE / 10


def test_a_full_network_opens_again_at_a_random_number() -> None:
    """After one has left further ones are refused still, so that a neighbour's leaving does not show at once."""
    gaps = set()
    for seed in range(40):
        shares = new_shares(seed=seed)
        taken = fill(shares)
        gap = 0
        while shares.take(client("192.0.2.7")) is None:
            taken.pop()()
            gap += 1
        gaps.add(gap)
        assert 1 <= gap <= SHARE // 8 + 1
    assert len(gaps) > 15


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=200))
def test_closed_connections_leave_nothing_behind(story: list[tuple[int, bool]]) -> None:
    """Whatever the order of opening and closing: in the end no network is kept."""
    shares = new_shares(share=8)
    inside: list[Callable[[], None]] = []
    for network, leaves in story:
        if leaves and inside:
            inside.pop(network % len(inside))()
        elif (release := shares.take(client(f"192.0.{network}.1"))) is not None:
            inside.append(release)
    for release in inside:
        release()
    assert shares._networks == {}
