"""A bridge that publishes by itself (`--publish DIR`): each interval once, when it is over; then its lines are removed.

- An interval is published when its last lines are written: at a random moment within ten and a half minutes of its end,
  because they wait for up to ten minutes (record/batches.py), and then for a tick. Only intervals that one program has
  recorded from beginning to end are published.
- The ledger records that an interval is complete (it is over, and all its lines were found) before its document
  is released: if the program is killed in between, the next one makes the document from the log. An interval that is
  not known to be complete never gets into the ledger, because the next program could not tell: it knows in how many
  files the lines were, and not how many lines.
- If lines of an interval are missing, its numbers are not those of a day. It is given up for good: the ledger records
  that.
- A document is made once, and kept until DIR accepts it: noise that is drawn again hides less each time. Here noise is
  drawn before the ledger records it, unlike in publish/render.py: until then the document is only in memory and in a
  hidden file, which the next program deletes unread if this one is killed. So only one draw is ever published.
- What cannot be written or read is tried again with a later tick, and delays nothing else.
- Lines are removed only when their interval has been published or can no longer be: because a restart cut it short, or
  because it was given up or dropped. An interval is dropped when it has waited for too long, a week if it is in the
  log: lines must not stay until the operator repairs a folder. The ledger does not record that: if it has the interval
  as complete, the next program tries again, and gives it up if its lines are gone.
- `obfstats convert` uses the same ledger, which is beside the log: what that has printed is not published.
- The ledger is not closed at the program's end, when a thread may still be writing to it: the kernel closes it.
- Where the numbers come from, the log or memory, is known in interval_sources.py alone.
"""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from obfstats.bridge import threads
from obfstats.bridge.identity import FingerprintError, read_hashed_fingerprint
from obfstats.bridge.interval_sources import IntervalLostError
from obfstats.bridge.logs import NOTICE
from obfstats.publish.ledger import LedgerError, write_method
from obfstats.publish.logfiles import LogFileError
from obfstats.publish.making_documents import DocumentOptions, noisy_document, rounded_document
from obfstats.publish.release import ReleaseError, ReleaseFolder
from obfstats.record import RecordError
from obfstats.record.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from obfstats.bridge.interval_sources import IntervalSource
    from obfstats.bridge.options import PublishOptions
    from obfstats.formats.counts import Counts
    from obfstats.formats.document import Document
    from obfstats.formats.interval import Interval
    from obfstats.record import Recorder
    from obfstats.record.clock import Clock
    from obfstats.record.recorder import EndedInterval

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    """An interval that is over and not published yet.

    Attributes:
        since: boot time in seconds when this program noticed it.
        ended: what the recorder knows about it; None if an earlier program recorded it.
        files: how many files have lines of it, if that is known.
        document: what is to be published, once it is made.
        counting: when to count again, if that failed.
    """

    since: float
    ended: EndedInterval | None = None
    files: int | None = None
    document: Document | None = None
    counting: Backoff = field(default_factory=Backoff)


class Publisher:
    """Publishes a recorder's intervals."""

    def __init__(
        self,
        options: PublishOptions,
        recorder: Recorder,
        source: IntervalSource,
        clock: Clock,
        hashed_fingerprint: Path | None = None,
    ) -> None:
        """Open the folder.

        Args:
            options: what is published, and where.
            recorder: knows which intervals are over.
            source: gives their numbers.
            clock: the clocks.
            hashed_fingerprint: tor's file, which is read if the options have no fingerprint; None if tor has not
                started this program.

        Raises:
            RecordError: if documents cannot be published as asked.
        """
        if options.epsilon is not None and recorder.countries.codes is None:
            raise RecordError(
                "--epsilon needs GeoIP files, for the list of countries: install tor-geoipdb, or give --geoip FILE"
            )
        try:
            self._folder = ReleaseFolder(options.folder, source.ledger)
        except (ReleaseError, LedgerError) as error:
            raise RecordError(str(error)) from None
        self._options = options
        self._recorder = recorder
        self._source = source
        self._clock = clock
        self._hashed_fingerprint = None if options.fingerprint else hashed_fingerprint
        self._waiting: dict[Interval, _Waiting] = {}
        if source.is_durable:
            unreleased = self._folder.ledger.unreleased()
            self._waiting = {interval: _Waiting(clock.boot(), files=files) for interval, files in unreleased.items()}
        self._current: Interval | None = None
        self._removing = Backoff()
        self._is_busy = False
        self._reasons: set[str] = set()
        self._warnings: set[str] = set()

    @property
    def is_failing(self) -> bool:
        """Whether the last try met an obstacle."""
        return bool(self._reasons)

    async def publish_due(self) -> None:
        """Publish intervals that are over and remove old lines. While an earlier call hangs, only note what is over."""
        now = self._clock.boot()
        for ended in self._recorder.pop_written():
            self._waiting[ended.interval] = _Waiting(now, ended)
        self._drop_overdue(now)
        if self._is_busy:
            return
        self._is_busy = True
        try:
            reasons = [*await self._publish_all(), *await self._remove_old_lines()]
        finally:
            self._is_busy = False
        self._log_obstacles(reasons)

    async def _publish_all(self) -> list[str]:
        """Publish the intervals that wait; return the reasons why some still do."""
        reasons = []
        for interval in sorted(self._waiting):
            # While another one was published, this one may have been dropped.
            waiting = self._waiting.get(interval)
            if waiting is None:
                continue
            if waiting.document is None and not waiting.counting.is_due(self._clock.boot()):
                reasons.append(waiting.counting.reason)
                continue
            self._current = interval
            try:
                await self._publish_interval(interval, waiting)
                del self._waiting[interval]
            except (OSError, LogFileError, LedgerError) as error:
                reasons.append(_reason(error))
                if waiting.document is None:
                    waiting.counting.fail(reasons[-1], self._clock.boot())
            finally:
                self._current = None
        return reasons

    async def _publish_interval(self, interval: Interval, waiting: _Waiting) -> None:
        """Publish one interval, or find that it never will be."""
        ledger = self._folder.ledger
        if ledger.is_released(interval) and not (waiting.document and ledger.is_published(interval)):
            _log.warning("the interval from %s is not published: one with the same start has been", interval.label)
            return
        if waiting.document is None:
            connections = None if waiting.ended is None else waiting.ended.connections
            try:
                _check_that_all_were_counted(waiting.ended)
                await self._check_budget(interval)
                codes = self._find_codes(waiting.ended)
                counts, waiting.files = await self._source.count_interval(interval, connections, waiting.files)
            except IntervalLostError as error:
                await threads.run_in_thread("publish", partial(ledger.give_up, interval))
                _log.warning("the interval from %s is not published: %s", interval.label, error)
                return
            fingerprint = await self._find_fingerprint()
            waiting.document = self._make_document(counts, waiting.ended, codes, fingerprint)
        path = await threads.run_in_thread("publish", partial(self._release, interval, waiting.document, waiting.files))
        _log.log(NOTICE, "the interval from %s is published: %s", interval.label, path)

    async def _check_budget(self, interval: Interval) -> None:
        """Raise IntervalLostError if the interval's noise would spend more than there is."""
        budget = self._options.budget
        if budget is not None:
            spent = await threads.run_in_thread("publish", self._folder.ledger.spent_epsilon)
            if not budget.allows(interval.start, spent):
                raise IntervalLostError(str(budget))

    def _find_codes(self, ended: EndedInterval | None) -> Sequence[str]:
        """Find the countries whose numbers get noise: all that the GeoIP files name; none without noise.

        Raises:
            OSError: if that is not known yet.
        """
        if self._options.epsilon is None:
            return ()
        codes = (ended and ended.countries.codes) or self._recorder.countries.codes
        if not codes:
            raise OSError(errno.EAGAIN, "the tables of the GeoIP files are not made yet")
        return codes

    async def _find_fingerprint(self) -> str | None:
        """Find the bridge's hashed fingerprint; warn once if tor's file does not have it."""
        if self._hashed_fingerprint is None:
            return self._options.fingerprint
        try:
            return await threads.run_in_thread("publish", partial(read_hashed_fingerprint, self._hashed_fingerprint))
        except FingerprintError as error:
            self._warn_once(f"documents do not name the bridge: {error}; give --fingerprint HEX")
            return None

    def _make_document(
        self, counts: Counts, ended: EndedInterval | None, codes: Sequence[str], fingerprint: str | None
    ) -> Document:
        """Round the numbers, or draw noise for each of the country codes."""
        options, countries = self._options, None if ended is None else ended.countries
        geoip_sources = () if countries is None else countries.geoip_sources
        heading = DocumentOptions(
            fingerprint,
            options.extended,
            *geoip_sources,
            ipv6_prefix=self._recorder.ipv6_prefix,
            instance=options.instance,
        )
        if options.epsilon is None:
            return rounded_document(counts, heading)
        return noisy_document(counts, heading, codes, options.epsilon)

    def _release(self, interval: Interval, document: Document, files: int | None) -> Path:
        """Write a document, or do what is left of that; on a thread."""
        if self._folder.ledger.is_published(interval):
            return self._folder.complete_release(document, self._warn_once)
        if files is not None:
            self._folder.ledger.mark_complete(interval, files)
        method = write_method(self._options.epsilon, extended=self._options.extended)
        return self._folder.release(document, method, self._warn_once)

    async def _remove_old_lines(self) -> list[str]:
        """Remove old lines; return the reason if that has to wait."""
        now = self._clock.boot()
        if not self._removing.is_due(now):
            return [self._removing.reason]
        try:
            await self._source.remove_old_lines({*self._waiting, *self._recorder.not_fully_written()})
        except OSError as error:
            self._removing.fail(_reason(error), now)
            return [self._removing.reason]
        self._removing.succeed()
        return []

    def _drop_overdue(self, now: float) -> None:
        """Drop the intervals that have waited too long, except the one that is being published."""
        waiting = {interval: each.since for interval, each in self._waiting.items() if interval != self._current}
        for interval in self._source.drop_overdue(waiting, now):
            del self._waiting[interval]
            _log.warning("the interval from %s is given up: it could not be published for too long", interval.label)

    def _warn_once(self, sentence: str) -> None:
        """Log a warning that a later tick would repeat."""
        if sentence not in self._warnings:
            self._warnings.add(sentence)
            _log.warning("%s", sentence)

    def _log_obstacles(self, reasons: list[str]) -> None:
        """Log each obstacle once, and once that there is none any more."""
        for reason in dict.fromkeys(reasons):
            if reason not in self._reasons:
                _log.warning("cannot publish (%s): it is tried again", reason)
        if self._reasons and not reasons:
            _log.log(NOTICE, "%s accepts documents again", self._options.folder)
        self._reasons = set(reasons)


def _check_that_all_were_counted(ended: EndedInterval | None) -> None:
    """Raise IntervalLostError if clients were served that could not be counted."""
    if ended is not None and ended.uncounted:
        raise IntervalLostError("clients were served that were not counted: the transport did not say who they are")


def _reason(error: OSError | LogFileError | LedgerError) -> str:
    """Return the reason without the number that the text of an OSError begins with."""
    if not isinstance(error, OSError):
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
