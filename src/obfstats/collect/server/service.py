"""The collector's web service: an ASGI application around the ledger and the archive.

    POST /v1/documents      documents with their signatures (submission.py)
    GET /v1/status?key=     what the collector has of a key
    GET /v1/health, /metrics, /v1/openapi.json
    GET, HEAD               every other path: the public archive's files

Rules:

- The order of work is the order of cost: length, JSON, limits, signatures, grammar, and then the ledger.
- A body is counted while it is read. What all large ones hold together is bounded; small ones always fit.
- Between two documents of a request the loop serves others.
- No client's address is read, kept or logged.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from obfstats.collect.archive.publisher import next_publication
from obfstats.collect.server import metrics as prometheus
from obfstats.collect.server.committing import RETRY_SECONDS, Unavailable
from obfstats.collect.server.limits import SubmissionLimits
from obfstats.collect.server.openapi import OPENAPI
from obfstats.collect.server.publicfiles import PublicFiles
from obfstats.collect.server.reports import report_error
from obfstats.collect.signing import SigningError, parse_public_key
from obfstats.collect.store.admission import Outcome
from obfstats.collect.submission import (
    CONTENT_TYPE,
    DOCUMENTS_PATH,
    MAX_REQUEST_LENGTH,
    STATUS_PATH,
    Refusal,
    Result,
    check_submission,
    read_request,
    response_status,
    write_detail,
    write_response,
    write_status,
)
from obfstats.formats.interval import format_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

    from obfstats.collect.server.committing import Committer
    from obfstats.collect.server.metrics import CollectorMetrics
    from obfstats.collect.submission import SignedText, Submission

SMALL_REQUEST_LENGTH = 64 * 1024
"""Bytes of a request that are always taken."""

MAX_LARGE_REQUESTS_LENGTH = 64 * 1024 * 1024
"""Bytes that all requests together may hold beyond that."""

_STATUSES = {
    Outcome.PUBLISHED: 201,
    Outcome.KNOWN: 200,
    Outcome.QUARANTINED: 202,
    Outcome.CONFLICT: 409,
    Outcome.FULL: 429,
}
_FULL_QUARANTINE_SECONDS = 86_400
# Others may be copies of what is public, which anybody can send again: known, withdrawn, or too old by now.
_CHARGED = {Outcome.PUBLISHED, Outcome.QUARANTINED}


@dataclass(slots=True)
class CollectorService:
    """What answers requests.

    Attributes:
        committer: the ledger.
        metrics: what is counted.
        publish_every: seconds from one publication to the next.
        limits: how many documents are taken.
        clock: seconds since 1970.
    """

    committer: Committer
    metrics: CollectorMetrics
    publish_every: int
    limits: SubmissionLimits = field(default_factory=lambda: SubmissionLimits(time.monotonic))
    clock: Callable[[], float] = time.time
    _large_length: int = 0

    def make_application(self, public: Path) -> ASGIApp:
        """Make the ASGI application.

        Args:
            public: the folder of the public archive.
        """
        application = Starlette(
            routes=[
                Route(DOCUMENTS_PATH, self._post_documents, methods=["POST"]),
                Route(STATUS_PATH, self._get_status),
                Route("/v1/health", self._get_health),
                Route("/v1/openapi.json", _get_openapi),
                Route("/metrics", self._get_metrics),
            ],
            exception_handlers={
                Refusal: self._refuse,
                Unavailable: self._refuse,
                HTTPException: self._refuse,
                Exception: self._refuse,
            },
        )
        application.router.redirect_slashes = False
        application.router.default = PublicFiles(public)

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await application(scope, receive, send)
            except ClientDisconnect:
                pass
            except Exception as error:  # noqa: BLE001 - its traceback must not be logged; it is answered already
                report_error(error)

        return serve

    async def _post_documents(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
            raise Refusal(415, f"the content type is not {CONTENT_TYPE}")
        body = bytearray()
        try:
            await self._read_body(request, body)
            key, documents = read_request(bytes(body))
            is_known = key in self.committer.admitted
            wait = self.limits.admit_request(key, len(documents), is_known=is_known)
            if wait:
                raise _TooMany(wait)
            results = await self._judge(key, documents)
        finally:
            self._large_length -= max(0, len(body) - SMALL_REQUEST_LENGTH)
        status = response_status(results)
        headers = {"retry-after": str(_FULL_QUARANTINE_SECONDS)} if status == 429 else None
        return Response(write_response(results), status, headers, CONTENT_TYPE)

    async def _read_body(self, request: Request, body: bytearray) -> None:
        length = request.headers.get("content-length", "0")
        if len(length) > 15 or int(length) > MAX_REQUEST_LENGTH:
            raise Refusal(413, f"the request exceeds {MAX_REQUEST_LENGTH} bytes")
        async for chunk in request.stream():
            large = max(0, len(body) + len(chunk) - max(len(body), SMALL_REQUEST_LENGTH))
            self._large_length += large
            body += chunk
            if len(body) > MAX_REQUEST_LENGTH:
                raise Refusal(413, f"the request exceeds {MAX_REQUEST_LENGTH} bytes")
            if large and self._large_length > MAX_LARGE_REQUESTS_LENGTH:
                raise Unavailable

    async def _judge(self, key: str, documents: list[SignedText]) -> list[Result]:
        """Judge each document by itself; those that pass are committed together."""
        now = int(self.clock())
        results: list[Result] = []
        passed: list[tuple[int, Submission]] = []
        for number, (text, signature) in enumerate(documents):
            if number:
                await asyncio.sleep(0)
            try:
                submission = check_submission(key, text, signature, now)
            except Refusal as refusal:
                self.metrics.documents.labels(prometheus.REFUSED[refusal.status]).inc()
                results.append(Result(refusal.status, refusal.detail))
            else:
                passed.append((number, submission))
                results.append(_UNDECIDED)
        if passed:
            decisions = await self.committer.commit([submission for _, submission in passed])
            # A publication may have begun meanwhile: the next one has them for certain.
            moment = next_publication(int(self.clock()), self.publish_every)
            published_by = format_time(datetime.fromtimestamp(moment, UTC))
            for (number, _), decision in zip(passed, decisions, strict=True):
                self.metrics.documents.labels(decision.outcome.name.lower()).inc()
                if decision.outcome in _CHARGED:
                    self.limits.charge_key(key)
                is_new = decision.outcome is Outcome.PUBLISHED
                results[number] = Result(_STATUSES[decision.outcome], decision.detail, published_by if is_new else None)
        return results

    async def _get_status(self, request: Request) -> Response:
        try:
            # A "+" that was not quoted, as in a key that is pasted behind "?key=", is read as a blank.
            key = parse_public_key(request.query_params.get("key", "").replace(" ", "+"))
        except SigningError as error:
            raise Refusal(422, f"key: {error}") from None
        status = await self.committer.status_of(key)
        return Response(write_status(key, status), media_type=CONTENT_TYPE)

    async def _get_health(self, _request: Request) -> Response:
        if not self.committer.is_healthy:
            raise Unavailable
        return Response(b'{"status":"ok"}', media_type=CONTENT_TYPE)

    async def _get_metrics(self, _request: Request) -> Response:
        return Response(self.metrics.render(), headers={"content-type": prometheus.CONTENT_TYPE})

    async def _refuse(self, _request: Request, error: Exception) -> Response:
        """Answer a request that is refused as a whole."""
        headers = {}
        match error:
            case _TooMany():
                status, detail = 429, error.detail
                headers["retry-after"] = str(error.wait)
            case Refusal():
                status, detail = error.status, error.detail
            case Unavailable():
                status, detail = 503, "the ledger does not accept documents now; send the request again"
                headers["retry-after"] = str(RETRY_SECONDS)
            case HTTPException():
                status, detail = error.status_code, error.detail
                headers |= error.headers or {}
            case _:
                status, detail = 500, "internal error"
        self.metrics.refused.labels(str(status)).inc()
        return Response(write_detail(detail), status, headers, CONTENT_TYPE)


_UNDECIDED = Result(0, "")


class _TooMany(Refusal):
    def __init__(self, wait: int) -> None:
        super().__init__(429, f"too many documents; come again in {wait} seconds")
        self.wait = wait


async def _get_openapi(_request: Request) -> Response:
    return Response(OPENAPI, media_type=CONTENT_TYPE)
