"""Sends what is in a spool to a collector, and sorts it by the answers.

- A document that the collector has taken (201, 200, 202) is removed; one that it has refused for good is set aside with
  the reason; one that it cannot take now (429, 5xx) stays.
- While there is progress it goes on. After a failure it waits, longer each time, at least as long as the collector asks
  for, and gives up after a few: what remains is sent by the next run.
- It runs on any thread, without asyncio.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from obfstats.collect.client.outgoing import next_batch
from obfstats.collect.client.request import RequestError, send_request, write_get, write_post
from obfstats.collect.submission import (
    CONTENT_TYPE,
    DOCUMENTS_PATH,
    STATUS_PATH,
    TRUSTED_COMMENT,
    KeyStatus,
    Result,
    SignedText,
    read_detail,
    read_response,
    read_status,
    write_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from obfstats.collect.client.request import Answer
    from obfstats.collect.client.route import CollectorUrl, Proxy
    from obfstats.collect.client.spool import Spool
    from obfstats.collect.signing import SigningKey

RETRY_SECONDS = (5.0, 20.0, 60.0)
"""How long one run waits after failures that follow each other."""

MAX_WAIT_SECONDS = 300.0
"""If the collector asks for a longer wait, this run ends."""

_DELIVERED = (200, 201, 202)
_TOO_MANY = 429
_SERVER_ERRORS = 500


class Delivery(NamedTuple):
    """A document, and what a collector has answered.

    Attributes:
        name: of its file in the spool: the end of its interval, and its digest.
        result: the answer.
    """

    name: str
    result: Result


@dataclass(slots=True)
class SubmitReport:
    """What became of the documents of a spool.

    Attributes:
        delivered: documents that the collector has now: published, known before, or in quarantine.
        refused: documents that it will not have.
        problem: why others remain in the spool; None if none do.
    """

    delivered: list[Delivery] = field(default_factory=list)
    refused: list[Delivery] = field(default_factory=list)
    problem: RequestError | None = None


class Submitter:
    """Sends the documents of a spool to one collector."""

    def __init__(
        self,
        url: CollectorUrl,
        proxy: Proxy | None,
        key: SigningKey,
        spool: Spool,
        *,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        on_wait: Callable[[RequestError, float], None] = lambda _problem, _seconds: None,
    ) -> None:
        """Prepare to send.

        Args:
            url: the collector.
            proxy: through which it is reached; None for a direct connection, which reveals this machine's address.
            key: signs the documents.
            spool: the documents.
            retry_seconds: how long to wait after each failure; empty to try once.
            sleep: waits so many seconds.
            clock: seconds, for the deadline of a request.
            on_wait: takes a failure and the seconds until the next try.
        """
        self._url = url
        self._proxy = proxy
        self._key = key
        self._spool = spool
        self._retry_seconds = retry_seconds
        self._sleep = sleep
        self._clock = clock
        self._on_wait = on_wait

    def submit_all(self) -> SubmitReport:
        """Send everything in the spool, until it is empty or too many tries have failed.

        Raises:
            SpoolInUseError: if another program is sending from the spool.
            OSError: if the spool cannot be read or written; what was sent may be sent again.
        """
        report = SubmitReport()
        failures = 0
        with self._spool.sending():
            while batch := next_batch(self._spool.documents()):
                try:
                    self._send(batch, report)
                except RequestError as problem:
                    seconds = self._delay(problem, failures)
                    if seconds is None:
                        report.problem = problem
                        break
                    failures += 1
                    self._on_wait(problem, seconds)
                    self._sleep(seconds)
                else:
                    failures = 0
        return report

    def write_documents_request(self, batch: Sequence[tuple[str, bytes]]) -> bytes:
        """Write the request that sends documents, names and texts: every byte of it."""
        signed = [SignedText(text, self._key.sign(text, TRUSTED_COMMENT)) for _, text in batch]
        return write_post(self._url, DOCUMENTS_PATH, CONTENT_TYPE, write_request(self._key.public, signed))

    def write_status_request(self) -> bytes:
        """Write the request that asks what the collector has of this key."""
        # The characters of base64 that a query must not have.
        key = self._key.public.replace("+", "%2B").replace("/", "%2F")
        return write_get(self._url, f"{STATUS_PATH}?key={key}")

    def ask_status(self) -> KeyStatus:
        """Ask what the collector has of this key.

        Raises:
            RequestError: if it does not answer that.
        """
        answer = self._exchange(self.write_status_request())
        try:
            if answer.status == 200:
                return read_status(answer.body)
        except ValueError:
            pass
        raise self._explain(answer)

    def _delay(self, problem: RequestError, failures: int) -> float | None:
        """Give the seconds until the next try; None if there is none."""
        if not problem.is_temporary or failures >= len(self._retry_seconds) or problem.retry_after > MAX_WAIT_SECONDS:
            return None
        return max(self._retry_seconds[failures], problem.retry_after)

    def _exchange(self, request: bytes) -> Answer:
        return send_request(self._url, self._proxy, request, self._clock)

    def _send(self, batch: Sequence[tuple[str, bytes]], report: SubmitReport) -> None:
        """Send documents in one request and act on the results.

        Raises:
            RequestError: if some of them remain in the spool.
        """
        answer = self._exchange(self.write_documents_request(batch))
        try:
            results = read_response(answer.body, len(batch))
        except ValueError:
            raise self._explain(answer) from None
        busy = ""
        for (name, _), result in zip(batch, results, strict=True):
            delivery = Delivery(name, result)
            if result.status in _DELIVERED:
                report.delivered.append(delivery)
                self._spool.remove(name)
            elif result.status == _TOO_MANY or result.status >= _SERVER_ERRORS:
                busy = busy or result.detail
            else:
                report.refused.append(delivery)
                self._spool.refuse(name, f"{result.status} {result.detail}")
        if busy:
            raise RequestError(
                f"{self._url} does not accept documents now: {busy}", is_temporary=True, retry_after=answer.retry_after
            )

    def _explain(self, answer: Answer) -> RequestError:
        """Make an error of an answer that is not the one to the request."""
        detail = read_detail(answer.body)
        is_temporary = answer.status == _TOO_MANY or answer.status >= _SERVER_ERRORS
        said = f"{answer.status} {detail}".rstrip()
        if is_temporary or detail:
            sentence = f"{self._url} answered {said}"
        else:
            sentence = f"{self._url} answered {said}, but not as a collector does; is the URL right?"
        return RequestError(sentence, is_temporary=is_temporary, retry_after=answer.retry_after)
