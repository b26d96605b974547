"""The bounded count of clients: exact while there are few, close when there are many, gone when it is wiped."""

from __future__ import annotations

import ctypes
import random
from hashlib import blake2b
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.record.sketch import SIZE, Sketch

if TYPE_CHECKING:
    from collections.abc import Iterable

# The standard error of k minimum values is n / sqrt(k - 2).
SIGMA: float = (SIZE - 2) ** -0.5

digests = st.integers(0, 2**160 - 1).map(lambda number: f"{number:040x}")
edges = st.sampled_from(["0" * 40, "f" * 40, "0" * 16 + "1" * 24, "0" * 15 + "1" + "0" * 24])


def digest_of(client: int, seed: int = 0) -> str:
    """A client's hash as the log has it, under a secret that is the same at every run."""
    return blake2b(client.to_bytes(4, "big"), digest_size=20, key=seed.to_bytes(32, "big")).hexdigest()


def sketch_of(clients: Iterable[str]) -> Sketch:
    """Take clients in as a recorder does: only those below the bound."""
    sketch = Sketch()
    bound = sketch.bound
    for digest in clients:
        if digest < bound:
            bound = sketch.add(digest)
            assert bound == sketch.bound
    return sketch


def memory_of(sketch: Sketch) -> bytes:
    """The bytes of its array."""
    address, length = sketch._numbers.buffer_info()
    return ctypes.string_at(address, length * sketch._numbers.itemsize)


def close(number: int, clients: int) -> bool:
    """Tell whether an estimate is within four standard errors."""
    return abs(number - clients) <= 4 * SIGMA * clients


@given(clients=st.integers(0, SIZE - 1), again=st.lists(st.integers(0, SIZE), max_size=50), order=st.integers(0, 2**32))
@settings(max_examples=60)
def test_fewer_than_1024_clients_are_counted_exactly(clients: int, again: list[int], order: int) -> None:
    """However often each connects, in any order."""
    visits = [digest_of(client) for client in [*range(clients), *(client for client in again if client < clients)]]
    random.Random(order).shuffle(visits)
    assert sketch_of(visits).estimate() == clients


@given(st.lists(digests | edges, max_size=60))
def test_any_digest_counts_once(visits: list[str]) -> None:
    """All zeros and all ones too; a digest is its first 64 bits."""
    assert sketch_of(visits).estimate() == len({digest[:16] for digest in visits})


@given(clients=st.integers(SIZE - 2, SIZE + 200), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_it_keeps_the_smallest_numbers_in_order(clients: int, seed: int) -> None:
    """The array has what sorting all of them would put first."""
    visits = [digest_of(client, seed) for client in range(clients)]
    sketch = sketch_of(visits * 2)
    expected = sorted(int(digest[:16], 16) for digest in visits)[:SIZE]
    assert sketch._numbers[: len(expected)].tolist() == expected


@pytest.mark.parametrize("clients", [SIZE, SIZE + 1, 1500, 5000, 40_000])
@pytest.mark.parametrize("seed", range(4))
def test_more_are_estimated_within_four_standard_errors(clients: int, seed: int) -> None:
    """And never below what is certain."""
    estimate = sketch_of(digest_of(client, seed) for client in range(clients)).estimate()
    assert close(estimate, clients)
    assert estimate >= SIZE


def test_estimates_are_not_too_high_and_not_too_low() -> None:
    """Over 40 secrets they even out."""
    clients = 4000
    estimates = [sketch_of(digest_of(client, seed) for client in range(clients)).estimate() for seed in range(40)]
    assert abs(sum(estimates) / 40 - clients) <= 4 * SIGMA * clients / 40**0.5


@pytest.mark.parametrize("clients", [500, 3000])
def test_order_does_not_matter(clients: int) -> None:
    """Any order of arrival, with repeats, gives the same numbers."""
    visits = [digest_of(client) for client in range(clients)]
    straight = sketch_of(visits)
    for order in range(3):
        shuffled = visits * 2
        random.Random(order).shuffle(shuffled)
        other = sketch_of(shuffled)
        assert memory_of(other) == memory_of(straight)
        assert (other.bound, other.estimate()) == (straight.bound, straight.estimate())


def test_a_digest_that_is_not_below_the_bound_changes_nothing() -> None:
    """So a recorder may compare and pass it over."""
    sketch = sketch_of(digest_of(client) for client in range(3000))
    before = memory_of(sketch), sketch.bound
    for client in range(4000):
        digest = digest_of(client)
        if client < 3000 or digest >= sketch.bound:
            assert sketch.add(digest) == before[1]
    assert (memory_of(sketch), sketch.bound) == before


def test_memory_does_not_grow() -> None:
    """8 KiB, at one address, from the first client to the last."""
    sketch = Sketch()
    address = sketch._numbers.buffer_info()
    for client in range(20_000):
        sketch.add(digest_of(client))
    assert sketch._numbers.buffer_info() == address
    assert len(memory_of(sketch)) == 8 * SIZE


@pytest.mark.parametrize("clients", [1, 700, 3000])
def test_wiping_leaves_zeros(clients: int) -> None:
    """In the same memory that contained the numbers; then it counts again."""
    sketch = sketch_of(digest_of(client) for client in range(clients))
    address = sketch._numbers.buffer_info()
    assert any(memory_of(sketch))
    sketch.wipe()
    assert sketch._numbers.buffer_info() == address
    assert memory_of(sketch) == bytes(8 * SIZE)
    assert (sketch.estimate(), sketch.bound) == (0, Sketch().bound)
    sketch.add(digest_of(1))
    assert sketch.estimate() == 1
