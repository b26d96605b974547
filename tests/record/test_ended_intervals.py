"""Which intervals may be published: those that are over and wholly written, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obfstats.formats.interval import Interval
from peers.clocks import DAY
from tests.record.surroundings import Bench, countries

if TYPE_CHECKING:
    from pathlib import Path

START = Interval.parse("2012-02-07 14:01:04")
NEXT = Interval.parse("2012-02-08 14:01:04")


def intervals(bench: Bench) -> list[Interval]:
    """What is finished since the last call."""
    return [finished.interval for finished in bench.recorder.pop_written()]


def test_an_interval_is_finished_when_its_closing_batch_is_written(tmp_path: Path) -> None:
    """Not at its end, but at the random moment after it; and given once."""
    bench = Bench(tmp_path / "log", delay=300.0)
    bench.fill(3)
    bench.clock.pass_time(DAY)
    bench.recorder.tick()
    assert intervals(bench) == []
    bench.clock.pass_time(299)
    bench.recorder.tick()
    assert intervals(bench) == []
    bench.clock.pass_time(1)
    bench.recorder.tick()
    assert len(bench.lines()) == 3
    assert intervals(bench) == [START]
    assert intervals(bench) == []


def test_an_interval_without_clients_is_finished_at_the_same_moment(tmp_path: Path) -> None:
    """Otherwise the moment would reveal whether there were clients."""
    bench = Bench(tmp_path / "log", delay=300.0)
    bench.clock.pass_time(DAY)
    bench.recorder.tick()
    bench.clock.pass_time(299)
    bench.recorder.tick()
    assert intervals(bench) == []
    bench.clock.pass_time(1)
    bench.recorder.tick()
    assert intervals(bench) == [START]


def test_what_the_disk_refuses_is_not_finished(tmp_path: Path) -> None:
    """Lines are held in memory: the interval is finished when they are written."""
    bench = Bench(tmp_path / "log", delay=0.0)
    bench.fill(3)
    (tmp_path / "log").rename(tmp_path / "old")
    (tmp_path / "log").mkdir()
    bench.clock.pass_time(DAY)
    bench.recorder.tick()
    assert bench.journal.held == 3
    assert intervals(bench) == []
    (tmp_path / "log").rmdir()
    bench.clock.pass_time(700)
    bench.recorder.tick()
    assert intervals(bench) == [START]
    assert len(bench.lines()) == 3


def test_an_interval_that_was_given_up_is_never_finished(tmp_path: Path) -> None:
    """The clock was set: its lines are a part of a day, and a part must not look like the whole."""
    bench = Bench(tmp_path / "log", delay=0.0, buffer=2)
    bench.fill(5)
    bench.clock.set_wall(7200)
    bench.recorder.tick()
    bench.clock.pass_time(DAY + 1)
    bench.recorder.tick()
    (interval,) = intervals(bench)
    assert interval.label == "2012-02-07 16:01:04"


def test_after_a_sleep_of_days_one_interval_is_finished(tmp_path: Path) -> None:
    """The one with a client; there are no empty ones between it and now."""
    bench = Bench(tmp_path / "log", delay=0.0)
    bench.fill(1)
    bench.clock.pass_time(3 * DAY + 5)
    bench.recorder.tick()
    assert intervals(bench) == [START]


def test_a_finished_interval_has_the_countries_that_it_was_counted_with(tmp_path: Path) -> None:
    """The running one may have other tables by then."""
    bench = Bench(tmp_path / "log", delay=0.0)
    before, after = bench.geoip, countries()
    bench.recorder.replace_countries(after)
    bench.clock.pass_time(DAY)
    bench.recorder.tick()
    assert bench.recorder.countries is after
    (finished,) = bench.recorder.pop_written()
    assert finished.countries is before


def test_the_running_interval_and_what_is_not_written_are_unfinished(tmp_path: Path) -> None:
    """Until its closing batch is written, lines of an interval may still be appended."""
    bench = Bench(tmp_path / "log", delay=300.0)
    assert bench.recorder.not_fully_written() == [START]
    bench.fill(3)
    bench.clock.pass_time(DAY)
    bench.recorder.tick()
    assert bench.recorder.not_fully_written() == [NEXT, START]
    bench.clock.pass_time(301)
    bench.recorder.tick()
    assert bench.recorder.not_fully_written() == [NEXT, START]
    assert intervals(bench) == [START]
    assert bench.recorder.not_fully_written() == [NEXT]


def test_finished_intervals_do_not_accumulate(tmp_path: Path) -> None:
    """An embedded recorder that runs for years."""
    bench = Bench(tmp_path / "log", delay=0.0)
    for _ in range(50):
        bench.clock.pass_time(DAY)
        bench.recorder.tick()
    assert len(bench.recorder.pop_written()) == 10


def test_a_finished_interval_has_its_number_of_lines(tmp_path: Path) -> None:
    """Those that were written during the day and those of the closing batch."""
    bench = Bench(tmp_path / "log", delay=0.0, buffer=5)
    bench.fill(12)
    bench.clock.pass_time(DAY)
    bench.recorder.tick()
    (finished,) = bench.recorder.pop_written()
    assert finished.connections == 12
