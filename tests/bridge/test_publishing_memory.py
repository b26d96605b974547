"""Publishing without a log, and with noise."""

from __future__ import annotations

import errno
import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from obfstats.bridge import threads
from obfstats.bridge.interval_sources import MemorySource
from obfstats.bridge.options import PublishOptions
from obfstats.bridge.publishing import Publisher
from obfstats.formats.interval import Interval
from obfstats.publish.ledger import Ledger
from obfstats.record.aggregate import Aggregate
from obfstats.record.errors import RecordError
from obfstats.record.recorder import COLUMNS, Recorder
from peers.clocks import DAY, MovedClock
from tests.bridge.published import FIRST, SECOND, Bridge
from tests.record.surroundings import countries

if TYPE_CHECKING:
    from collections.abc import Callable


def test_new_countries_are_not_those_of_the_day_before(tmp_path: Path) -> None:
    """The files were replaced during the day; noise covers the list that clients were looked up in."""
    bridge = Bridge(tmp_path, epsilon=Fraction(1, 2))
    bridge.visit(3)
    fresh = countries()
    fresh.codes = ("??", "fr")
    bridge.recorder.replace_countries(fresh)
    bridge.end_day()
    assert set(bridge.document().ips or {}) == {"??", "DE", "JP", "TR"}


def test_in_memory_documents_are_those_of_the_log(tmp_path: Path) -> None:
    """With the same clients at the same moments byte for byte, and no file but documents and ledger."""
    texts = []
    for place, aggregate in (("log", False), ("memory", True)):
        (tmp_path / place).mkdir()
        bridge = Bridge(tmp_path / place, aggregate=aggregate)
        for _ in range(2):
            bridge.visit(10)
            bridge.visit(5, "198.51.100", "obfs2")
            bridge.visit(3, transport="obfs2")
            bridge.end_day()
        texts.append([(bridge.folder / name).read_bytes() for name in (FIRST, SECOND)])
    assert texts[0] == texts[1]
    assert [path.name for path in (tmp_path / "memory").iterdir()] == ["public"]


def test_a_day_without_clients_is_the_same_document_without_a_log(tmp_path: Path) -> None:
    """Zero clients by any transport, whether that is read from a log or counted in memory."""
    texts = []
    for place, aggregate in (("log", False), ("memory", True)):
        (tmp_path / place).mkdir()
        bridge = Bridge(tmp_path / place, aggregate=aggregate)
        bridge.end_day()
        texts.append((bridge.folder / FIRST).read_bytes())
    assert texts[0] == texts[1]
    assert b"obfsproxy-ip-transports" in texts[0]


def test_in_memory_nothing_stays_of_a_published_interval(tmp_path: Path) -> None:
    """Its pages are overwritten and unmapped as soon as the document is made."""
    bridge = Bridge(tmp_path, aggregate=True)
    bridge.visit(10)
    store = bridge.recorder.store
    assert isinstance(store, Aggregate)
    pages = store._intervals[Interval.parse("2012-02-07 14:01:04")].clients._blocks[0]
    bridge.end_day()
    assert pages.memory.closed
    assert store._intervals == {}


def test_in_memory_nothing_waits_for_a_folder_but_the_document(tmp_path: Path) -> None:
    """While it accepts nothing, hashes are wiped all the same."""
    bridge = Bridge(tmp_path, aggregate=True)
    bridge.visit(10)
    store = bridge.recorder.store
    assert isinstance(store, Aggregate)
    away = tmp_path / "away"
    bridge.folder.rename(away)
    bridge.end_day()
    assert store._intervals == {}
    away.rename(bridge.folder)
    bridge.tick(31)
    assert bridge.document().ips == {"DE": 16}


def test_in_memory_what_cannot_be_published_does_not_pile_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Three intervals are kept while the folder is away; older ones are given up with a warning."""
    bridge = Bridge(tmp_path, aggregate=True)
    hidden = tmp_path / "away"
    bridge.folder.rename(hidden)
    for _ in range(5):
        bridge.visit(2)
        bridge.end_day()
    assert len([record for record in caplog.records if "is given up" in record.message]) == 2
    hidden.rename(bridge.folder)
    bridge.tick(31)
    assert len(bridge.names()) == 3


def test_in_memory_what_waits_longest_is_given_up_whatever_its_date(tmp_path: Path) -> None:
    """A clock that was years ahead is set back while the folder is away: the last three are kept."""
    bridge = Bridge(tmp_path, aggregate=True)
    away = tmp_path / "away"
    bridge.folder.rename(away)
    bridge.clock.set_wall(365 * DAY)
    bridge.tick()
    for _ in range(3):
        bridge.end_day()
    bridge.clock.set_wall(-365 * DAY)
    bridge.tick()
    for _ in range(3):
        bridge.end_day()
    away.rename(bridge.folder)
    bridge.tick(31)
    assert [name[:4] for name in bridge.names()] == ["2012"] * 3


def test_in_memory_limits_are_said_once(tmp_path: Path) -> None:
    """The operator is warned once that addresses are undercounted."""
    bridge = Bridge(tmp_path, aggregate=True)
    store = bridge.recorder.store
    assert isinstance(store, Aggregate)
    store._max_clients = 5
    bridge.visit(20)
    for _ in range(3):
        bridge.tick(31)
    assert [sentence for sentence in bridge.said if "more clients" in sentence] == [
        "an interval has more clients than can be told apart: of further ones only connections are counted"
    ]


def test_noise_covers_every_country_of_the_list(tmp_path: Path) -> None:
    """Countries without clients too; there are no requests and no further lines, and epsilon is named."""
    bridge = Bridge(tmp_path, epsilon=Fraction(1, 2))
    bridge.visit(10)
    bridge.end_day()
    document = bridge.document()
    assert document.epsilon == "0.5"
    assert set(document.ips or {}) == {"??", "DE", "JP", "TR"}
    assert (document.requests, document.ip_versions, document.ip_transports) == (None, None, None)
    bridge.publisher._folder.close()
    with Ledger.open(bridge.ledger) as ledger:
        assert ledger.is_released(Interval.parse("2012-02-07 14:01:04"))


@pytest.mark.parametrize("aggregate", [False, True])
def test_noise_waits_for_the_tables_of_the_geoip_files(tmp_path: Path, *, aggregate: bool) -> None:
    """Until they are made the list of countries is not known; a document with ?? alone would have all clients there."""
    bridge = Bridge(tmp_path, aggregate=aggregate, epsilon=Fraction(1, 2))
    bridge.recorder.countries.codes = ()
    bridge.visit(10)
    bridge.end_day()
    assert bridge.names() == []
    made = countries()
    made.codes = ("??", "de", "jp", "tr")
    bridge.recorder.use_countries(made)
    bridge.tick(31)
    assert set(bridge.document().ips or {}) == {"??", "DE", "JP", "TR"}


def test_noise_is_drawn_once_however_often_a_release_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of many draws would be the number itself; until its release others cannot read the one."""
    bridge = Bridge(tmp_path, epsilon=Fraction(1, 2))
    bridge.visit(10)
    hidden, real, drawn = bridge.folder / f".{FIRST}.new", os.fsync, list[tuple[bytes, int]]()

    def refuse_the_ledger(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name.endswith(".ledger") and hidden.exists():
            drawn.append((hidden.read_bytes(), hidden.stat().st_mode & 0o777))
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", refuse_the_ledger)
        bridge.end_day()
        for _ in range(3):
            bridge.tick(31)
    assert len(drawn) == 4
    assert len(set(drawn)) == 1
    bridge.tick(31)
    assert drawn[0] == ((bridge.folder / FIRST).read_bytes(), 0o600)


def test_nothing_is_written_that_a_ledger_would_not_know_of(tmp_path: Path) -> None:
    """Without a ledger no document is written, hidden or not."""
    bridge = Bridge(tmp_path, aggregate=True, epsilon=Fraction(1, 2))
    bridge.visit(10)
    ledger = bridge.ledger
    ledger.rename(tmp_path / "away")
    bridge.end_day()
    assert list(bridge.folder.iterdir()) == []
    (tmp_path / "away").rename(ledger)
    bridge.tick(31)
    assert bridge.names() == [FIRST]


def test_what_is_given_up_while_another_is_published_is_no_empty_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder hangs for days; then the interval in hand is published, and those that are still in memory."""
    bridge = Bridge(tmp_path, aggregate=True)
    real = threads.run_in_thread

    async def hang_for_days(name: str, work: Callable[[], object]) -> object:
        monkeypatch.setattr(threads, "run_in_thread", real)
        for _ in range(4):
            bridge.visit(9)
            bridge.clock.pass_time(DAY)
            bridge.recorder.tick()
            bridge.clock.pass_time(301)
            bridge.recorder.tick()
            await bridge.publisher.publish_due()
        return await real(name, work)

    away = tmp_path / "away"
    bridge.folder.rename(away)
    for _ in range(2):
        bridge.visit(9)
        bridge.end_day()
    away.rename(bridge.folder)
    monkeypatch.setattr(threads, "run_in_thread", hang_for_days)
    bridge.tick(31)
    bridge.tick(31)
    assert [bridge.document(name).ips for name in bridge.names()] == [{"DE": 16}] * 4


def test_noise_needs_a_list_of_countries(tmp_path: Path) -> None:
    """The registries' data has none: refused at the start, with what to do."""
    store = Aggregate()
    recorder = Recorder(store, countries(), clock=MovedClock(), columns=COLUMNS)
    options = PublishOptions(tmp_path, epsilon=Fraction(1), aggregate=True)
    with pytest.raises(RecordError, match="install tor-geoipdb"):
        Publisher(options, recorder, MemorySource(store), MovedClock())
    recorder.close()
