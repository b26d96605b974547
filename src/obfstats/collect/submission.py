r"""What a bridge sends to a collector and what it is answered, in both directions. Pure: no socket, no clock, no file.

    POST /v1/documents
    {"key": "RW...", "documents": [{"document": "@type obfsproxy-stats 1.0\n...", "signature": "untrusted ..."}]}

    {"documents": [{"status": 201, "detail": "accepted", "published_by": "2026-11-30 14:09:00"}]}

Rules:

- A request is refused as a whole only where its documents cannot be told apart. Else each document is judged by itself.
- The signature is verified before the text is parsed: only a key's owner makes a collector parse.
- The text is published as it was signed. So it is one document that this version understands completely, and the
  signature's trusted comment, which is published too, is always the same word.
- A refusal says what is wrong and where, and never quotes what was sent.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from obfstats.collect.signing import SigningError, parse_public_key, verify
from obfstats.formats.document import Document, DocumentError, read_documents
from obfstats.formats.interval import INTERVAL_SECONDS, format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCUMENTS_PATH = "/v1/documents"
"""Where documents are sent to, below the collector's URL."""

STATUS_PATH = "/v1/status"
"""Where a key's owner asks what the collector has: `?key=` and the public key follow."""

CONTENT_TYPE = "application/json"
"""What requests and answers are."""

MAX_REQUEST_LENGTH = 1024 * 1024
"""Bytes of a request."""

MAX_TEXT_LENGTH = 64 * 1024
"""Bytes of a document's text in a request. The grammar's own limit is lower; this one spares parsing."""

MAX_DOCUMENTS = 1000
"""Documents in a request."""

MAX_BRACKETS = 4 * MAX_DOCUMENTS
"""Objects and lists in a request, and brackets in its strings: 300,000 lists would occupy a collector for 0.1 s."""

MAX_AGE_SECONDS = 30 * 86_400
"""How long ago an interval may have ended."""

TRUSTED_COMMENT = "obfstats"
"""The trusted comment of a document's signature. A time or a file's name there would be published with it."""

_TRUSTED_LINE = f"\ntrusted comment: {TRUSTED_COMMENT}\n".encode()
_DETAIL = re.compile("[\x20-\x7e]{0,300}")


class Refusal(Exception):  # noqa: N818 - the protocol's word: not an error of the program
    """A request or a document is refused.

    Attributes:
        status: the HTTP status.
        detail: what is wrong, without any text that was sent.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class SignedText(NamedTuple):
    """A document as it is sent.

    Attributes:
        text: the document.
        signature: its signature, four lines.
    """

    text: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Submission:
    """A document whose signature and grammar are right. Whether its key is admitted for the bridge is not decided here.

    Attributes:
        key: the public key that signed it, 56 characters of base64.
        text: the document, byte for byte as it was signed.
        signature: its signature, in the one form of `signing.verify`.
        bridge: the hashed fingerprint, 40 hex digits in lower case.
        instance: the name of the instance; empty if it has none.
        end: end of the interval in epoch seconds.
        seconds: its length.
        digest: SHA-256 of the text, 64 hex digits in lower case.
    """

    key: str
    text: bytes
    signature: bytes
    bridge: str
    instance: str
    end: int
    seconds: int
    digest: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one document.

    Attributes:
        status: 201 new, 200 known already, 202 quarantined; else it was refused, with the status of HTTP.
        detail: the same in words.
        published_by: `YYYY-MM-DD HH:MM:SS`, UTC: the publication that will have a new document; else None.
    """

    status: int
    detail: str
    published_by: str | None = None


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """What a collector has of one key.

    Attributes:
        admitted: whether the key is.
        published: documents that are published or will be.
        last_end: end of the last published interval, epoch seconds; None without one.
        quarantined: documents that wait until the collector's operators decide.
        conflicting: documents that contradict another one.
    """

    admitted: bool
    published: int
    last_end: int | None
    quarantined: int
    conflicting: int


def write_request(key: str, documents: Sequence[SignedText]) -> bytes:
    """Write the body of a request.

    Args:
        key: the public key that signed them all.
        documents: texts and signatures of ASCII.
    """
    items = [
        {"document": text.decode("ascii"), "signature": signature.decode("ascii")} for text, signature in documents
    ]
    return _write_json({"key": key, "documents": items})


def read_request(body: bytes) -> tuple[str, list[SignedText]]:
    """Read the body of a request.

    Returns:
        The public key, and the documents in the order in which they were sent.

    Raises:
        Refusal: 400 if the body is not JSON, 413 if it is too long, 422 if it has another shape.
    """
    if len(body) > MAX_REQUEST_LENGTH:
        raise Refusal(413, f"the request exceeds {MAX_REQUEST_LENGTH} bytes")
    if body.count(b"{") + body.count(b"[") > MAX_BRACKETS:
        raise Refusal(422, f"the request has more than {MAX_BRACKETS} objects and lists")
    value = _read_json(body)
    key, items = _members(value, "the request", "key", "documents")
    if not isinstance(key, str):
        raise Refusal(422, "key: not a string")
    try:
        parse_public_key(key)
    except SigningError as error:
        raise Refusal(422, f"key: {error}") from None
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_DOCUMENTS:
        raise Refusal(422, f"documents: not a list of 1 to {MAX_DOCUMENTS}")
    return key, [_read_item(item, f"documents[{number}]") for number, item in enumerate(items)]


def check_submission(
    key: str, text: bytes, signature: bytes, now: int, *, max_age: int | None = MAX_AGE_SECONDS
) -> Submission:
    """Check a document by itself.

    Args:
        key: the public key that must have signed it.
        text: the document.
        signature: its signature.
        now: epoch seconds.
        max_age: seconds since the interval's end, at most; None for any.

    Raises:
        Refusal: 413 if it is too long, 401 if the signature is wrong, 422 if the text is not one document that can be
            published.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise Refusal(413, f"the document exceeds {MAX_TEXT_LENGTH} bytes")
    try:
        signature = verify(text, signature, key)
    except SigningError as error:
        raise Refusal(401, str(error)) from None
    if _TRUSTED_LINE not in signature:
        raise Refusal(401, f"the signature's trusted comment is not {TRUSTED_COMMENT}")
    document, fingerprint = _read_document(text)
    end = int(parse_time(document.end).timestamp())
    if document.seconds > INTERVAL_SECONDS:
        raise Refusal(422, f"the interval is longer than {INTERVAL_SECONDS} seconds")
    if end > now:
        raise Refusal(422, "the interval is not over")
    if max_age is not None and end < now - max_age:
        raise Refusal(422, f"the interval ended more than {max_age // 86_400} days ago")
    return Submission(
        key=key,
        text=text,
        signature=signature,
        bridge=fingerprint,
        instance=document.instance or "",
        end=end,
        seconds=document.seconds,
        digest=sha256(text).hexdigest(),
    )


def response_status(results: Sequence[Result]) -> int:
    """Give the HTTP status of several results: the one that all have, else 207."""
    statuses = {result.status for result in results}
    return statuses.pop() if len(statuses) == 1 else 207


def write_response(results: Sequence[Result]) -> bytes:
    """Write the body of an answer: one result a document, in the order of the request."""
    return _write_json({"documents": [_write_result(result) for result in results]})


def read_response(body: bytes, count: int) -> list[Result]:
    """Read the body of an answer to a request.

    Args:
        body: what a collector sent; it may be anything.
        count: how many documents the request had.

    Raises:
        ValueError: if it is not an answer to that many documents.
    """
    items = _read_object(body).get("documents")
    if not isinstance(items, list) or len(items) != count:
        raise ValueError("not an answer to these documents")
    return [_read_result(item) for item in items]


def write_detail(detail: str) -> bytes:
    """Write the body of an answer that refuses a whole request."""
    return _write_json({"detail": detail})


def read_detail(body: bytes) -> str:
    """Read the body of an answer that refuses a whole request; empty if it has another shape."""
    try:
        return _read_detail(_read_object(body))
    except ValueError:
        return ""


def write_status(key: str, status: KeyStatus) -> bytes:
    """Write the body of an answer to a key's owner."""
    end = status.last_end
    return _write_json(
        {
            "key": key,
            "admitted": status.admitted,
            "published": status.published,
            "last_interval_end": None if end is None else format_time(datetime.fromtimestamp(end, UTC)),
            "quarantined": status.quarantined,
            "conflicting": status.conflicting,
        }
    )


def read_status(body: bytes) -> KeyStatus:
    """Read the body of an answer to a key's owner.

    Raises:
        ValueError: if it has another shape.
    """
    value = _read_object(body)
    admitted, end = value.get("admitted"), value.get("last_interval_end")
    if not isinstance(admitted, bool):
        raise ValueError("not the status of a key")  # noqa: TRY004 - as in _read_object
    last_end = None if end is None else int(parse_time(str(end)).timestamp())
    published, quarantined, conflicting = (
        _read_count(value, name) for name in ("published", "quarantined", "conflicting")
    )
    return KeyStatus(admitted, published, last_end, quarantined, conflicting)


def _write_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError):  # not UTF-8, not JSON, a number of thousands of digits, lists in lists
        raise Refusal(400, "the request is not JSON") from None


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        value = _read_json(body)
    except Refusal:
        raise ValueError("not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("not an object of JSON")  # noqa: TRY004 - what was sent is wrong, not a program's argument
    return value


def _read_count(value: dict[str, Any], name: str) -> int:
    count = value.get(name)
    if type(count) is not int:
        raise ValueError("not a number of documents")
    return count


def _members(value: Any, where: str, first: str, second: str) -> tuple[Any, Any]:
    """Give the two members of an object; a third one would be something that this version does not understand."""
    if not isinstance(value, dict) or value.keys() != {first, second}:
        raise Refusal(422, f"{where}: not an object with {first} and {second} alone")
    return value[first], value[second]


def _read_item(value: Any, where: str) -> SignedText:
    document, signature = _members(value, where, "document", "signature")
    if not isinstance(document, str) or not isinstance(signature, str):
        raise Refusal(422, f"{where}: document and signature are not both strings")
    # Half a surrogate pair is bytes here that no document and no signature can have.
    return SignedText(document.encode("utf-8", "surrogatepass"), signature.encode("utf-8", "surrogatepass"))


def _read_document(text: bytes) -> tuple[Document, str]:
    """Read one document that has what a published one needs; return it and its hashed fingerprint."""
    if not text.endswith(b"\n"):
        last = text.count(b"\n") + 1
        raise Refusal(422, f"line {last}: the text does not end with a line feed")
    try:
        documents = read_documents(text)
    except DocumentError as error:
        raise Refusal(422, str(error)) from None
    if len(documents) > 1:
        raise Refusal(422, "several documents in one text; each needs a signature of its own")
    document = documents[0]
    if document.minor is None:
        raise Refusal(422, "no @type line")
    if document.fingerprint is None:
        raise Refusal(422, "no hashed-fingerprint line")
    return document, document.fingerprint


def _write_result(result: Result) -> dict[str, object]:
    members: dict[str, object] = {"status": result.status, "detail": result.detail}
    if result.published_by is not None:
        members["published_by"] = result.published_by
    return members


def _read_result(value: Any) -> Result:
    if not isinstance(value, dict) or type(value.get("status")) is not int or not 200 <= value["status"] <= 599:
        raise ValueError("a result without a status")
    published_by = value.get("published_by")
    if published_by is not None:
        parse_time(str(published_by))
    return Result(value["status"], _read_detail(value), published_by)


def _read_detail(value: dict[str, Any]) -> str:
    """Read what a terminal will show."""
    detail = value.get("detail")
    if not isinstance(detail, str) or not _DETAIL.fullmatch(detail):
        raise ValueError("a detail that is not a line of printable ASCII")
    return detail
