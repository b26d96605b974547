"""A bridge that publishes by itself (`--publish DIR`): each interval once, when it is over; then its lines go.

- An interval is over for the world when its last lines are written, at a random moment within ten minutes of its end
  (record/batches.py). Only intervals that one program has run through from beginning to end are published.
- The ledger in DIR knows of an interval that is over, and whose lines were all there, before its document is released:
  if the program is killed in between, the next one makes it anew, from the log. What is not known to be whole never
  gets there, for the next program could not tell: it knows in how many files the lines were, and not how many.
- What is in the log is counted on a thread of its own, with what it was rotated into (own_log.py). Where lines of an
  interval are missing its numbers are no day's numbers: it is given up, and the ledger knows that.
- A document is made once, and kept until DIR takes it: noise that is drawn again and again is none. What was counted in
  memory is wiped as soon as its document is made.
- Whatever cannot be written or read is tried again with a later tick, and holds up nothing else. Lines go only when
  their interval has been published, or can no longer be: because a restart cut it short, or it was given up. That is
  done after a week, whatever is in the way: lines must not stay because nobody mends a folder.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from obfstats.bridge.forgetting import Forgetting
from obfstats.bridge.logs import NOTICE
from obfstats.bridge.own_log import count_interval, sync
from obfstats.bridge.threads import on_a_thread
from obfstats.formats.interval import INTERVAL_SECONDS
from obfstats.publish.ledger import LedgerError
from obfstats.publish.logfiles import LogFileError
from obfstats.publish.noise import write_epsilon
from obfstats.publish.release import ReleaseError, Releases
from obfstats.publish.rounding import Heading, noisy_document, rounded_document
from obfstats.record import RecordError
from obfstats.record.aggregate import Aggregate
from obfstats.record.backoff import Backoff
from obfstats.record.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.bridge.commands import PublishOptions
    from obfstats.formats.counts import Counts
    from obfstats.formats.document import Document
    from obfstats.record import Countries, Recorder
    from obfstats.record.clock import Clock
    from obfstats.record.seen import Finished

MOST_WAITING = 3
"""Intervals that are kept in memory while the folder takes no documents (`--aggregate`)."""

LONGEST_WAIT = 7 * 86_400.0
"""Seconds that an interval in the log may wait for its document."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    """An interval that is over and not published yet.

    Attributes:
        since: boot time in seconds when this program took notice of it.
        finished: what the recorder says of it; None where that was an earlier program's affair.
        files: how many files have lines of it; an earlier program knew that, too.
        document: what is to be published, once it is made.
        counting: when to count again, if that failed.
    """

    since: float
    finished: Finished | None = None
    files: int = 0
    document: Document | None = None
    counting: Backoff = field(default_factory=Backoff)


class Publisher:
    """Publishes a recorder's intervals."""

    def __init__(self, publishing: PublishOptions, recorder: Recorder, clock: Clock) -> None:
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
        self._clock = clock
        self._store = recorder.store
        self._waiting: dict[str, _Waiting] = {}
        now = clock.boot()
        self._in_hand = ""
        self._forgetting: Forgetting | None = None
        self._forgetting_again = Backoff()
        if isinstance(self._store, Journal):
            self._waiting = {start: _Waiting(now, files=files) for start, files in self._releases.ledger.over().items()}
            self._forgetting = Forgetting(self._store, clock, publishing.forget_after)
        self._looks_whole = True
        self._is_busy = False
        self._refused: set[str] = set()
        self._is_said: set[str] = set()

    async def look(self) -> None:
        """Publish what is over, and forget what is old. While a folder lets an earlier call wait, take notice alone."""
        now = self._clock.boot()
        for finished in self._recorder.finished():
            self._waiting[finished.label.rstrip()] = _Waiting(now, finished)
            self._looks_whole = True
        self._give_up_old(now)
        if isinstance(self._store, Aggregate):
            self._say_limits(self._store)
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
        for start in sorted(self._waiting):
            # While another was published it may have been given up.
            waiting = self._waiting.get(start)
            if waiting is None:
                continue
            self._in_hand = start
            try:
                reason = await self._publish(start, waiting)
            finally:
                self._in_hand = ""
            if reason:
                reasons.append(reason)
            else:
                del self._waiting[start]
                self._store.forget(start)
        return reasons

    async def _publish(self, start: str, waiting: _Waiting) -> str:
        """Publish one interval, or find that it never will be; give the reason if it has to wait."""
        if waiting.document is None:
            if self._releases.ledger.is_released(start):
                _log.warning("the interval from %s is not published: one with the same start has been", start)
                return ""
            if not waiting.counting.is_due(self._clock.boot()):
                return waiting.counting.reason
        try:
            if waiting.document is None:
                waiting.document = await self._make(start, waiting)
            if waiting.document is None:
                return ""
            where = await on_a_thread("publish", partial(self._release, start, waiting, waiting.document))
        except (OSError, LogFileError, LedgerError) as error:
            reason = _reason(error)
            if waiting.document is None:
                waiting.counting.fail(reason, self._clock.boot())
            return reason
        _log.log(NOTICE, "the interval from %s is published: %s", start, where)
        return ""

    async def _make(self, start: str, waiting: _Waiting) -> Document | None:
        """Count an interval and make its document; None where it has to be given up."""
        countries = waiting.finished.countries if waiting.finished else None
        counts: Counts | None = None
        if isinstance(self._store, Journal):
            counts = await on_a_thread("publish", partial(self._count, self._store.path, start, waiting))
        elif isinstance(self._store, Aggregate):
            counts = self._store.counts(start)
        document = None if counts is None else self._document(counts, countries)
        self._store.forget(start)
        return document

    def _count(self, log: Path, start: str, waiting: _Waiting) -> Counts | None:
        """Count an interval from the log; None where it has to be given up.

        Of what an earlier program has seen it is known in how many files it was, and not how many lines.
        """
        counts, files, error = count_interval(log, start)
        finished = waiting.finished
        missing = finished.connections - sum(counts.requests.values()) if finished else waiting.files - files
        if missing == 0 and (finished or error is None):
            sync(log, start)
            waiting.files = files
            return counts
        if missing < 0 and files > 1:
            raise LogFileError(f"lines from {start} stand twice, in the log and in a copy beside it: move that away")
        if missing > 0 and error is not None:
            raise error
        self._releases.ledger.give_up(start, INTERVAL_SECONDS)
        what = "lines of it are missing from the log and from what stands beside it"
        _log.warning(
            "the interval from %s is not published: %s",
            start,
            what if missing > 0 else "the log has more lines of it than were counted",
        )
        return None

    def _release(self, start: str, waiting: _Waiting, document: Document) -> Path:
        """Have a document written, or what is left to do of that."""
        if self._releases.ledger.is_released(start):
            return self._releases.show(document, self._say_once)
        if isinstance(self._store, Journal):
            self._releases.ledger.mark_over(start, INTERVAL_SECONDS, waiting.files)
        epsilon = self._publishing.epsilon
        how = "rounded" if epsilon is None else f"discrete-laplace epsilon={write_epsilon(epsilon)}"
        return self._releases.release(document, how, self._say_once)

    def _document(self, counts: Counts, countries: Countries | None) -> Document:
        options = self._publishing
        heading = Heading(options.fingerprint, options.extended, *(countries.origins if countries else ()))
        if self._publishing.epsilon is None:
            return rounded_document(counts, heading)
        codes = (countries or self._recorder.countries).codes or ()
        return noisy_document(counts, heading, codes, self._publishing.epsilon)

    async def _forget(self) -> list[str]:
        """Take old intervals out of the log; give the reason if that cannot be done."""
        again, now = self._forgetting_again, self._clock.boot()
        if self._forgetting is None:
            return []
        if not again.is_due(now):
            return [again.reason]
        needed = {*self._waiting, *(label.rstrip() for label in self._recorder.unfinished())}
        try:
            await self._forgetting.look(needed, whole=self._looks_whole)
        except OSError as error:
            again.fail(_reason(error), now)
            return [again.reason]
        again.succeed()
        self._looks_whole = False
        return []

    def _give_up_old(self, now: float) -> None:
        """Give up what has waited too long; in the order in which it came, for somebody may have set the clock."""
        starts = [start for start in self._waiting if start != self._in_hand]
        old = [start for start in starts if now - self._waiting[start].since > LONGEST_WAIT]
        for start in starts[:-MOST_WAITING] if isinstance(self._store, Aggregate) else old:
            del self._waiting[start]
            self._store.forget(start)
            self._looks_whole = True
            _log.warning("the interval from %s is given up: it could not be published for too long", start)

    def _say_limits(self, store: Aggregate) -> None:
        """Say once what limits an aggregate has met."""
        sentences = {
            "more clients came in one interval than are told apart: of further ones only connections are counted": (
                store.overflowed
            ),
            "the kernel does not lock memory (ulimit -l): hashes could reach a swap file": not store.locked,
        }
        for sentence, is_so in sentences.items():
            if is_so:
                self._say_once(sentence)

    def _say_once(self, sentence: str) -> None:
        """Say something that a later tick would say again."""
        if sentence not in self._is_said:
            self._is_said.add(sentence)
            _log.warning("%s", sentence)

    def _say(self, reasons: list[str]) -> None:
        """Say once of each thing that it cannot be done, and once that everything can again."""
        for reason in dict.fromkeys(reasons):
            if reason not in self._refused:
                _log.warning("cannot publish (%s): it is tried again", reason)
        if self._refused and not reasons:
            _log.log(NOTICE, "%s takes documents again", self._publishing.folder)
        self._refused = set(reasons)


def _reason(error: OSError | LogFileError | LedgerError) -> str:
    """Say what is in the way. An OSError's text begins with its number, which is nobody's affair."""
    if not isinstance(error, OSError):
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
