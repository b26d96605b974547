"""UniformDH: two ends agree, keys look random, and any 192 bytes are a key."""

from __future__ import annotations

import threading

import gmpy2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.wire.uniformdh import KeyPair, _power
from tests.wire import naive
from tests.wire.machines import seeded

seeds = st.binary(min_size=32, max_size=32)
LOWEST_BIT = b"\x00" * 31 + b"\x01"


def exponent_of(seed: bytes) -> int:
    """The exponent of a seed: even, and 256 bits long."""
    return int.from_bytes(seed, "big") >> 1 << 1 | 1 << 255


def flip_lowest_bit(seed: bytes) -> bytes:
    """The same exponent with the other side of the coin."""
    return seed[:-1] + bytes([seed[-1] ^ 1])


@given(seeds, seeds)
def test_both_ends_find_the_same_secret(one: bytes, other: bytes) -> None:
    """Whatever is drawn, the two secrets are equal."""
    here, there = KeyPair(one), KeyPair(other)
    assert here.shared_secret(there.public) == there.shared_secret(here.public)


@given(seeds, st.binary(min_size=192, max_size=192))
def test_numbers_are_those_of_plain_arithmetic(seed: bytes, peer_key: bytes) -> None:
    """Public key and secret are what Python's own pow() gives in the group of RFC 3526."""
    pair, exponent = KeyPair(seed), exponent_of(seed)
    power = pow(2, exponent, naive.PRIME)
    assert int.from_bytes(pair.public, "big") == (naive.PRIME - power if seed[-1] & 1 else power)
    assert pair.shared_secret(peer_key) == naive.shared_secret(peer_key, exponent)


@given(seeds, seeds)
def test_secret_does_not_depend_on_the_coin(one: bytes, other: bytes) -> None:
    """X and p - X lead the peer to the same secret."""
    heads, tails, peer = KeyPair(one), KeyPair(flip_lowest_bit(one)), KeyPair(other)
    assert int.from_bytes(heads.public, "big") + int.from_bytes(tails.public, "big") == naive.PRIME
    assert peer.shared_secret(heads.public) == peer.shared_secret(tails.public)
    assert heads.shared_secret(peer.public) == tails.shared_secret(peer.public)


def test_coin_makes_squares_and_others() -> None:
    """Both halves of the numbers below p are sent, so that keys cannot be told by what they are squares of."""
    pairs = [KeyPair(seeded(seed)(32)) for seed in range(40)]
    residues = {gmpy2.legendre(int.from_bytes(pair.public, "big"), naive.PRIME) for pair in pairs}
    assert residues == {1, -1}


def test_worst_randomness_still_makes_a_key() -> None:
    """Zeros make no exponent of zero."""
    assert KeyPair(bytes(32)).public == naive.public_key(1 << 255)
    assert KeyPair(LOWEST_BIT).public == (naive.PRIME - pow(2, 1 << 255, naive.PRIME)).to_bytes(192, "big")


@pytest.mark.parametrize(
    ("number", "secret"),
    [(0, 0), (1, 1), (naive.PRIME - 1, 1), (naive.PRIME, 0), (naive.PRIME + 1, 1)],
    ids=["0", "1", "p-1", "p", "p+1"],
)
def test_degenerate_keys_are_computed_with(number: int, secret: int) -> None:
    """No key is refused, and a small secret still has 192 bytes."""
    shared = KeyPair(seeded(1)(32)).shared_secret(number.to_bytes(192, "big"))
    assert shared == secret.to_bytes(192, "big")


@pytest.mark.skipif(not hasattr(gmpy2, "powmod_sec"), reason="gmpy2 before 2.2 keeps the interpreter's lock")
def test_other_threads_run_during_an_exponentiation() -> None:
    """The interpreter is free meanwhile: this thread, which gives it away at every step, keeps getting it back."""
    worker = threading.Thread(target=_power, args=(gmpy2.mpz(2), gmpy2.mpz(1 << 600_000)))
    worker.start()
    steps = 0
    while worker.is_alive():
        worker.join(0.002)
        steps += 1
    # A worker that holds the interpreter for the whole half second lets this thread step before and after only.
    assert steps > 10
