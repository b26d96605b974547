"""Which lines are written together, and when: only ticks write, and a few networks cannot steer a batch."""

from __future__ import annotations

import os
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obfstats.record.batches import CLOSING_DELAY, MAX_ARRIVALS, MAX_LINES
from peers.clocks import DAY
from tests.record.surroundings import Bench

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TICK = 30.0

FULL = 110
"""Networks that fill a buffer for 100, though a few may have the same number of 16 bits."""


def networks(first: int, number: int) -> list[str]:
    """One address in each of so many networks."""
    return [f"198.18.{each}.1" for each in range(first, first + number)]


def record(bench: Bench, addresses: Iterable[str]) -> None:
    """Record clients."""
    for address in addresses:
        bench.recorder.record(address)


def tick(bench: Bench, seconds: float = TICK) -> int:
    """Pass some time and tick; give how many lines that has written."""
    before = len(bench.lines())
    bench.clock.pass_time(seconds)
    bench.recorder.tick()
    return len(bench.lines()) - before


def test_a_full_buffer_is_written_by_a_tick_after_a_delay(tmp_path: Path) -> None:
    """Step 4: lines of 100 networks fill it; a later tick writes, no client's call, nor the tick that finds it full."""
    bench = Bench(tmp_path / "log", delay=300)
    record(bench, networks(0, 99))
    assert tick(bench) == 0
    record(bench, networks(99, FULL - 99))
    assert (tick(bench), tick(bench, 299)) == (0, 0)
    assert 20 < tick(bench, 1) < 110


def test_a_random_half_of_the_networks_stays(tmp_path: Path) -> None:
    """Which half differs from one full buffer to the next; what stays is written with the closing batch."""
    bench = Bench(tmp_path / "log", delay=0)
    shares = []
    for _ in range(20):
        record(bench, networks(0, FULL))
        shares.append(tick(bench))
    assert all(20 < share < 180 for share in shares)
    assert len(set(shares)) > 5
    tick(bench, DAY)
    assert len(bench.lines()) == 20 * FULL


def test_lines_of_one_network_stay_together(tmp_path: Path) -> None:
    """An address that connects again and again is in a batch with all its lines, or with none."""
    bench = Bench(tmp_path / "log", delay=0)
    for address in networks(0, FULL):
        record(bench, [address] * 3)
    assert tick(bench) > 0
    assert set(Counter(bench.lines()).values()) == {3}


def test_one_network_does_not_fill_the_buffer(tmp_path: Path) -> None:
    """The client between two floods from a /24, or a /48, is in no batch before its interval's last."""
    for number, network in enumerate(("192.0.2", "2001:db8:0:1:")):
        bench = Bench(tmp_path / str(number), delay=0, buffer=10)
        for _ in range(2):
            for each in range(MAX_LINES + 1):
                separator = ":" if ":" in network else "."
                bench.recorder.record(f"{network}{separator}{each % 250}")
            tick(bench)
            bench.recorder.record("198.51.100.1")
        assert bench.lines()
        assert not any(" tr " in line for line in bench.lines())
        tick(bench, DAY)
        assert len(bench.lines()) == 2 * (MAX_LINES + 2)


def test_what_is_held_is_bounded_and_nothing_is_dropped(tmp_path: Path) -> None:
    """Also where no tick comes: the networks with the most lines are written; in the end the log has all lines."""
    bench = Bench(tmp_path / "log", delay=0, buffer=10)
    bound = MAX_LINES + MAX_ARRIVALS
    for number in range(bound + 1):
        bench.recorder.record(f"192.0.2.{number % 256}")
    assert len(bench.lines()) == bound
    tick(bench, DAY)
    assert len(bench.lines()) == bound + 1


def test_closing_batches_wait_for_their_own_moments(tmp_path: Path) -> None:
    """Two intervals that end within ten minutes, because the machine slept: no client writes either."""
    bench = Bench(tmp_path / "log", delay=300)
    record(bench, networks(0, 5))
    bench.clock.pass_time(DAY)
    record(bench, networks(0, 3))
    bench.clock.pass_time(DAY)
    record(bench, networks(0, 1))
    assert bench.lines() == []
    assert (tick(bench, 299), tick(bench, 1)) == (5, 3)


def test_the_files_times_and_size_are_those_of_ticks(tmp_path: Path) -> None:
    """Whatever clients do between two ticks, the file stays as it is; each tick sets its times."""
    bench = Bench(tmp_path / "log", delay=0)
    for start in (0, 100):
        record(bench, networks(start, FULL))
        assert tick(bench) > 0
        os.utime(bench.path, (1_000_000_000, 1_000_000_000))
        before = bench.path.stat()
        record(bench, networks(start, FULL))
        assert bench.path.stat() == before
        bench.recorder.tick()
        assert bench.path.stat().st_mtime > 1_000_000_001


@given(visits=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5), st.integers(0, 90_000)), max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_every_line_is_written_once_by_a_tick(tmp_path: Path, visits: list[tuple[int, int, int]]) -> None:
    """In any order of events each interval has all its lines in the end, and no call of a client's writes one."""
    path = tmp_path / "log"
    path.unlink(missing_ok=True)
    bench = Bench(path, buffer=10)
    total = 0
    for clients, times, seconds in visits:
        before = path.read_bytes()
        record(bench, networks(0, clients) * times)
        total += clients * times
        assert path.read_bytes() == before
        tick(bench, seconds)
    tick(bench, DAY)
    tick(bench, CLOSING_DELAY)
    starts = [line[:19] for line in bench.lines()]
    assert len(starts) == total
    assert all(first <= second for first, second in pairwise(starts))
    bench.recorder.close()


def test_no_line_comes_before_those_of_the_interval_before(tmp_path: Path) -> None:
    """A buffer that is full while a closing batch waits for its moment waits as well, though its own delay is over."""
    bench = Bench(tmp_path / "log", delay=300)
    record(bench, networks(0, 5))
    assert tick(bench, DAY) == 0
    bench.delay = 0
    record(bench, networks(0, 2 * FULL))
    assert tick(bench, 299) == 0
    assert tick(bench, 1) > 5
    starts = [line[:19] for line in bench.lines()]
    assert starts == sorted(starts)
