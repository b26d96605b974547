"""Marks of whole intervals: what the recorder writes beside the log, and what convert makes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.interval import format_time
from obfstats.formats.marks import Marks, parse_marks, write_begin, write_whole
from obfstats.publish.render import Output
from obfstats.record import journal
from peers.clocks import DAY
from tests.publish.converting import made
from tests.record.surroundings import Bench

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0
START = "2012-02-07 14:01:04"
NO_MARK = "no mark, so the bridge was stopped, its clock was set, or it did not count all clients"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A recorder that has begun at the ticket's moment and ticked."""
    bench = Bench(tmp_path / "clients.log", buffer=1)
    bench.recorder.tick()
    return bench


def marks(bench: Bench) -> Path:
    """The file of marks."""
    return bench.path.with_name(".clients.log.whole")


def tick(bench: Bench, seconds: float) -> None:
    """Let time pass and tick."""
    bench.clock.pass_time(seconds)
    bench.recorder.tick()


def end_day(bench: Bench) -> None:
    """Let the interval end, its last lines be written, and the mark."""
    tick(bench, DAY)
    tick(bench, 301)


def restart(bench: Bench) -> Bench:
    """Start the next program, with the same clock."""
    bench.journal.close()
    again = Bench(bench.path, buffer=1, clock=bench.clock)
    again.recorder.tick()
    return again


def ends(*files: Path) -> list[str]:
    """The ends of all documents that convert makes."""
    return [line.rpartition(") ")[2] for line in made(*files, output=Output()).lines if "stats-end" in line]


def test_a_whole_interval_is_marked_when_its_last_lines_are_written(bench: Bench) -> None:
    """With its number of connections, rounded up; private; not before a tick."""
    assert marks(bench).read_text() == f"{START} begin\n"
    assert marks(bench).stat().st_mode & 0o777 == 0o600
    bench.fill(10)
    bench.clock.pass_time(DAY + 3)
    bench.fill(7)
    tick(bench, 200)
    assert marks(bench).read_text() == f"{START} begin\n"
    tick(bench, 101)
    assert marks(bench).read_text() == f"{START} begin\n{START} whole 16\n"
    end_day(bench)
    assert marks(bench).read_text() == f"{START} begin\n{START} whole 16\n2012-02-08 14:01:04 whole 8\n"
    assert ends(bench.path) == ["2012-02-08 14:01:04", "2012-02-09 14:01:04"]


def test_the_log_has_no_line_more(bench: Bench) -> None:
    """The ticket's shell pipeline counts every line of it."""
    bench.fill(6)
    end_day(bench)
    assert len(bench.lines()) == 6


def test_a_part_of_a_day_before_a_stop_for_good_is_no_day(bench: Bench) -> None:
    """Three hours, and nothing follows that could show it."""
    bench.fill(6)
    tick(bench, 3 * HOUR)
    bench.recorder.close()
    result = made(bench.path, output=Output())
    assert result.text == ""
    assert result.warnings == [f"the interval from {START} is left out: {NO_MARK}"]
    assert ends(bench.path) == []


@pytest.mark.parametrize("output", [Output("tor"), Output("json"), Output("csv")])
def test_no_form_states_its_length(output: Output, bench: Bench) -> None:
    """Only the tables, which state none, have it."""
    bench.fill(6)
    tick(bench, 3 * HOUR)
    assert START not in made(bench.path, output=output).text
    assert "2012-02-08" not in made(bench.path, output=output).text
    assert START in made(bench.path).text


def test_a_part_of_a_day_before_the_clock_was_set_forward_is_no_day(bench: Bench) -> None:
    """The next interval begins two days later, so the labels alone look like a whole day."""
    bench.fill(6)
    tick(bench, 3 * HOUR)
    bench.clock.set_wall(2 * DAY)
    tick(bench, 30)
    bench.fill(6)
    end_day(bench)
    assert ends(bench.path) == ["2012-02-10 16:56:34"]


def test_a_whole_day_before_the_clock_was_set_back_is_a_day(bench: Bench) -> None:
    """An hour into the next one it is set back by seven: by the labels both days were cut short."""
    bench.fill(6)
    end_day(bench)
    tick(bench, HOUR)
    bench.fill(6)
    bench.clock.set_wall(-7 * HOUR)
    tick(bench, 30)
    bench.fill(6)
    end_day(bench)
    assert [line[:19] for line in bench.lines()][::6] == [START, "2012-02-08 14:01:04", "2012-02-08 08:01:35"]
    assert ends(bench.path) == ["2012-02-08 14:01:04", "2012-02-09 08:01:35"]


@pytest.mark.parametrize(("away", "sentence"), [(5 * HOUR, "cut short by a restart"), (3 * DAY, NO_MARK)])
def test_a_killed_programs_interval_is_no_day(away: float, sentence: str, bench: Bench) -> None:
    """Whether the next program starts within the day or later."""
    bench.fill(6)
    tick(bench, 3 * HOUR)
    bench.clock.pass_time(away)
    again = restart(bench)
    again.fill(6)
    end_day(again)
    result = made(bench.path, output=Output())
    assert [line for line in result.lines if START in line] == []
    assert result.text.count("stats-end") == 1
    assert [sentence in warning for warning in result.warnings] == [True]


def test_a_day_that_lacks_clients_without_an_address_is_not_whole(bench: Bench) -> None:
    """The next day, when all are counted again, is."""
    bench.fill(6)
    bench.recorder.record_uncounted()
    end_day(bench)
    bench.fill(6)
    end_day(bench)
    result = made(bench.path, output=Output())
    assert result.warnings == [f"the interval from {START} is left out: {NO_MARK}"]
    assert [line.rpartition(") ")[2] for line in result.lines if "stats-end" in line] == ["2012-02-09 14:01:04"]


def test_a_day_whose_last_lines_were_lost_is_not_whole(bench: Bench) -> None:
    """Killed after the end of the day and before its closing batch was written."""
    bench.fill(5)
    tick(bench, DAY)
    tick(bench, 200)
    restart(bench)
    assert len(bench.lines()) == 4
    assert ends(bench.path) == []


def test_a_log_without_marks_is_read_and_its_lengths_are_guessed(bench: Bench) -> None:
    """An older log, or one that was copied away; also the days before the first program that writes marks."""
    bench.fill(6)
    end_day(bench)
    marks(bench).unlink()
    result = made(bench.path, output=Output())
    assert result.text.count("stats-end") == 1
    assert result.guessed == (
        f"the interval from {START} is taken to be whole: no mark beside the log says so (docs/statistics-log.md)"
    )
    assert made(bench.path).guessed == ""
    again = restart(bench)
    again.fill(6)
    end_day(again)
    assert f"the interval from {START} is taken to be whole" in made(bench.path, output=Output()).guessed
    assert made(bench.path, output=Output()).warnings == []


def test_missing_lines_are_noticed(bench: Bench) -> None:
    """The log was rotated at noon, and only one of its files is named."""
    bench.fill(12)
    rotated = bench.path.with_name("clients.log.1")
    bench.path.rename(rotated)
    bench.recorder.reopen()
    bench.fill(12, "198.51.100")
    end_day(bench)
    for files in ([bench.path], [rotated]):
        result = made(*files, output=Output())
        assert result.text == ""
        assert result.warnings == [
            f"the interval from {START} is left out: lines are missing; name every file that the log was rotated into"
        ]
        # The tables have the lines that there are, as those of the ticket's shell script.
        (warning,) = made(*files).warnings
        assert warning.startswith(f"the interval from {START} is wrong in the tables: lines are missing; name every")
    assert made(bench.path, rotated).warnings == []
    bench.path.with_name(".clients.log.ledger").unlink()
    assert ends(bench.path, rotated) == ["2012-02-08 14:01:04"]


def test_an_interval_with_more_connections_than_the_log_takes_is_left_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the log has of it is not published as a whole day; the next day is."""
    monkeypatch.setattr(journal, "MAX_INTERVAL_LINES", 10)
    bench.fill(30)
    end_day(bench)
    bench.fill(9)
    end_day(bench)
    result = made(bench.path, output=Output())
    assert [line.rpartition(") ")[2] for line in result.lines if "stats-end" in line] == ["2012-02-09 14:01:04"]
    (warning,) = result.warnings
    assert warning.startswith(f"the interval from {START} is left out: lines are missing")


def test_a_few_damaged_lines_are_no_missing_lines(bench: Bench) -> None:
    """They are reported as damaged."""
    bench.fill(17)
    end_day(bench)
    lines = bench.path.read_bytes().splitlines(keepends=True)
    bench.path.write_bytes(b"".join([*lines[:-1], lines[-1][:50] + b"\n"]))
    assert ends(bench.path) == ["2012-02-08 14:01:04"]


def test_lines_that_are_there_twice_are_noticed(bench: Bench) -> None:
    """A copy beside the log."""
    bench.fill(12)
    end_day(bench)
    copy = bench.path.with_name("clients.log.old")
    copy.write_bytes(bench.path.read_bytes())
    result = made(bench.path, copy, output=Output())
    assert result.text == ""
    (warning,) = result.warnings
    assert warning.startswith(f"the interval from {START} is left out: there are more lines than the bridge counted")


def test_marks_that_cannot_be_written_are_tried_again(bench: Bench) -> None:
    """One warning; until then the day counts as cut short."""
    marks(bench).unlink()
    marks(bench).mkdir()
    bench.fill(6)
    end_day(bench)
    tick(bench, 30)
    assert [warning for warning in bench.warnings if "until then days count as cut short" in warning] == bench.warnings
    assert len(bench.warnings) == 1
    marks(bench).rmdir()
    tick(bench, 30)
    assert marks(bench).read_text() == f"{START} whole 8\n"
    assert ends(bench.path) == ["2012-02-08 14:01:04"]


def test_marks_that_were_lost_begin_with_the_first_new_one(bench: Bench) -> None:
    """Somebody removes the file at run time, and the bridge is stopped for good two days later."""
    for day in range(3):
        bench.fill(6)
        end_day(bench)
        if not day:
            marks(bench).unlink()
    bench.fill(6)
    tick(bench, 3 * HOUR)
    assert marks(bench).read_text() == "2012-02-08 14:01:04 whole 8\n2012-02-09 14:01:04 whole 8\n"
    result = made(bench.path, output=Output())
    assert [line.rpartition(") ")[2] for line in result.lines if "stats-end" in line] == [
        "2012-02-08 14:01:04",
        "2012-02-09 14:01:04",
        "2012-02-10 14:01:04",
    ]
    assert [NO_MARK in warning for warning in result.warnings] == [True]
    assert f"the interval from {START} is taken to be whole" in result.guessed


def test_without_ticks_nothing_is_written(tmp_path: Path) -> None:
    """A client's call never writes a mark, whatever has ended."""
    bench = Bench(tmp_path / "clients.log", buffer=1)
    for _ in range(3):
        bench.fill(9)
        bench.clock.pass_time(DAY)
    assert not marks(bench).exists()


STARTS = st.datetimes().map(lambda moment: moment.replace(microsecond=0, tzinfo=UTC))


@given(
    st.lists(st.tuples(STARTS, st.integers(0, 10**9) | st.none())),
    st.lists(st.sampled_from([b"", b"2012-02-07 14:01:04 whole", b"2012-02-30 00:00:00 begin", b"\xff 8"])),
)
def test_what_is_written_is_read(written: list[tuple[datetime, int | None]], damaged: list[bytes]) -> None:
    """Marks and beginnings, with damaged lines after them."""
    labels = [(format_time(start), lines) for start, lines in written]
    text = b"".join(write_begin(label) if lines is None else write_whole(label, lines) for label, lines in labels)
    whole = {start: -(-lines // 8) * 8 for start, lines in written if lines is not None}
    begin = min((start for start, _ in written), default=None)
    assert parse_marks(text + b"\n".join(damaged)) == Marks(begin, whole)
