"""How many documents the service takes: never more than its rates promise, and it keeps no key that is below them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from obfstats.collect.server.limits import Rate, SubmissionLimits

LARGEST = 50
ARRIVALS = st.lists(st.tuples(st.floats(0, 30), st.integers(1, LARGEST)), max_size=200)
RATE = Rate(20, 0.5)
FREE = Rate(10**9, 10**9)


class Time:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@example([(1.1352164624701047, 31), (0.0, 1)])  # the level after the wait is 1 less a rounding error
@given(ARRIVALS)
def test_a_key_gets_its_burst_its_rate_and_one_request_more(arrivals: list[tuple[float, int]]) -> None:
    """Whatever the pauses and sizes; and a request that comes again after the stated wait is taken."""
    clock = Time()
    limits = SubmissionLimits(clock, RATE, FREE)
    taken = 0
    for pause, documents in arrivals:
        clock.now += pause
        wait = limits.admit_request("key", documents, is_known=True)
        if wait:
            clock.now += wait
            assert limits.admit_request("key", documents, is_known=True) == 0
        for _ in range(documents):
            limits.charge_key("key")
        taken += documents
        assert taken <= RATE.burst + RATE.per_second * (clock.now - 1000) + LARGEST + 1e-6


@given(ARRIVALS, st.integers(1, 5))
def test_all_strangers_together_get_one_bucket(arrivals: list[tuple[float, int]], strangers: int) -> None:
    """However many keys they make."""
    clock = Time()
    limits = SubmissionLimits(clock, FREE, RATE)
    taken = 0
    for number, (pause, documents) in enumerate(arrivals):
        clock.now += pause
        if not limits.admit_request(f"key {number % strangers}", documents, is_known=False):
            taken += documents
        assert limits.admit_request("known", documents, is_known=True) == 0
    assert taken <= RATE.burst + RATE.per_second * (clock.now - 1000) + LARGEST + 1e-6


def test_keys_that_are_below_their_limit_again_are_forgotten() -> None:
    """100,000 keys, a thousand a second: only those of the last seconds are kept."""
    clock = Time()
    limits = SubmissionLimits(clock, Rate(10, 1), FREE)
    for number in range(100_000):
        clock.now += 0.001
        limits.charge_key(f"key {number}")
    assert len(limits._keys) < 5000
