"""A bridge that publishes, on a clock that a test moves."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from obfstats.bridge.interval_sources import LogSource, MemorySource
from obfstats.bridge.options import PublishOptions
from obfstats.bridge.publishing import Publisher
from obfstats.formats.document import read_documents
from obfstats.record.aggregate import Aggregate
from obfstats.record.journal import Journal
from obfstats.record.recorder import COLUMNS, Recorder
from peers.clocks import DAY, MovedClock
from tests.record.surroundings import countries

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from obfstats.bridge.interval_sources import IntervalSource
    from obfstats.formats.document import Document
    from obfstats.publish.budget import EpsilonBudget

FIRST = "2012-02-08-14-01-04-obfsproxy-stats"
SECOND = "2012-02-09-14-01-04-obfsproxy-stats"


@dataclass
class Bridge:
    """A recorder and its publisher on a clock that the test moves; it can be restarted."""

    home: Path
    clock: MovedClock = field(default_factory=MovedClock)
    forget_after: float = 48.0
    aggregate: bool = False
    epsilon: Fraction | None = None
    budget: EpsilonBudget | None = None
    extended: bool = True
    fingerprint: str | None = None
    instance: str | None = None
    managed: bool = False
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start it."""
        self.start()

    @property
    def log(self) -> Path:
        """The statistics log."""
        return self.home / "clients.log"

    @property
    def hashed_fingerprint(self) -> Path:
        """Where tor writes the bridge's hashed fingerprint."""
        return self.home / "hashed-fingerprint"

    @property
    def ledger(self) -> Path:
        """The ledger: beside the log, if there is one."""
        return self.folder / ".ledger" if self.aggregate else self.home / ".clients.log.ledger"

    @property
    def folder(self) -> Path:
        """Where documents are."""
        return self.home / "public"

    @property
    def _hidden(self) -> Path:
        return self.folder / f".{FIRST}.new"

    def start(self) -> None:
        """Start the program, as after `stop`."""
        store: Journal | Aggregate
        source: IntervalSource
        if self.aggregate:
            store = Aggregate(warn=self.said.append)
            source = MemorySource(store)
        else:
            store = Journal(self.log, warn=self.said.append)
            source = LogSource(store, self.clock, timedelta(hours=self.forget_after))
        geoip = countries()
        geoip.codes = ("??", "de", "jp", "tr")
        self.recorder = Recorder(
            store, geoip, clock=self.clock, draw_delay=lambda: 300.0, buffer=1, columns=COLUMNS
        )  # fmt: skip
        options = PublishOptions(
            self.folder,
            fingerprint=self.fingerprint,
            instance=self.instance,
            extended=self.extended,
            epsilon=self.epsilon,
            budget=self.budget,
            forget_after=timedelta(hours=self.forget_after),
            aggregate=self.aggregate,
        )
        hashed_fingerprint = self.hashed_fingerprint if self.managed else None
        self.publisher = Publisher(options, self.recorder, source, self.clock, hashed_fingerprint)

    def stop(self) -> None:
        """End it."""
        self.recorder.close()
        self.publisher._folder.close()

    def visit(self, number: int, network: str = "192.0.2", transport: str = "obfs3") -> None:
        """Record so many clients."""
        for client in range(number):
            self.recorder.record(f"{network}.{client}", transport)

    def tick(self, seconds: float = 0.0) -> None:
        """Move the clock, then do what the program does twice a minute."""
        self.clock.pass_time(seconds)
        self.recorder.tick()
        asyncio.run(self.publisher.publish_due())

    def end_day(self) -> None:
        """Let an interval end and its closing batch be written."""
        self.tick(DAY)
        self.tick(301)

    def block(self) -> None:
        """Make it impossible to write the first day's document."""
        (self._hidden / "full").mkdir(parents=True)

    def unblock(self) -> None:
        """Undo `block`."""
        shutil.rmtree(self._hidden)

    def names(self) -> list[str]:
        """The names of the published documents."""
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))

    def document(self, name: str = FIRST) -> Document:
        """Read a document."""
        (document,) = read_documents((self.folder / name).read_bytes())
        return document
