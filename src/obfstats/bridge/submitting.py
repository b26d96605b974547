"""A bridge that sends what it publishes to a collector by itself (`--submit URL`).

    DIR/2012-...-obfsproxy-stats      a document is released                     publishing.py, publish/release.py
    STATE/spool/2012-...-DIGEST       it waits in the form in which it is sent   collect/client/spool.py
    the collector                     it is sent                                 collect/client/submitter.py

- A document goes into the spool with the tick after its release. It is sent at a random moment within six hours from
  then, so that the moment of a connection tells nothing but that a bridge has a document, which is in the document
  already. Each new document draws that moment anew for all that wait.
- What could not be sent is tried again: after 15 to 30 minutes, then twice as long each time, at most 6 to 12 hours, or
  later if the collector asks for that. A restart draws a moment within six hours.
- All of it runs on threads. Publishing never waits for it, nor does the end of the program: what is cut off is sent
  again, and the collector recognises the bytes.
- The log has what became of documents, with the collector's own words, which are a bounded line of printable ASCII.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from obfstats.bridge import threads
from obfstats.bridge.logs import NOTICE
from obfstats.bridge.unsent import UnsentDocuments
from obfstats.collect.client.keys import KEY_NAME, read_key
from obfstats.collect.client.outgoing import read_outgoing
from obfstats.collect.client.route import describe_route
from obfstats.collect.client.spool import SPOOL_NAME, Spool, SpoolInUseError
from obfstats.collect.client.submitter import SubmitReport, Submitter
from obfstats.collect.signing import SigningError
from obfstats.lockedfile import LockedFileError
from obfstats.record import RecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from obfstats.bridge.options import SubmitOptions
    from obfstats.collect.client.submitter import Delivery
    from obfstats.record.clock import Clock

SEND_WITHIN = 6 * 3600.0
"""Seconds within which a document is sent after it is ready."""

FIRST_RETRY, LAST_RETRY = 900.0, 6 * 3600.0
"""Seconds after which it is tried again at the earliest, doubled with each failure up to the second."""

MAX_RETRY_AFTER = 86_400.0
"""Seconds that a collector may ask the bridge to wait."""

QUARANTINE_WARNING_SECONDS = 86_400.0
"""Seconds between two messages that documents are in quarantine."""

_PUBLISHED, _KNOWN, _QUARANTINED = 201, 200, 202

_log = logging.getLogger(__name__)


class _Added(NamedTuple):
    """What was put into the spool.

    Attributes:
        documents: how many.
        warnings: sentences for the operator.
        obstacle: why others are not in it yet; empty if none are missing.
    """

    documents: int
    warnings: list[str]
    obstacle: str = ""


class Submissions:
    """Sends the documents of a folder to a collector.

    Attributes:
        failures: how often that has failed since it last worked.
    """

    def __init__(
        self,
        options: SubmitOptions,
        published: Path,
        state: Path,
        clock: Clock,
        draw: Callable[[float, float], float],
    ) -> None:
        """Open the folder and the key; make one if there is none.

        Args:
            options: where documents are sent.
            published: the folder of documents, which exists.
            state: the folder of the key and the spool.
            clock: the clocks.
            draw: draws a number between two others.

        Raises:
            RecordError: if they cannot be used.
        """
        is_new = not (state / KEY_NAME).exists()
        try:
            key = read_key(state, make=True)
            self._unsent = UnsentDocuments(published)
        except (SigningError, LockedFileError) as error:
            raise RecordError(str(error)) from None
        except OSError as error:
            raise RecordError(f"cannot note in {published} which documents are sent: {error.strerror}") from None
        self._url = options.url
        self._public = key.public
        self._spool = Spool(state / SPOOL_NAME)
        self._submitter = Submitter(options.url, options.proxy, key, self._spool, retry_seconds=())
        self._clock = clock
        self._draw = draw
        self._is_busy = False
        self._is_first = True
        self._due: float | None = None
        self.failures = 0
        self._quarantine_warning_due = float("-inf")
        self._reasons: set[str] = set()
        route = describe_route(options.url, options.proxy)
        _log.log(NOTICE, "each document is sent to %s within six hours, %s", options.url, route)
        if is_new:
            advice = "send this public key and the bridge's hashed fingerprint to the operators of %s, who admit it: %s"
            _log.log(NOTICE, advice, options.url, key.public)
        if self._unsent.left_out:
            _log.log(
                NOTICE,
                "the %d documents that are in %s already are not sent; `obfstats submit` sends them",
                self._unsent.left_out,
                published,
            )

    def close(self) -> None:
        """Let other programs have the folder."""
        self._unsent.close()

    async def submit_due(self) -> None:
        """Put new documents into the spool, and send it when that is due. Does nothing while an earlier call hangs."""
        if self._is_busy:
            return
        self._is_busy = True
        try:
            await self._spool_new()
            if self._due is not None and self._clock.boot() >= self._due:
                await self._send()
        finally:
            self._is_busy = False

    async def _spool_new(self) -> None:
        """Put new documents into the spool, and draw when it is sent."""
        try:
            added = await threads.run_in_thread("spool", self._add_unsent)
        except OSError as error:
            added = _Added(0, [], str(error.strerror))
        for warning in added.warnings:
            _log.warning("%s", warning)
        if added.obstacle:
            self._log_once(f"cannot keep documents for {self._url} in {self._spool.folder}: {added.obstacle}")
        if added.documents:
            self._due = self._clock.boot() + self._draw(0.0, SEND_WITHIN)

    def _add_unsent(self) -> _Added:
        """Put new documents into the spool, on a thread; the first time, count what an earlier program has left."""
        documents = 0
        warnings: list[str] = []
        try:
            if self._is_first:
                documents = len(self._spool.names())
                self._is_first = False
            for name, text in self._unsent.find():
                try:
                    (document,) = read_outgoing(text)
                except ValueError as error:
                    warnings.append(f"the document {name} is not sent: {error}")
                else:
                    dropped = self._spool.add(document.text, document.end)
                    warnings += [f"too many documents wait for {self._url}: {each} is dropped" for each in dropped]
                    documents += 1
                self._unsent.mark_done(name)
        except OSError as error:
            return _Added(documents, warnings, str(error.strerror))
        return _Added(documents, warnings)

    async def _send(self) -> None:
        """Send what is in the spool; plan the next try if some of it stays."""
        retry_after = 0.0
        reason = ""
        try:
            report = await threads.run_in_thread("submit", self._submitter.submit_all)
            self._log_report(report)
            if report.problem is not None:
                reason, retry_after = str(report.problem), report.problem.retry_after
        except SpoolInUseError as error:
            reason = str(error)
        except OSError as error:
            reason = f"cannot use {self._spool.folder}: {error.strerror}"
        if not reason:
            if self.failures:
                _log.log(NOTICE, "%s accepts documents again", self._url)
            self._reasons.clear()
            self.failures, self._due = 0, None
            return
        self._log_once(f"documents wait to be sent: {reason}")
        delay = min(FIRST_RETRY * 2**self.failures, LAST_RETRY)
        self.failures += 1
        self._due = self._clock.boot() + max(self._draw(delay, 2 * delay), min(retry_after, MAX_RETRY_AFTER))

    def _log_report(self, report: SubmitReport) -> None:
        """Log what became of documents."""
        accepted = _with_status(report.delivered, _PUBLISHED)
        if accepted:
            by = max(delivery.result.published_by or "" for delivery in accepted)
            when = f"; in the public archive by {by} UTC" if by else ""
            _log.log(NOTICE, "%s has accepted %s%s", self._url, _count(accepted), when)
        known = _with_status(report.delivered, _KNOWN)
        if known:
            _log.log(NOTICE, "%s has %s already", self._url, _count(known))
        quarantined = _with_status(report.delivered, _QUARANTINED)
        now = self._clock.boot()
        if quarantined and now >= self._quarantine_warning_due:
            self._quarantine_warning_due = now + QUARANTINE_WARNING_SECONDS
            detail = quarantined[-1].result.detail
            _log.warning("%s keeps documents in quarantine: %s; the key is %s", self._url, detail, self._public)
        for delivery in report.refused:
            _log.warning(
                "%s has refused the document %s: %s; it is set aside in %s",
                self._url,
                delivery.name,
                delivery.result.detail,
                self._spool.refused,
            )

    def _log_once(self, reason: str) -> None:
        """Log an obstacle that a later try would repeat."""
        if reason not in self._reasons:
            self._reasons.add(reason)
            _log.warning("%s; it is tried again", reason)


def _count(deliveries: Sequence[Delivery]) -> str:
    return "1 document" if len(deliveries) == 1 else f"{len(deliveries)} documents"


def _with_status(deliveries: Sequence[Delivery], status: int) -> list[Delivery]:
    return [delivery for delivery in deliveries if delivery.result.status == status]
