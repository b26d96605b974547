"""The heartbeat's counters: how many connections, from how many addresses, in how many seconds."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obfstats.record import IntervalCounters, Recorder
from obfstats.record.journal import Journal
from obfstats.record.secret import Secret
from obfstats.record.sketch import SIZE, Sketch
from peers.clocks import DAY, MovedClock
from tests.record.surroundings import Bench, countries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOUR = 3600.0


def recorder_with_known_secret(path: Path) -> Recorder:
    """A recorder whose S is zeros, so that its estimates are the same at every run."""
    return Recorder(
        Journal(path, warn=print),
        countries(),
        secret=Secret(lambda address, size: None),  # noqa: ARG005
        clock=MovedClock(),
        buffer=1000,
    )


def kept(sketch: Sketch) -> int:
    """How many of its numbers are not zero."""
    return sum(1 for number in sketch._numbers if number)


def test_without_clients_all_is_zero(tmp_path: Path) -> None:
    """From the first second on."""
    bench = Bench(tmp_path / "log")
    assert bench.recorder.pop_counters() == IntervalCounters(0.0, 0, 0)


@pytest.mark.parametrize("buffer", [1, 2, 100])
def test_the_running_interval_is_counted_exactly(tmp_path: Path, buffer: int) -> None:
    """Three connections from two addresses, whether their lines are written or in the buffer; and again, unchanged."""
    bench = Bench(tmp_path / "log", buffer=buffer)
    for address in ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"):
        bench.recorder.record(address)
    bench.recorder.record("no address")
    bench.clock.pass_time(HOUR)
    assert [bench.recorder.pop_counters() for _ in range(2)] == [IntervalCounters(HOUR, 3, 2)] * 2


def test_an_interval_that_ended_is_given_once_and_whole(tmp_path: Path) -> None:
    """Then the running one, where every client is new, without the last lines of the one before."""
    bench = Bench(tmp_path / "log")
    bench.fill(5)
    bench.clock.pass_time(DAY)
    bench.fill(2)
    bench.clock.pass_time(HOUR)
    assert bench.recorder.pop_counters() == IntervalCounters(DAY, 5, 5)
    assert bench.recorder.pop_counters() == IntervalCounters(HOUR, 2, 2)
    bench.recorder.tick()
    assert bench.recorder.pop_counters() == IntervalCounters(HOUR, 2, 2)


def test_a_call_of_pop_counters_ends_an_interval_too(tmp_path: Path) -> None:
    """Without a client and without a tick since."""
    bench = Bench(tmp_path / "log")
    bench.fill(3)
    bench.clock.pass_time(DAY + HOUR)
    assert bench.recorder.pop_counters() == IntervalCounters(DAY, 3, 3)
    assert bench.recorder.pop_counters() == IntervalCounters(HOUR, 0, 0)


def test_after_a_suspend_of_days_the_day_before_it_is_given(tmp_path: Path) -> None:
    """In the days between nothing could be counted."""
    bench = Bench(tmp_path / "log")
    bench.fill(4)
    bench.clock.pass_time(3 * DAY + HOUR)
    bench.fill(1)
    assert bench.recorder.pop_counters() == IntervalCounters(DAY, 4, 4)
    assert bench.recorder.pop_counters() == IntervalCounters(HOUR, 1, 1)


def test_days_without_clients_are_given(tmp_path: Path) -> None:
    """Each day that a tick ends is an interval, with zeros."""
    bench = Bench(tmp_path / "log")
    bench.fill(4)
    told = []
    for _ in range(3):
        bench.clock.pass_time(DAY)
        bench.recorder.tick()
        told.append(bench.recorder.pop_counters())
    assert told == [IntervalCounters(DAY, 4, 4), IntervalCounters(DAY, 0, 0), IntervalCounters(DAY, 0, 0)]


@pytest.mark.parametrize("jump", [-DAY, DAY])
def test_a_clock_that_was_set_begins_new_counters(tmp_path: Path, jump: float) -> None:
    """What was counted before it is dropped; the time runs from the new interval's start, which is no client's."""
    bench = Bench(tmp_path / "log", buffer=2, delay=123.0)
    bench.fill(5)
    bench.clock.set_wall(jump)
    bench.clock.pass_time(61)
    bench.fill(2)
    assert bench.recorder.pop_counters() == IntervalCounters(123.0, 2, 2)
    bench.clock.pass_time(DAY)
    assert bench.recorder.pop_counters() == IntervalCounters(DAY, 2, 2)


def test_an_interval_that_ended_before_the_clock_was_set_is_still_given(tmp_path: Path) -> None:
    """Its lines are written, so its numbers hold."""
    bench = Bench(tmp_path / "log", delay=0)
    bench.fill(5)
    bench.clock.pass_time(DAY)
    bench.recorder.tick()
    bench.clock.set_wall(-DAY)
    assert bench.recorder.pop_counters() == IntervalCounters(DAY, 5, 5)
    assert len(bench.lines()) == 5


def test_what_the_disk_refuses_is_counted(tmp_path: Path) -> None:
    """The heartbeat does not depend on the disk."""
    folder = tmp_path / "folder"
    folder.mkdir()
    bench = Bench(folder / "log", buffer=2)
    folder.rename(tmp_path / "gone")
    bench.fill(7)
    assert bench.recorder.pop_counters() == IntervalCounters(0.0, 7, 7)


def test_after_closing_all_is_zero(tmp_path: Path) -> None:
    """Of the interval that has ended as well."""
    bench = Bench(tmp_path / "log")
    bench.fill(5)
    bench.clock.pass_time(DAY)
    bench.recorder.tick()
    bench.recorder.close()
    assert bench.recorder.pop_counters() == IntervalCounters(0.0, 0, 0)


def test_many_addresses_are_estimated_and_never_more_than_connections(tmp_path: Path) -> None:
    """6,000 different ones: never more addresses than connections, and the last estimate is close."""
    recorder = recorder_with_known_secret(tmp_path / "log")
    above = 0
    for number in range(6000):
        recorder.record(f"2001:db8::{number:x}")
        seen = recorder.pop_counters()
        assert seen.connections == number + 1
        assert seen.addresses <= seen.connections
        above += recorder._sketch.estimate() > seen.connections
        if number < SIZE - 1:
            assert seen.addresses == number + 1
    assert above
    for number in range(6000):
        recorder.record(f"2001:db8::{number:x}")
    seen = recorder.pop_counters()
    assert seen.connections == 12_000
    assert abs(seen.addresses - 6000) <= 4 * 6000 * (SIZE - 2) ** -0.5


def _end(bench: Bench) -> None:
    bench.clock.pass_time(DAY)
    bench.recorder.tick()


def _set_clock(bench: Bench) -> None:
    bench.clock.set_wall(DAY)
    bench.recorder.tick()


def _close(bench: Bench) -> None:
    bench.recorder.close()


@pytest.mark.parametrize("wipe", [_end, _set_clock, _close])
def test_the_sketch_is_wiped_with_the_secret(tmp_path: Path, wipe: Callable[[Bench], None]) -> None:
    """Zeros, in the memory where it was."""
    bench = Bench(tmp_path / "log")
    bench.fill(50)
    assert kept(bench.recorder._sketch) == 50
    wipe(bench)
    assert kept(bench.recorder._sketch) == 0


def test_a_forked_child_has_no_counters(tmp_path: Path) -> None:
    """Its counters are wiped like its secret; the parent's are not."""
    bench = Bench(tmp_path / "log")
    bench.fill(50)
    child = os.fork()
    if child == 0:
        nothing = bench.recorder.pop_counters() == IntervalCounters(0.0, 0, 0) and kept(bench.recorder._sketch) == 0
        os._exit(0 if nothing else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bench.recorder.pop_counters() == IntervalCounters(0.0, 50, 50)


Step = tuple[Literal["come", "pass", "tick", "ask"], int]

steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("come"), st.integers(0, 9)),
    st.tuples(st.just("pass"), st.integers(0, 100_000)),
    st.tuples(st.just("tick"), st.just(0)),
    st.tuples(st.just("ask"), st.just(0)),
)


@given(st.lists(steps, max_size=60), st.integers(1, 5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_it_agrees_with_counting_by_hand(tmp_path: Path, story: list[Step], buffer: int) -> None:
    """In any order of events: days by division, clients in a bag; a day ends with the first call after it."""
    path = tmp_path / "log"
    path.unlink(missing_ok=True)
    bench = Bench(path, buffer=buffer)
    clients: Counter[int] = Counter()
    ended: IntervalCounters | None = None
    now, day = 0, 0
    for what, number in story:
        if what == "pass":
            now += number
            bench.clock.pass_time(number)
            continue
        if now // int(DAY) > day:
            ended, day = IntervalCounters(DAY, clients.total(), len(clients)), now // int(DAY)
            clients.clear()
        if what == "come":
            clients[number] += 1
            bench.recorder.record(f"192.0.2.{number}")
        elif what == "tick":
            bench.recorder.tick()
        else:
            expected = ended or IntervalCounters(now - day * DAY, clients.total(), len(clients))
            ended = None
            assert bench.recorder.pop_counters() == expected
    bench.recorder.close()
