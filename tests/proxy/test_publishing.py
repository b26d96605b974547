"""A bridge that publishes by itself: each interval once, when it is over; and then it forgets."""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
import shutil
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from obfstats.formats.document import read_documents
from obfstats.proxy.publishing import Publisher
from obfstats.publish.intervals import Rule
from obfstats.publish.ledger import Ledger
from obfstats.publish.output import Output
from obfstats.publish.release_options import Publishing
from obfstats.publish.rounding import Heading
from obfstats.record.aggregate import Aggregate
from obfstats.record.errors import RecordError
from obfstats.record.journal import Journal
from obfstats.record.recorder import COLUMNS, Recorder
from tests.publish.converting import NOW, made
from tests.record.surroundings import DAY, MovedClock, countries

if TYPE_CHECKING:
    from obfstats.formats.document import Document
    from obfstats.record.store import Store

FIRST = "2012-02-08-14-01-04-obfsproxy-stats"
SECOND = "2012-02-09-14-01-04-obfsproxy-stats"


@dataclass
class Bridge:
    """A recorder and its publisher on a clock that the test moves; started as often as the test likes."""

    home: Path
    clock: MovedClock = field(default_factory=MovedClock)
    forget_after: float = 48.0
    aggregate: bool = False
    epsilon: Fraction | None = None
    heading: Heading = field(default_factory=lambda: Heading(extended=True))
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start it."""
        self.start()

    @property
    def log(self) -> Path:
        """The statistics log."""
        return self.home / "clients.log"

    @property
    def folder(self) -> Path:
        """Where documents are."""
        return self.home / "public"

    def start(self) -> None:
        """Start the program, as after a stop."""
        store: Store = Aggregate() if self.aggregate else Journal(self.log, warn=self.said.append)
        geoip = countries()
        geoip.codes = ("??", "de", "jp", "tr")
        self.recorder = Recorder(
            store, geoip, clock=self.clock, closing_delay=lambda: 300.0, buffer=3, columns=COLUMNS
        )  # fmt: skip
        publishing = Publishing(
            self.folder, self.heading, self.epsilon, timedelta(hours=self.forget_after), self.aggregate
        )  # fmt: skip
        self.publisher = Publisher(publishing, self.recorder, self.clock)

    def stop(self) -> None:
        """End it."""
        self.recorder.close()
        self.publisher._releases.close()

    def visit(self, number: int, network: str = "192.0.2", transport: str = "obfs3") -> None:
        """Have so many clients come."""
        for client in range(number):
            self.recorder.record(f"{network}.{client}", transport)

    def tick(self, seconds: float = 0.0) -> None:
        """Let time pass, then do what the program does twice a minute."""
        self.clock.pass_time(seconds)
        self.recorder.tick()
        asyncio.run(self.publisher.look())

    def end_day(self) -> None:
        """Let an interval end, and its closing batch be written."""
        self.tick(DAY)
        self.tick(301)

    def names(self) -> list[str]:
        """What an outsider sees in the folder."""
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))

    def document(self, name: str = FIRST) -> Document:
        """Read one."""
        (document,) = read_documents((self.folder / name).read_bytes())
        return document


@pytest.fixture
def bridge(tmp_path: Path) -> Bridge:
    """A bridge with a log."""
    return Bridge(tmp_path)


def test_an_interval_is_published_when_its_last_line_is_written(bridge: Bridge) -> None:
    """Not at its end, but behind the random delay; the document is what convert prints, byte for byte."""
    bridge.visit(10)
    bridge.visit(5, "198.51.100", "obfs2")
    bridge.tick(DAY)
    bridge.tick(299)
    assert bridge.names() == []
    bridge.tick(2)
    assert bridge.names() == [FIRST]
    assert bridge.document().ips == {"DE": 16, "TR": 8}
    converted = made(bridge.log, rule=Rule(NOW), output=Output("ticket", bridge.heading))
    assert (bridge.folder / FIRST).read_text() == converted.text


def test_others_may_read_documents_and_nothing_else(bridge: Bridge) -> None:
    """Documents are made to be read; log and ledger are not."""
    bridge.visit(1)
    bridge.end_day()
    assert (bridge.folder / FIRST).stat().st_mode & 0o777 == 0o644
    assert (bridge.folder / ".ledger").stat().st_mode & 0o777 == 0o600
    assert bridge.log.stat().st_mode & 0o777 == 0o600


def test_an_interval_is_published_once_whatever_happens(bridge: Bridge) -> None:
    """Not again with later ticks, nor after a restart, nor when somebody has taken the document away."""
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
    """The folder was away when it ended; the next program makes the document from the log."""
    bridge.visit(9)
    bridge.tick(DAY)
    mark = bridge.publisher._releases.ledger
    mark.mark_over("2012-02-07 14:01:04", 86_400)
    bridge.recorder.tick()
    bridge.clock.pass_time(301)
    bridge.recorder.tick()
    bridge.stop()
    bridge.start()
    assert bridge.names() == []
    bridge.tick()
    assert bridge.names() == [FIRST]
    assert bridge.document().ips == {"DE": 16}


def test_an_interval_that_a_restart_cut_short_is_never_published(bridge: Bridge) -> None:
    """Also where the next program starts days later: only who ran it through knows that it was whole."""
    bridge.visit(9)
    bridge.stop()
    bridge.clock.pass_time(2 * DAY)
    bridge.start()
    bridge.visit(2)
    bridge.end_day()
    assert bridge.names() == ["2012-02-10-14-01-04-obfsproxy-stats"]


def test_a_day_without_clients_is_published_too(bridge: Bridge) -> None:
    """Nobody came is a number like others; a document that is missing would say more than one."""
    bridge.end_day()
    assert bridge.document().ips == {}


def test_lines_go_when_their_time_has_come(bridge: Bridge) -> None:
    """48 hours after their interval's end, at a tick; those of younger intervals stay."""
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
    """`--forget-after 0`: with the document; the running interval's are not touched."""
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
    """Whatever their age: while the folder takes nothing, the log is all there is."""
    bridge = Bridge(tmp_path, forget_after=0.0)
    bridge.visit(9)
    shutil.rmtree(bridge.folder)
    bridge.end_day()
    bridge.tick(DAY)
    assert len([line for line in bridge.log.read_text().splitlines() if line.startswith("2012-02-07")]) == 9


def test_lines_of_an_interval_that_was_cut_short_go_as_well(tmp_path: Path) -> None:
    """Nobody will publish them, and nobody needs them."""
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
    """By number or date, compressed or not; a copy under another name is not counted twice."""
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


def test_a_folder_that_takes_nothing_is_said_once_and_tried_again(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients never notice; the document comes when the folder is back."""
    bridge.visit(9)
    hidden = bridge.home / "away"
    bridge.folder.rename(hidden)
    bridge.end_day()
    bridge.tick(31)
    assert [record.levelname for record in caplog.records if "cannot publish" in record.message] == ["WARNING"]
    hidden.rename(bridge.folder)
    bridge.tick(31)
    assert bridge.names() == [FIRST]


def test_a_document_that_could_not_be_given_its_name_gets_it_later(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger knows of its release already, so nobody would make it again."""
    bridge.visit(9)

    def fail(_path: Path, _target: Path) -> Path:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as failing:
        failing.setattr(Path, "rename", fail)
        bridge.end_day()
    assert not list(bridge.folder.glob("2*"))
    bridge.tick(31)
    assert bridge.document().requests == {"DE": 16}


def test_what_cannot_be_published_is_remembered(bridge: Bridge) -> None:
    """A file beside the log that cannot be read holds up every day; the next program knows of each of them."""
    broken = bridge.home / "clients.log-20990101.gz"
    broken.write_bytes(b"\x1f\x8bbroken")
    os.utime(broken, (2**32, 2**32))
    bridge.visit(9)
    bridge.end_day()
    bridge.visit(9)
    bridge.end_day()
    assert not list(bridge.folder.glob("2*"))
    lines = (bridge.folder / ".ledger").read_text().splitlines()
    assert [line.endswith(" over") for line in lines] == [True, True]


def test_a_log_that_was_rotated_away_is_an_empty_one(bridge: Bridge) -> None:
    """Nobody has to come before a day without anybody is published."""
    bridge.visit(9)
    bridge.end_day()
    assert len(list(bridge.folder.glob("2*"))) == 1
    bridge.log.rename(bridge.home / "clients.log.1")
    bridge.end_day()
    assert len(list(bridge.folder.glob("2*"))) == 2


def test_a_killed_program_leaves_nothing_half_done(bridge: Bridge) -> None:
    """Between ledger and name: the next start gives the document its name. Before the ledger: it is made anew."""
    bridge.visit(9)
    bridge.end_day()
    (bridge.folder / FIRST).rename(bridge.folder / f".{FIRST}.new")
    text = (bridge.folder / f".{FIRST}.new").read_bytes()
    (bridge.folder / f".{SECOND}.new").write_bytes(text.replace(b"02-08", b"02-09"))
    bridge.stop()
    bridge.start()
    assert bridge.names() == [FIRST]
    assert [path.name for path in bridge.folder.iterdir() if path.name.endswith(".new")] == []
    assert (bridge.folder / FIRST).read_bytes() == text


def test_two_programs_with_one_folder_are_refused(bridge: Bridge, tmp_path: Path) -> None:
    """Their documents would have the same names."""
    recorder = Recorder.open(None, clock=bridge.clock)
    publishing = Publishing(bridge.folder, Heading(), None, timedelta(0), aggregate=True)
    with pytest.raises(RecordError, match="in use by another program"):
        Publisher(publishing, recorder, bridge.clock)
    recorder.close()
    assert tmp_path.is_dir()


# In memory


def test_in_memory_documents_are_those_of_the_log(tmp_path: Path) -> None:
    """The same clients at the same moments: byte for byte, and no file but the document and the ledger."""
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


def test_in_memory_nothing_stays_of_a_published_interval(tmp_path: Path) -> None:
    """Its pages are overwritten and given back as soon as the document is out."""
    bridge = Bridge(tmp_path, aggregate=True)
    bridge.visit(10)
    store = bridge.recorder.store
    assert isinstance(store, Aggregate)
    pages = store._intervals["2012-02-07 14:01:04"].clients._pages
    bridge.end_day()
    assert pages.memory.closed
    assert store._intervals == {}


def test_in_memory_what_cannot_be_published_does_not_pile_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Three intervals are kept while the folder is away; older ones are given up, and that is said."""
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


def test_in_memory_limits_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """More clients than are told apart: the numbers are too low, and the operator knows."""
    bridge = Bridge(tmp_path, aggregate=True)
    store = bridge.recorder.store
    assert isinstance(store, Aggregate)
    store._most = 5
    bridge.visit(20)
    for _ in range(3):
        bridge.tick(31)
    assert [record.message for record in caplog.records if "clients came" in record.message] == [
        "a million clients came in one interval: of further ones only connections are counted"
    ]


# Noise


def test_noise_covers_every_country_of_the_list(tmp_path: Path) -> None:
    """Those that nobody came from as well; no connections, no further lines; the document says what was done."""
    bridge = Bridge(tmp_path, epsilon=Fraction(1, 2))
    bridge.visit(10)
    bridge.end_day()
    document = bridge.document()
    assert document.epsilon == "0.5"
    assert set(document.ips or {}) == {"??", "DE", "JP", "TR"}
    assert (document.requests, document.ip_versions, document.ip_transports) == (None, None, None)
    bridge.publisher._releases.close()
    with Ledger.open(bridge.folder / ".ledger") as ledger:
        assert ledger.is_released("2012-02-07 14:01:04")


def test_noise_needs_a_list_of_countries(tmp_path: Path) -> None:
    """The registries' data has none: said at the start, with what to do."""
    recorder = Recorder(Aggregate(), countries(), clock=MovedClock(), columns=COLUMNS)
    publishing = Publishing(tmp_path, Heading(), Fraction(1), timedelta(0), aggregate=True)
    with pytest.raises(RecordError, match="install tor-geoipdb"):
        Publisher(publishing, recorder, MovedClock())
    recorder.close()
