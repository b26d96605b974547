"""A bridge that publishes by itself (`--publish DIR`): each interval once, when it is over; then its lines go.

- An interval is over for the world when its last lines are written, at a random moment within ten minutes of its end
  (record/batches.py). Only intervals that one program has run through from beginning to end are published.
- The ledger in DIR knows an interval as over before its document is made: if the program is killed in between, the next
  one makes it, from the log.
- What is in the log is counted by publish/plain.py, on a thread of its own; of logs that were rotated away the numbered
  and the dated ones beside it are read as well.
- Whatever cannot be written is tried again with the next tick. Lines go only when their interval has been published, or
  can no longer be: because a restart cut it short.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from obfstats.formats.counts import INTERVAL_SECONDS
from obfstats.proxy.logs import NOTICE
from obfstats.proxy.threads import on_a_thread
from obfstats.publish.intervals import TIME, Interval
from obfstats.publish.ledger import LedgerError
from obfstats.publish.logfiles import LogFileError, find
from obfstats.publish.noise import write_epsilon
from obfstats.publish.plain import count_interval
from obfstats.publish.release import ReleaseError, Releases
from obfstats.publish.rounding import Heading, noisy_document, rounded_document
from obfstats.record import RecordError
from obfstats.record.aggregate import Aggregate
from obfstats.record.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from obfstats.formats.counts import Counts
    from obfstats.formats.document import Document
    from obfstats.publish.release_options import Publishing
    from obfstats.record import Countries, Recorder
    from obfstats.record.clock import Clock

MOST_WAITING = 3
"""Intervals that are kept in memory while the folder takes no documents (`--aggregate`)."""

_ROTATED = re.compile(r"(?:\.[0-9]{1,9}|-[0-9]{8,14})(?:\.(?:gz|xz|zst))?")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_SHAPE = "2012-02-07 14:01:04"
_HEAD = 1 << 16
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
        self._clock = clock
        self._waiting: dict[str, Countries | None] = {}
        if isinstance(self._store, Journal):
            self._waiting = dict.fromkeys(self._releases.ledger.over())
        self._is_refused = False
        self._is_said: set[str] = set()

    async def look(self) -> None:
        """Publish what is over, and forget what is old."""
        if isinstance(self._store, Aggregate):
            self._warn_of(self._store)
        finished = {each.label.rstrip(): each.countries for each in self._recorder.finished()}
        self._waiting.update(finished)
        try:
            if self._is_refused:
                self._releases.finish()
            if self._waiting and not isinstance(self._store, Aggregate):
                await on_a_thread("publish", partial(self._mark_over, sorted(self._waiting)))
            for start in sorted(self._waiting):
                await self._publish(start, self._waiting[start])
                del self._waiting[start]
            await self._forget()
        except (OSError, LogFileError, LedgerError) as error:
            self._refuse(error)
            return
        if self._is_refused:
            self._is_refused = False
            _log.log(NOTICE, "%s takes documents again", self._publishing.folder)

    async def _publish(self, start: str, countries: Countries | None) -> None:
        """Publish one interval, unless it has been.

        Args:
            start: of the interval.
            countries: who gave its addresses their countries; None where that was an earlier program's affair.
        """
        ledger = self._releases.ledger
        if isinstance(self._store, Aggregate):
            work = partial(self._release, self._store.counts(start), countries)
        else:
            work = partial(self._count_and_release, start, countries)
        if not ledger.is_released(start):
            where = await on_a_thread("publish", work)
            _log.log(NOTICE, "the interval from %s is published: %s", start, where)
        if isinstance(self._store, Aggregate):
            self._store.forget(start)

    def _count_and_release(self, start: str, countries: Countries | None) -> Path:
        return self._release(count_interval(find([str(path) for path in self._logs(start)]), start), countries)

    def _mark_over(self, starts: Iterable[str]) -> None:
        """Remember what is to be published before anything is, for that may fail, and be tried by another program."""
        for start in starts:
            self._releases.ledger.mark_over(start, INTERVAL_SECONDS)

    def _release(self, counts: Counts, countries: Countries | None) -> Path:
        """Make the document and have it written."""
        epsilon = self._publishing.epsilon
        how = "rounded" if epsilon is None else f"discrete-laplace epsilon={write_epsilon(epsilon)}"
        return self._releases.release(self._document(counts, countries), how, _log.warning)

    def _document(self, counts: Counts, countries: Countries | None) -> Document:
        given = self._publishing.heading
        heading = Heading(given.fingerprint, given.extended, *(countries.origins if countries else ()))
        end = datetime.fromisoformat(counts.start) + _DAY
        interval = Interval(counts, INTERVAL_SECONDS, str(end))
        if self._publishing.epsilon is None:
            return rounded_document(interval, heading)
        codes = (countries or self._recorder.countries).codes or ()
        return noisy_document(interval, heading, codes, self._publishing.epsilon)

    def _logs(self, start: str) -> Iterator[Path]:
        """Give the files that may hold an interval's lines: the log, and what it was rotated into since then."""
        if not isinstance(self._store, Journal):
            return
        path = self._store.path
        # Rotated away, it comes again with the next batch.
        if path.exists():
            yield path
        since = datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp()
        for beside in path.parent.iterdir():
            rest = beside.name.removeprefix(path.name)
            if rest != beside.name and _ROTATED.fullmatch(rest) and beside.stat().st_mtime >= since:
                yield beside

    async def _forget(self) -> None:
        """Take old intervals out of the log."""
        if not isinstance(self._store, Journal):
            return
        now = datetime.fromtimestamp(self._clock.wall(), UTC)
        newest = (now - _DAY - self._publishing.forget_after).strftime(TIME)
        needed = {*self._waiting, *(label.rstrip() for label in self._recorder.unfinished())}

        def keep(start: str) -> bool:
            return start in needed or start > newest or _TIME.fullmatch(start) is None

        if keep(_first_start(self._store.path)):
            return
        rewriting = self._store.rewriting()
        try:
            await on_a_thread("forget", partial(rewriting.copy, keep))
        except OSError:
            # Not where this is cut off: the thread may still be writing.
            rewriting.abandon()
            raise
        self._store.take_over(rewriting)
        _log.log(NOTICE, "lines of intervals up to %s are taken out of the log", newest)

    def _warn_of(self, store: Aggregate) -> None:
        """Say once what limits an aggregate has met."""
        sentences = {
            "a million clients came in one interval: of further ones only connections are counted": store.overflowed,
            "the kernel does not lock memory (ulimit -l): hashes could reach a swap file": not store.locked,
        }
        for sentence, is_so in sentences.items():
            if is_so and sentence not in self._is_said:
                self._is_said.add(sentence)
                _log.warning("%s", sentence)

    def _refuse(self, error: Exception) -> None:
        """Say once that something cannot be written, and keep within bounds."""
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if not self._is_refused:
            self._is_refused = True
            _log.warning("cannot publish (%s): it is tried again every half minute", reason)
        if isinstance(self._store, Aggregate):
            for start in sorted(self._waiting)[:-MOST_WAITING]:
                del self._waiting[start]
                self._store.forget(start)
                _log.warning("the interval from %s is given up: it could not be published for too long", start)


def _first_start(path: Path) -> str:
    """Give the start of the interval that the log's first line belongs to; empty if there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as log:
        head = log.read(_HEAD).decode("ascii", "replace")
    starts = (line[: len(_SHAPE)] for line in head.split("\n"))
    return next((start for start in starts if _TIME.fullmatch(start)), "")
