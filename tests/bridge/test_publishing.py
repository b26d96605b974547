"""A bridge that publishes by itself: each interval once, when it is over; then its lines are removed."""

from __future__ import annotations

import gzip
import os
import shutil
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from obfstats.bridge.interval_sources import MemorySource
from obfstats.bridge.options import PublishOptions
from obfstats.bridge.publishing import Publisher
from obfstats.publish.intervals import Selection
from obfstats.publish.making_documents import DocumentOptions
from obfstats.publish.render import NoiseOptions, Output
from obfstats.record.aggregate import Aggregate
from obfstats.record.errors import RecordError
from obfstats.record.recorder import Recorder
from peers.clocks import DAY
from tests.bridge.published import FIRST, SECOND, Bridge
from tests.publish.converting import NOW, made
from tests.record.surroundings import countries

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bridge(tmp_path: Path) -> Bridge:
    """A bridge with a log."""
    return Bridge(tmp_path)


def test_an_interval_is_published_when_its_last_line_is_written(bridge: Bridge) -> None:
    """Not at its end but after the random delay; the document is byte for byte what convert prints."""
    bridge.visit(10)
    bridge.visit(5, "198.51.100", "obfs2")
    bridge.tick(DAY)
    bridge.tick(299)
    assert bridge.names() == []
    bridge.tick(2)
    assert bridge.names() == [FIRST]
    assert bridge.document().ips == {"DE": 16, "TR": 8}
    output = Output("ticket", DocumentOptions(extended=bridge.extended))
    converted = made(bridge.log, selection=Selection(NOW), output=output)
    assert (bridge.folder / FIRST).read_text() == converted.text


def test_what_the_bridge_has_published_is_converted_in_the_same_form_only(bridge: Bridge) -> None:
    """While the bridge runs; the ledger is beside the log."""
    bridge.visit(10)
    bridge.end_day()
    for output in (None, Output("tor"), Output("ticket")):
        result = made(bridge.log, selection=Selection(NOW), output=output)
        assert "16" not in result.text
        assert ["released in another form" in warning for warning in result.warnings] == [True]
    extended = Output("ticket", DocumentOptions(extended=True))
    assert made(bridge.log, selection=Selection(NOW), output=extended).text == (bridge.folder / FIRST).read_text()


def test_what_the_bridge_has_published_with_noise_is_not_converted(tmp_path: Path) -> None:
    """In no form, and not again with noise."""
    bridge = Bridge(tmp_path, epsilon=Fraction(1, 2))
    bridge.visit(10)
    bridge.end_day()
    noise = NoiseOptions(Fraction(1, 2), ["??", "de"])
    for output in (None, Output("tor"), Output("ticket"), Output("json", noise=noise)):
        result = made(bridge.log, selection=Selection(NOW), output=output)
        assert ["records that it was released before" in warning for warning in result.warnings] == [True]


def test_what_convert_has_printed_is_not_published(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """The operator was faster: while the folder accepted nothing, the interval was converted."""
    bridge.visit(10)
    bridge.block()
    bridge.end_day()
    assert "DE=16" in made(bridge.log, selection=Selection(NOW), output=Output("ticket")).text
    bridge.unblock()
    bridge.tick(601)
    bridge.tick(601)
    assert bridge.names() == []
    assert "is not published: one with the same start has been" in caplog.text
    bridge.visit(10)
    bridge.end_day()
    assert bridge.names() == [SECOND]


def test_marks_go_with_the_lines_of_their_intervals(bridge: Bridge) -> None:
    """What is left of a published interval is its line in the ledger."""
    marks = bridge.home / ".clients.log.whole"
    for _ in range(4):
        bridge.visit(6)
        bridge.end_day()
        bridge.tick(31)
    assert "2012-02-07" not in bridge.log.read_text()
    assert [line[:10] for line in marks.read_text().splitlines()] == [
        "2012-02-07",
        *sorted({line[:10] for line in bridge.log.read_text().splitlines()}),
    ]
    assert marks.read_text().splitlines()[0] == "2012-02-07 14:01:04 begin"
    assert marks.stat().st_mode & 0o777 == 0o600


def test_the_longest_line_is_counted(bridge: Bridge) -> None:
    """A transport's name of 32 letters and both columns make a line of a hundred bytes."""
    bridge.visit(9, transport="t" * 32)
    bridge.end_day()
    assert {len(line) for line in bridge.log.read_bytes().splitlines(keepends=True)} == {100}
    assert bridge.document().ip_transports == {"t" * 32: 16}


def test_others_may_read_documents_and_nothing_else(bridge: Bridge) -> None:
    """Others may read documents, whatever the umask, and neither log nor ledger."""
    bridge.visit(1)
    before = os.umask(0o077)
    try:
        bridge.end_day()
    finally:
        os.umask(before)
    assert (bridge.folder / FIRST).stat().st_mode & 0o777 == 0o644
    assert bridge.ledger.stat().st_mode & 0o777 == 0o600
    assert bridge.log.stat().st_mode & 0o777 == 0o600


def test_an_interval_is_published_once_whatever_happens(bridge: Bridge) -> None:
    """Not again with later ticks, nor after a restart, nor when the document was deleted."""
    bridge.visit(10)
    bridge.end_day()
    (bridge.folder / FIRST).unlink()
    for _ in range(3):
        bridge.tick(31)
    bridge.stop()
    bridge.start()
    bridge.tick(31)
    assert bridge.names() == []


def test_an_interval_that_ended_before_a_restart_is_published_after_it(bridge: Bridge) -> None:
    """Its document could not be written, so the ledger has no release; the next program makes it."""
    bridge.visit(9)
    bridge.block()
    bridge.end_day()
    assert bridge.ledger.read_text() == "2012-02-07 14:01:04 (86400 s) over (files: 1)\n"
    bridge.stop()
    bridge.start()
    bridge.unblock()
    assert bridge.names() == []
    bridge.tick()
    assert bridge.names() == [FIRST]
    assert bridge.document().ips == {"DE": 16}


def test_an_interval_that_a_restart_cut_short_is_never_published(bridge: Bridge) -> None:
    """Nor if the next program starts days later: only a program that recorded all of it knows that it is whole."""
    bridge.visit(9)
    bridge.stop()
    bridge.clock.pass_time(2 * DAY)
    bridge.start()
    bridge.visit(2)
    bridge.end_day()
    assert bridge.names() == ["2012-02-10-14-01-04-obfsproxy-stats"]


def test_a_day_without_clients_is_published_too(bridge: Bridge) -> None:
    """Zero clients is a number like others; a missing document would reveal more."""
    bridge.end_day()
    assert bridge.document().ips == {}


def test_lines_go_when_their_time_has_come(bridge: Bridge) -> None:
    """48 hours after their interval's end, at a tick; lines of later intervals stay."""
    bridge.visit(9)
    bridge.end_day()
    bridge.visit(6)
    bridge.end_day()
    assert {line[:10] for line in bridge.log.read_text().splitlines()} == {"2012-02-07", "2012-02-08"}
    bridge.tick(DAY - 700)
    assert "2012-02-07" in bridge.log.read_text()
    bridge.tick(200)
    assert {line[:10] for line in bridge.log.read_text().splitlines()} == {"2012-02-08"}
    bridge.tick(DAY)
    assert bridge.log.read_text() == ""


def test_lines_may_go_at_once(tmp_path: Path) -> None:
    """`--forget-after 0`: together with the document; the running interval's lines stay."""
    bridge = Bridge(tmp_path, forget_after=0.0)
    bridge.visit(9)
    bridge.tick(DAY)
    bridge.visit(4, "198.51.100")
    bridge.tick(301)
    assert bridge.names() == [FIRST]
    assert {line[:10] for line in bridge.log.read_text().splitlines()} <= {"2012-02-08"}
    bridge.end_day()
    assert bridge.document(SECOND).ips == {"TR": 8}


def test_lines_that_are_not_published_yet_stay(tmp_path: Path) -> None:
    """Whatever their age: while the folder accepts nothing, only the log has them."""
    bridge = Bridge(tmp_path, forget_after=0.0)
    bridge.visit(9)
    shutil.rmtree(bridge.folder)
    bridge.end_day()
    bridge.tick(DAY)
    assert len([line for line in bridge.log.read_text().splitlines() if line.startswith("2012-02-07")]) == 9


def test_lines_of_an_interval_that_was_cut_short_go_as_well(tmp_path: Path) -> None:
    """They will never be published."""
    bridge = Bridge(tmp_path, forget_after=1.0)
    bridge.visit(9)
    bridge.stop()
    bridge.clock.pass_time(DAY + 3599)
    bridge.start()
    bridge.tick()
    assert bridge.log.read_text() != ""
    bridge.tick(3602)
    assert bridge.log.read_text() == ""


@pytest.mark.parametrize("compress", [False, True])
def test_what_was_rotated_away_is_counted(bridge: Bridge, compress: bool) -> None:  # noqa: FBT001
    """By number or date, compressed or not; a copy under another name is not counted."""
    bridge.visit(9)
    rotated = bridge.home / "clients.log.1"
    bridge.log.rename(rotated)
    shutil.copy(rotated, bridge.home / "clients.log.mine")
    if compress:
        (bridge.home / "clients.log.1.gz").write_bytes(gzip.compress(rotated.read_bytes()))
        rotated.unlink()
    bridge.recorder.reopen()
    bridge.visit(9, "198.51.100")
    bridge.end_day()
    assert bridge.document().requests == {"DE": 16, "TR": 16}


def test_a_log_that_was_rotated_away_is_an_empty_one(bridge: Bridge) -> None:
    """No client is needed before a day without clients is published."""
    bridge.visit(9)
    bridge.end_day()
    assert len(list(bridge.folder.glob("2*"))) == 1
    bridge.log.rename(bridge.home / "clients.log.1")
    bridge.end_day()
    assert len(list(bridge.folder.glob("2*"))) == 2


def test_two_programs_with_one_folder_are_refused(bridge: Bridge) -> None:
    """Their documents would have the same names."""
    store = Aggregate()
    recorder = Recorder(store, countries(), clock=bridge.clock)
    options = PublishOptions(bridge.folder, aggregate=True)
    with pytest.raises(RecordError, match="in use by another program"):
        Publisher(options, recorder, MemorySource(store), bridge.clock)
    recorder.close()
