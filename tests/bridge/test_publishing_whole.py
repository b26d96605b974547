"""A document covers a whole day or is not made, wherever the log's lines are and whatever is missing."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from obfstats.bridge.interval_sources import count_in_files
from obfstats.formats.interval import Interval
from obfstats.record import journal
from peers.clocks import DAY
from tests.bridge.published import FIRST, SECOND, Bridge


@pytest.fixture
def bridge(tmp_path: Path) -> Bridge:
    """A bridge with a log."""
    return Bridge(tmp_path)


def test_a_damaged_file_that_may_have_what_is_missing_is_waited_for(bridge: Bridge) -> None:
    """Its interval is published when it can be read; the next one meanwhile."""
    bridge.visit(9)
    lines = bridge.log.read_bytes()
    rotated = bridge.home / "clients.log.1.gz"
    rotated.write_bytes(gzip.compress(lines)[:40])
    bridge.log.write_bytes(b"")
    os.utime(rotated, (2**32, 2**32))
    bridge.end_day()
    bridge.visit(9)
    bridge.end_day()
    assert bridge.names() == [SECOND]
    rotated.write_bytes(gzip.compress(lines))
    os.utime(rotated, (2**32, 2**32))
    bridge.tick(31)
    assert bridge.names() == [FIRST, SECOND]
    assert bridge.document().requests == {"DE": 16}


def test_an_interval_with_lines_missing_is_given_up(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """The log was deleted at noon: half a day is not published as a whole one, nor after a restart."""
    bridge.visit(9)
    bridge.log.unlink()
    bridge.visit(9)
    bridge.end_day()
    assert bridge.names() == []
    assert "lines of it are missing" in caplog.text
    bridge.stop()
    bridge.start()
    bridge.tick(31)
    bridge.end_day()
    assert bridge.names() == ["2012-02-09-14-06-05-obfsproxy-stats"]


def test_an_interval_with_more_connections_than_the_log_takes_is_given_up(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A part of its numbers is not published as a whole; the operator is told twice, and the next day is published."""
    monkeypatch.setattr(journal, "MAX_INTERVAL_LINES", 10)
    bridge.visit(30)
    assert len(bridge.log.read_bytes().splitlines()) == 10
    bridge.end_day()
    assert "has more than 10 connections" in "".join(bridge.said)
    assert "is not published: lines of it are missing" in caplog.text
    bridge.visit(9)
    bridge.end_day()
    assert bridge.names() == [SECOND]


def test_an_earlier_programs_interval_without_a_line_is_given_up(bridge: Bridge) -> None:
    """There were some in one file; zero clients would be wrong."""
    bridge.visit(9)
    bridge.block()
    bridge.end_day()
    bridge.stop()
    bridge.unblock()
    bridge.log.unlink()
    bridge.start()
    bridge.tick(31)
    assert bridge.names() == []
    assert bridge.ledger.read_text().endswith(" given up\n")


def test_a_rotated_file_that_goes_while_nobody_runs_is_missed(bridge: Bridge) -> None:
    """The next program knows that lines were in two files; one of them has half a day's."""
    bridge.visit(9)
    rotated = bridge.home / "clients.log.1"
    bridge.log.rename(rotated)
    bridge.recorder.reopen()
    bridge.visit(9)
    bridge.block()
    bridge.end_day()
    assert bridge.ledger.read_text() == "2012-02-07 14:01:04 (86400 s) over (files: 2)\n"
    bridge.stop()
    bridge.unblock()
    rotated.unlink()
    bridge.start()
    bridge.tick(31)
    assert bridge.names() == []
    assert bridge.ledger.read_text().endswith(" given up\n")


def test_a_copy_that_comes_while_nobody_runs_is_not_counted(bridge: Bridge) -> None:
    """Lines are in more files than before: the interval waits until the copy is moved away."""
    bridge.visit(9)
    bridge.block()
    bridge.end_day()
    bridge.stop()
    bridge.unblock()
    shutil.copy(bridge.log, bridge.home / "clients.log.1")
    bridge.start()
    bridge.tick(31)
    assert bridge.names() == []
    (bridge.home / "clients.log.1").unlink()
    bridge.tick(31)
    assert bridge.document().requests == {"DE": 16}


def test_a_day_without_clients_is_published_after_a_restart(bridge: Bridge) -> None:
    """No file had a line of it, and none has now: zero clients."""
    bridge.block()
    bridge.end_day()
    bridge.stop()
    bridge.unblock()
    bridge.start()
    bridge.tick(31)
    assert bridge.document().requests == {}


def test_a_rotated_log_that_is_being_compressed_is_counted_once(bridge: Bridge) -> None:
    """Both files exist for a moment."""
    bridge.visit(9)
    bridge.log.rename(bridge.home / "clients.log.1")
    (bridge.home / "clients.log.1.gz").write_bytes(gzip.compress((bridge.home / "clients.log.1").read_bytes())[:40])
    bridge.recorder.reopen()
    bridge.end_day()
    assert bridge.document().requests == {"DE": 16}


def test_a_log_that_is_being_rotated_by_copying_is_not_counted_twice(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """Between copying and truncating every line is there twice; the next tick finds it once."""
    bridge.visit(9)
    shutil.copy(bridge.log, bridge.home / "clients.log.1")
    bridge.end_day()
    assert bridge.names() == []
    assert "are there twice" in caplog.text
    (bridge.home / "clients.log.1").unlink()
    bridge.tick(31)
    assert bridge.document().requests == {"DE": 16}


def test_more_lines_than_clients_and_no_copy_is_given_up(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """A program that started in the same second has left lines with the same label, which cannot be moved away."""
    bridge.visit(9)
    bridge.log.write_text(bridge.log.read_text() + bridge.log.read_text())
    bridge.end_day()
    assert bridge.names() == []
    assert "more lines of it than were counted" in caplog.text
    bridge.tick(3 * DAY)
    bridge.tick(31)
    assert "2012-02-07" not in bridge.log.read_text()


@pytest.mark.parametrize("beside", ["copied", "damaged"])
def test_what_was_not_known_to_be_whole_is_not_published_after_a_restart(bridge: Bridge, beside: str) -> None:
    """The next program has no number of lines to compare with: it would count a copied line twice."""
    bridge.visit(9)
    rotated = bridge.home / "clients.log.1"
    if beside == "copied":
        shutil.copy(bridge.log, rotated)
    else:
        lines = bridge.log.read_bytes().splitlines(keepends=True)
        rotated.write_bytes(gzip.compress(b"".join(lines[3:]))[:40])
        os.utime(rotated, (2**32, 2**32))
        bridge.log.write_bytes(b"".join(lines[:3]))
    bridge.end_day()
    bridge.stop()
    if beside == "damaged":
        rotated.unlink()
    bridge.start()
    bridge.tick(31)
    assert bridge.names() == []


def test_a_log_that_is_rotated_while_it_is_counted_is_counted_again(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its new name it would be read twice, and the file that had that name before not at all."""
    bridge.visit(9)
    rotated = bridge.home / "clients.log.1"
    bridge.log.rename(rotated)
    bridge.recorder.reopen()
    bridge.visit(9, "198.51.100")
    bridge.tick(DAY)
    bridge.clock.pass_time(301)
    bridge.recorder.tick()
    interval = Interval.parse(bridge.log.read_text()[:19])
    opened = Path.open

    def rotate_and_open(path: Path, mode: str = "r") -> object:
        if path == rotated and bridge.log.exists():
            rotated.rename(bridge.home / "clients.log.2")
            bridge.log.rename(rotated)
        return opened(path, mode)

    with monkeypatch.context() as rotating:
        rotating.setattr(Path, "open", rotate_and_open)
        assert "was rotated" in str(count_in_files(bridge.log, interval).error)
    counts, _, error = count_in_files(bridge.log, interval)
    assert sum(counts.requests.values()) == 18
    assert error is None


def test_after_a_power_failure_nothing_is_missing_that_a_ledger_knows_of(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is synced before its interval is marked as over, a document and its name before its release."""
    bridge.visit(9)
    synced = []
    real = os.fsync

    def sync(descriptor: int) -> None:
        real(descriptor)
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(bridge.home).as_posix())

    bridge.tick(DAY)
    with monkeypatch.context() as watched:
        watched.setattr(os, "fsync", sync)
        bridge.tick(301)
    ledger, hidden = ".clients.log.ledger", f"public/.{FIRST}.new"
    assert synced == ["clients.log", ".", ledger, hidden, "public", ledger, "public", ".clients.log.new"]


def test_a_damaged_file_whose_lines_are_all_there_holds_up_nothing(bridge: Bridge) -> None:
    """Only its checksum is missing: all lines are found."""
    bridge.visit(9)
    (bridge.home / "clients.log.1.gz").write_bytes(gzip.compress(bridge.log.read_bytes())[:-8])
    os.utime(bridge.home / "clients.log.1.gz", (2**32, 2**32))
    bridge.log.write_bytes(b"")
    bridge.end_day()
    assert bridge.document().requests == {"DE": 16}
