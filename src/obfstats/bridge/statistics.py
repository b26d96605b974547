"""The daemons' statistics: the recorder, what publishes its intervals, and GeoIP files that may be replaced."""

from __future__ import annotations

import logging
from random import SystemRandom
from typing import TYPE_CHECKING

from obfstats.bridge import threads
from obfstats.bridge.identity import find_hashed_fingerprint
from obfstats.bridge.interval_sources import LogSource, MemorySource
from obfstats.bridge.logs import NOTICE
from obfstats.bridge.publishing import Publisher
from obfstats.bridge.unsent import remove_list
from obfstats.commandline import UsageError, find_state_folder
from obfstats.formats.address import WHOLE_IPV6
from obfstats.record import LogInUseError, Recorder, RecordError
from obfstats.record.aggregate import Aggregate
from obfstats.record.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.bridge.interval_sources import IntervalSource
    from obfstats.bridge.options import PublishOptions, StatisticsOptions
    from obfstats.bridge.submitting import Submissions
    from obfstats.record.clock import Clock

LOG_NAME = "clients"

_log = logging.getLogger(__name__)


class Statistics:
    """A recorder and what it needs while the program runs.

    Attributes:
        recorder: counts clients.
        published: the folder of documents; None if none are published.
    """

    def __init__(
        self,
        recorder: Recorder,
        publisher: Publisher | None,
        submissions: Submissions | None,
        published: Path | None = None,
    ) -> None:
        self.recorder = recorder
        self.published = published
        self._publisher = publisher
        self._submissions = submissions
        self._geoip = GeoIpReloader(recorder)
        self._disk: threads.JobThread | None = None

    @property
    def is_log_failing(self) -> bool:
        """Whether the disk refuses lines of the log."""
        return isinstance(self.recorder.store, Journal) and self.recorder.store.is_failing

    @property
    def is_publishing_failing(self) -> bool:
        """Whether something is in the way of publishing."""
        return self._publisher is not None and self._publisher.is_failing

    @property
    def failed_submissions(self) -> int | None:
        """How often sending has failed since it last worked; None if nothing is sent."""
        return None if self._submissions is None else self._submissions.failures

    def start_thread(self) -> None:
        """Have the log written on a thread of its own from now on.

        Raises:
            OSError: if no thread can be started.
        """
        if isinstance(self.recorder.store, Journal):
            self._disk = threads.JobThread("statistics-log")
            self.recorder.store.run_job = self._disk.run

    def wait_for_disk(self, seconds: float) -> None:
        """Wait until the log has what was given to it, or so many seconds have passed."""
        if self._disk is not None:
            self._disk.wait(seconds)

    async def read_countries(self) -> None:
        """Make tables of the GeoIP files: that takes too long to be done before tor has its answers."""
        await self._geoip.reload_changed(at_once=True)
        _log.log(NOTICE, "countries come from %s and %s", *self.recorder.countries.descriptions)

    async def update(self) -> None:
        """Do what is due after the recorder's tick: read changed GeoIP files, publish, send."""
        await self._geoip.reload_changed()
        if self._publisher is not None:
            await self._publisher.publish_due()
        if self._submissions is not None:
            await self._submissions.submit_due()

    async def reload(self) -> None:
        """Reopen the log and read the GeoIP files again (SIGHUP)."""
        self.recorder.reopen()
        await self._geoip.reload_changed(force=True)


def open_statistics(options: StatisticsOptions, folder: Path | None, clock: Clock, name: str = "") -> Statistics:
    """Open the statistics, and log where they go.

    Args:
        options: what is counted.
        folder: tor's folder for transports, where the log is kept if the options do not say; None for the user's state
            folder, if tor has not started the program.
        clock: the clocks.
        name: distinguishes this program from others in the same folder. If one of them has the usual log already, this
            goes into the log's name.

    Raises:
        RecordError: if they cannot be kept as asked.
    """
    recorder = _open_recorder(options, folder, clock, name)
    publisher = submissions = None
    try:
        if options.publish is not None:
            source = _open_source(recorder.store, clock, options.publish)
            hashed_fingerprint = None if folder is None else find_hashed_fingerprint(folder)
            publisher = Publisher(options.publish, recorder, source, clock, hashed_fingerprint)
            _log.log(NOTICE, "each interval is published in %s when it is over", options.publish.folder)
            submissions = _open_submissions(options.publish, _choose_folder(options, folder), clock)
    except RecordError:
        recorder.close()
        raise
    return Statistics(recorder, publisher, submissions, None if options.publish is None else options.publish.folder)


def _open_submissions(options: PublishOptions, state: Path, clock: Clock) -> Submissions | None:
    """Open what sends documents, if they are sent."""
    if options.submit is None:
        remove_list(options.folder)
        return None
    # A tenth of the start, and most bridges send nothing.
    from obfstats.bridge.submitting import Submissions  # noqa: PLC0415

    return Submissions(options.submit, options.folder, state, clock, SystemRandom().uniform)


def _open_source(store: Journal | Aggregate, clock: Clock, options: PublishOptions) -> IntervalSource:
    if isinstance(store, Aggregate):
        return MemorySource(store)
    return LogSource(store, clock, options.forget_after)


def _open_recorder(options: StatisticsOptions, folder: Path | None, clock: Clock, name: str) -> Recorder:
    if options.publish is not None and options.publish.aggregate:
        return _open(options, None, clock)
    if options.log is not None:
        return _open(options, options.log, clock)
    folder = _choose_folder(options, folder)
    try:
        return _open(options, folder / f"{LOG_NAME}.log", clock)
    except LogInUseError:
        if not name:
            raise
        return _open(options, folder / f"{LOG_NAME}-{name}.log", clock)


def _choose_folder(options: StatisticsOptions, folder: Path | None) -> Path:
    """Choose the folder for what must survive a restart.

    Raises:
        RecordError: if there is none.
    """
    try:
        return options.data_dir or folder or find_state_folder()
    except UsageError as error:
        raise RecordError(str(error)) from None


def _open(options: StatisticsOptions, log: Path | None, clock: Clock) -> Recorder:
    recorder = Recorder.open(
        log,
        geoip=options.geoip,
        geoip6=options.geoip6,
        buffer=options.buffer,
        columns=options.columns,
        ipv6_prefix=options.ipv6_prefix or WHOLE_IPV6,
        make_folder=options.log is None,
        clock=clock,
        make_tables=False,
    )
    if log is None:
        _log.log(NOTICE, "statistics are kept in memory alone")
    else:
        _log.log(NOTICE, "statistics go to %s, with a buffer for %d networks", log, options.buffer)
    return recorder


class GeoIpReloader:
    """Reads GeoIP files again when they have changed; new ones count from the next interval on.

    Reading takes a second or more, so it runs on a thread: no connection waits for it, nor does the end of the program.
    If a new file cannot be used the old tables stay.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._is_reading = False
        self._again = False

    async def reload_changed(self, *, force: bool = False, at_once: bool = False) -> None:
        """Read the files, if they have changed.

        Args:
            force: read them in any case (SIGHUP). While they are being read, this has them read once more.
            at_once: use them at once, not from the next interval on: they are what is in use, as tables.
        """
        if self._is_reading:
            self._again = self._again or force
            return
        self._is_reading = True
        try:
            while force or self._recorder.countries.changed():
                self._again = False
                await self._reload(at_once=at_once)
                force, at_once = self._again, False
        finally:
            self._is_reading = False

    async def _reload(self, *, at_once: bool) -> None:
        try:
            countries = await threads.run_in_thread("geoip", self._recorder.countries.reload)
        except RecordError as error:
            _log.warning("countries stay as they were: %s", error)
            return
        if at_once:
            self._recorder.use_countries(countries)
            return
        self._recorder.replace_countries(countries)
        _log.log(NOTICE, "from the next interval on countries come from %s and %s", *countries.descriptions)
