"""What failed is tried again, ever more rarely."""

from __future__ import annotations

from obfstats.record.backoff import LAST_RETRY, Backoff


def test_waiting_times_double_up_to_ten_minutes() -> None:
    """The first is a second; whoever looks in between is sent away."""
    backoff, now, waits = Backoff(), 100.0, list[float]()
    assert backoff.is_due(now)
    for _ in range(12):
        backoff.fail("the disk is full", now)
        assert not backoff.is_due(backoff.at - 0.1)
        waits.append(backoff.at - now)
        now = backoff.at
        assert backoff.is_due(now)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, LAST_RETRY, LAST_RETRY]


def test_what_works_again_is_tried_at_once_and_begins_anew() -> None:
    """Nothing of the failures is remembered."""
    backoff = Backoff()
    for _ in range(5):
        backoff.fail("the disk is full", 100.0)
    assert backoff.reason == "the disk is full"
    backoff.succeed()
    assert (backoff.reason, backoff.is_due(0.0)) == ("", True)
    backoff.fail("again", 100.0)
    assert backoff.at == 101.0
