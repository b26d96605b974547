"""A bridge that publishes by itself (`--publish DIR`): each interval once, when it is over; then its lines go.

- An interval is over for the world when its last lines are written, at a random moment within ten minutes of its end
  (record/batches.py). Only intervals that one program has run through from beginning to end are published.
- The ledger in DIR knows of an interval that is over, and whose lines were all there, before its document is made: if
  the program is killed in between, the next one makes it, from the log. What is not known to be whole never gets there,
  for the next program could not tell: it knows no number to compare with.
- What is in the log is counted on a thread of its own, with what it was rotated into (own_log.py). Where lines
  of an interval are missing its numbers are no day's numbers: it is given up, and the ledger knows that.
- Whatever cannot be written or read is tried again with the next tick, and holds up nothing else. Lines go only when
  their interval has been published, or can no longer be: because a restart cut it short, or it was given up.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from obfstats.formats.counts import INTERVAL_SECONDS
from obfstats.proxy.forgetting import Forgetting
from obfstats.proxy.logs import NOTICE
from obfstats.proxy.own_log import count_interval, sync
from obfstats.proxy.threads import on_a_thread
from obfstats.publish.intervals import Interval
from obfstats.publish.ledger import LedgerError
from obfstats.publish.logfiles import LogFileError
from obfstats.publish.noise import write_epsilon
from obfstats.publish.release import ReleaseError, Releases
from obfstats.publish.rounding import Heading, noisy_document, rounded_document
from obfstats.record import RecordError
from obfstats.record.aggregate import Aggregate
from obfstats.record.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.formats.counts import Counts
    from obfstats.formats.document import Document
    from obfstats.publish.release_options import Publishing
    from obfstats.record import Countries, Recorder
    from obfstats.record.clock import Clock
    from obfstats.record.seen import Finished

MOST_WAITING = 3
"""Intervals that are kept in memory while the folder takes no documents (`--aggregate`)."""

_DAY = timedelta(seconds=INTERVAL_SECONDS)

_log = logging.getLogger(__name__)


class Publisher:
    """Publishes a recorder's intervals."""

    def __init__(self, publishing: Publishing, recorder: Recorder, clock: Clock) -> None:
        """Open the folder.

        Args:
            publishing: what is published, and where.
            recorder: whose intervals.
            clock: what tells the time.

        Raises:
            RecordError: if documents cannot be published as asked.
        """
        if publishing.epsilon is not None and recorder.countries.codes is None:
            raise RecordError(
                "--epsilon needs GeoIP files, for the list of countries: install tor-geoipdb, or give --geoip FILE"
            )
        try:
            self._releases = Releases(publishing.folder)
        except (ReleaseError, LedgerError) as error:
            raise RecordError(str(error)) from None
        self._publishing = publishing
        self._recorder = recorder
        self._store = recorder.store
        self._waiting: dict[str, Finished | None] = {}
        self._documents: dict[str, Document] = {}
        self._in_hand = ""
        self._forgetting: Forgetting | None = None
        if isinstance(self._store, Journal):
            self._waiting = dict.fromkeys(self._releases.ledger.over())
            self._forgetting = Forgetting(self._store, clock, publishing.forget_after)
        self._looks_whole = True
        self._is_busy = False
        self._refused = ""
        self._is_said: set[str] = set()

    async def look(self) -> None:
        """Publish what is over, and forget what is old. While a folder lets an earlier call wait, take notice alone."""
        for finished in self._recorder.finished():
            self._waiting[finished.label.rstrip()] = finished
            self._looks_whole = True
        if isinstance(self._store, Aggregate):
            self._keep_within_bounds(self._store)
        if self._is_busy:
            return
        self._is_busy = True
        try:
            reasons = [*await self._publish_all(), *await self._forget()]
        finally:
            self._is_busy = False
        self._say(reasons)

    async def _publish_all(self) -> list[str]:
        """Publish whatever waits; give the reasons why something still does."""
        reasons = []
        if self._refused:
            try:
                await on_a_thread("publish", self._releases.finish)
            except OSError as error:
                reasons.append(_reason(error))
        for start in sorted(self._waiting):
            if start not in self._waiting:
                continue
            self._in_hand = start
            try:
                await self._publish(start, self._waiting[start])
            except (OSError, LogFileError, LedgerError) as error:
                reasons.append(_reason(error))
            else:
                self._waiting.pop(start, None)
                self._documents.pop(start, None)
                self._store.forget(start)
            finally:
                self._in_hand = ""
        return reasons

    async def _publish(self, start: str, finished: Finished | None) -> None:
        """Publish one interval, unless it has been.

        Args:
            start: of the interval.
            finished: what the recorder says of it; None where that was an earlier program's affair.
        """
        if self._releases.ledger.is_released(start):
            return
        countries = finished.countries if finished else None
        if isinstance(self._store, Journal):
            counts = await on_a_thread("publish", partial(self._counts, self._store.path, start, finished))
        elif isinstance(self._store, Aggregate):
            counts = self._store.counts(start)
        if counts is None:
            _log.warning(
                "the interval from %s is not published: lines of it are missing from the log and from what stands"
                " beside it",
                start,
            )
            return
        where = await on_a_thread("publish", partial(self._release, counts, countries))
        _log.log(NOTICE, "the interval from %s is published: %s", start, where)

    def _counts(self, log: Path, start: str, finished: Finished | None) -> Counts | None:
        """Count an interval from the log; None where it has to be given up.

        What an earlier program has seen is not known any more; then nothing at all is taken for something that is
        missing.
        """
        counts, _, error = count_interval(log, start)
        found = sum(counts.requests.values())
        if found == finished.connections if finished else found and error is None:
            sync(log, start)
            self._releases.ledger.mark_over(start, INTERVAL_SECONDS)
            return counts
        if finished and found > finished.connections:
            raise LogFileError(f"lines from {start} stand twice, in the log and in a copy beside it: move that away")
        if error is not None:
            raise error
        self._releases.ledger.give_up(start, INTERVAL_SECONDS)
        return None

    def _release(self, counts: Counts, countries: Countries | None) -> Path:
        """Make the document and have it written."""
        epsilon = self._publishing.epsilon
        # Noise is drawn once: the mean of many tries is the number itself.
        document = self._documents.get(counts.start) or self._document(counts, countries)
        self._documents[counts.start] = document
        how = "rounded" if epsilon is None else f"discrete-laplace epsilon={write_epsilon(epsilon)}"
        return self._releases.release(document, how, _log.warning)

    def _document(self, counts: Counts, countries: Countries | None) -> Document:
        given = self._publishing.heading
        heading = Heading(given.fingerprint, given.extended, *(countries.origins if countries else ()))
        end = datetime.fromisoformat(counts.start) + _DAY
        interval = Interval(counts, INTERVAL_SECONDS, str(end))
        if self._publishing.epsilon is None:
            return rounded_document(interval, heading)
        codes = (countries or self._recorder.countries).codes or ()
        return noisy_document(interval, heading, codes, self._publishing.epsilon)

    async def _forget(self) -> list[str]:
        """Take old intervals out of the log; give the reason if that cannot be done."""
        if self._forgetting is None:
            return []
        needed = {*self._waiting, *(label.rstrip() for label in self._recorder.unfinished())}
        try:
            await self._forgetting.look(needed, whole=self._looks_whole)
        except OSError as error:
            return [_reason(error)]
        self._looks_whole = False
        return []

    def _keep_within_bounds(self, store: Aggregate) -> None:
        """Give up what has waited too long in memory, and say once what limits an aggregate has met."""
        for start in sorted(self._waiting.keys() - {self._in_hand})[:-MOST_WAITING]:
            del self._waiting[start]
            self._documents.pop(start, None)
            store.forget(start)
            _log.warning("the interval from %s is given up: it could not be published for too long", start)
        sentences = {
            "more clients came in one interval than are told apart: of further ones only connections are counted": (
                store.overflowed
            ),
            "the kernel does not lock memory (ulimit -l): hashes could reach a swap file": not store.locked,
        }
        for sentence, is_so in sentences.items():
            if is_so and sentence not in self._is_said:
                self._is_said.add(sentence)
                _log.warning("%s", sentence)

    def _say(self, reasons: list[str]) -> None:
        """Say once that something cannot be done, and once that everything can again."""
        reason = reasons[0] if reasons else ""
        if reason and reason != self._refused:
            _log.warning("cannot publish (%s): it is tried again every half minute", reason)
        elif self._refused and not reason:
            _log.log(NOTICE, "%s takes documents again", self._publishing.folder)
        self._refused = reason


def _reason(error: OSError | LogFileError | LedgerError) -> str:
    """Say what is in the way. An OSError's text begins with its number, which is nobody's affair."""
    if not isinstance(error, OSError):
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
