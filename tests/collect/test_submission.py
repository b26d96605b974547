"""What bridges send to a collector, and what it answers: both directions, and everything that is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz import fuzz_submission
from obfstats.collect.signing import SigningKey
from obfstats.collect.submission import (
    MAX_BRACKETS,
    MAX_DOCUMENTS,
    MAX_REQUEST_LENGTH,
    MAX_TEXT_LENGTH,
    TRUSTED_COMMENT,
    KeyStatus,
    Refusal,
    Result,
    SignedText,
    Submission,
    check_submission,
    read_detail,
    read_request,
    read_response,
    read_status,
    response_status,
    write_detail,
    write_request,
    write_response,
    write_status,
)
from obfstats.formats.document import MAX_DOCUMENT_LENGTH, Document, read_documents, write_document
from obfstats.formats.interval import format_time
from tests.formats.documents import EXTENDED, TICKETS, documents

KEY = SigningKey.generate()
NOW = int(datetime(2012, 2, 11, 0, 0, 0, tzinfo=UTC).timestamp())
END = int(datetime(2012, 2, 10, 9, 22, 4, tzinfo=UTC).timestamp())


def sign(text: bytes, comment: str = TRUSTED_COMMENT) -> bytes:
    """Sign a text with the tests' key."""
    return KEY.sign(text, comment)


def check(text: bytes, signature: bytes | None = None, now: int = NOW) -> Submission:
    """Check a text; it is signed rightly unless a signature is given."""
    return check_submission(KEY.public, text, sign(text) if signature is None else signature, now)


def refuse(text: bytes, signature: bytes | None = None, now: int = NOW) -> tuple[int, str]:
    """Give the refusal of a text."""
    with pytest.raises(Refusal) as refusal:
        check(text, signature, now)
    return refusal.value.status, refusal.value.detail


def refuse_request(body: bytes) -> tuple[int, str]:
    """Give the refusal of a request."""
    with pytest.raises(Refusal) as refusal:
        read_request(body)
    return refusal.value.status, refusal.value.detail


@given(st.lists(documents(unknown=False).map(write_document), min_size=1, max_size=5))
def test_a_request_arrives_as_it_was_written(texts: list[bytes]) -> None:
    """What the client writes, the server reads."""
    signed = [SignedText(text, sign(text)) for text in texts]
    assert read_request(write_request(KEY.public, signed)) == (KEY.public, signed)


@given(documents(unknown=False), st.binary(min_size=20, max_size=20).map(bytes.hex), st.integers(0, 30 * 86_400))
def test_any_document_of_the_grammar_is_taken(document: Document, fingerprint: str, age: int) -> None:
    """A document that a bridge can write is taken, byte for byte, within thirty days of its end."""
    end = datetime(2012, 2, 11, tzinfo=UTC) - timedelta(seconds=age)
    document = replace(
        document,
        end=format_time(end),
        seconds=min(document.seconds, 86_400),
        fingerprint=fingerprint,
        minor=document.minor or 0,
    )
    text = write_document(document)
    submission = check(text)
    assert submission.text == text
    assert (submission.bridge, submission.instance) == (fingerprint, document.instance or "")
    assert (submission.end, submission.seconds) == (NOW - age, document.seconds)
    assert read_documents(submission.text) == [document]


def test_the_fingerprint_is_compared_in_lower_case() -> None:
    """Tor writes it in upper case; the text stays as it was signed."""
    text = EXTENDED.replace(b"7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e", b"7CB8C8B7A9E2F1D0C3B4A5968778695A4B3C2D1E")
    submission = check(text)
    assert submission.bridge == "7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e"
    assert submission.text == text


def test_the_kept_signature_has_one_form() -> None:
    """The untrusted comment could hold anything; what is kept and published names the key."""
    altered = sign(EXTENDED).replace(b"signature by", b"seen from 192.0.2.7", 1)
    assert check(EXTENDED, altered).signature == sign(EXTENDED)


@pytest.mark.parametrize(
    ("now", "detail"),
    [
        (END - 1, "the interval is not over"),
        (END + 30 * 86_400 + 1, "the interval ended more than 30 days ago"),
    ],
)
def test_only_intervals_of_the_last_thirty_days_are_taken(now: int, detail: str) -> None:
    """The interval lies in the past, at most 30 days; both bounds included."""
    assert refuse(EXTENDED, now=now) == (422, detail)
    assert check(EXTENDED, now=END).end == END
    assert check(EXTENDED, now=END + 30 * 86_400).end == END


def test_an_import_may_be_of_any_age() -> None:
    """The collector's operator imports old files; they are checked alike otherwise."""
    assert check_submission(KEY.public, EXTENDED, sign(EXTENDED), NOW + 10**9, max_age=None).end == END
    with pytest.raises(Refusal):
        check_submission(KEY.public, EXTENDED, sign(EXTENDED), END - 1, max_age=None)


@pytest.mark.parametrize(
    ("text", "status", "detail"),
    [
        (EXTENDED.replace(b"DE=48", b"D=48", 1), 422, "line 4: not a country code"),
        (EXTENDED + b"obfsproxy-later 192.0.2.7\n", 422, "line 11: unknown keyword"),
        (EXTENDED.removesuffix(b"\n"), 422, "line 10: the text does not end with a line feed"),
        (b"", 422, "line 1: the text does not end with a line feed"),
        (TICKETS, 422, "no @type line"),
        (EXTENDED.replace(TICKETS[: TICKETS.index(b"\n") + 1], b""), 422, "no hashed-fingerprint line"),
        (EXTENDED + EXTENDED, 422, "several documents in one text; each needs a signature of its own"),
        (EXTENDED.replace(b"86400 s", b"86401 s"), 422, "the interval is longer than 86400 seconds"),
        (EXTENDED.replace(b"DE=48", b"D\xc3\x89=48", 1), 422, "line 4: non-ASCII byte"),
        (b"x" * MAX_TEXT_LENGTH + b"\n", 413, "the document exceeds 65536 bytes"),
        (b"x" * (MAX_TEXT_LENGTH - 1) + b"\n", 422, f"line 1: document exceeds {MAX_DOCUMENT_LENGTH} bytes"),
    ],
)
def test_a_text_that_cannot_be_published_is_refused_with_its_line(text: bytes, status: int, detail: str) -> None:
    """A sender learns which line is wrong and why; the text itself is not repeated."""
    assert refuse(text) == (status, detail)


@pytest.mark.parametrize(
    ("signature", "detail"),
    [
        (b"", "not a signature in minisign's format"),
        (b"\xff" * 200, "not a signature in minisign's format"),
        (b"x" * 2000, "signature exceeds 1024 bytes"),
        (sign(EXTENDED + b"\n"), "the signature does not match"),
        (sign(EXTENDED, "timestamp:1328866924 file:/home/ada/obfsproxy"), "trusted comment is not obfstats"),
        (sign(EXTENDED).replace(b"comment: obfstats", b"comment: obfstatz"), "the signature does not match"),
    ],
)
def test_a_wrong_signature_is_refused(signature: bytes, detail: str) -> None:
    """Malformed, of other bytes, or with a trusted comment that would publish a time or a name."""
    status, given_detail = refuse(EXTENDED, signature)
    assert status == 401
    assert detail in given_detail


def test_another_key_does_not_pass() -> None:
    """A right signature by another key than the one that is named."""
    other = SigningKey.generate()
    assert refuse(EXTENDED, other.sign(EXTENDED, TRUSTED_COMMENT)) == (401, "the signature does not match")


_DOCUMENT = {"document": EXTENDED.decode(), "signature": sign(EXTENDED).decode()}


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ([], "the request: not an object with key and documents alone"),
        ({"key": KEY.public}, "the request: not an object with key and documents alone"),
        ({"key": KEY.public, "documents": [_DOCUMENT], "from": "192.0.2.7"}, "the request: not an object with"),
        ({"key": 1, "documents": [_DOCUMENT]}, "key: not a string"),
        ({"key": KEY.public[:-1], "documents": [_DOCUMENT]}, "key: not a public key"),
        ({"key": KEY.public, "documents": []}, "documents: not a list of 1 to 1000"),
        ({"key": KEY.public, "documents": _DOCUMENT}, "documents: not a list of 1 to 1000"),
        ({"key": KEY.public, "documents": [1] * (MAX_DOCUMENTS + 1)}, "documents: not a list of 1 to 1000"),
        ({"key": KEY.public, "documents": [_DOCUMENT, "x"]}, "documents[1]: not an object with document and signature"),
        ({"key": KEY.public, "documents": [{**_DOCUMENT, "signature": None}]}, "documents[0]: document and signature"),
    ],
)
def test_a_request_of_another_shape_says_where(value: object, detail: str) -> None:
    """422 with the place; members that this version does not know are refused."""
    status, given_detail = refuse_request(json.dumps(value).encode())
    assert status == 422
    assert given_detail.startswith(detail)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"{",
        b"[" * MAX_BRACKETS,
        b"1" * 10_000,
        '{"key":"x"}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """Broken, nested too deep, a number without end, another encoding."""
    assert refuse_request(body) == (400, "the request is not JSON")


def test_a_request_that_is_too_long_is_not_parsed() -> None:
    """413 for one byte too many."""
    assert refuse_request(b" " * (MAX_REQUEST_LENGTH + 1))[0] == 413


def test_a_request_of_very_many_lists_is_not_parsed() -> None:
    """Parsing it would keep others waiting."""
    assert refuse_request(b"[" + b"[]," * MAX_BRACKETS + b"[]]") == (
        422,
        "the request has more than 4000 objects and lists",
    )


def test_half_a_surrogate_pair_is_a_wrong_document() -> None:
    """JSON can hold what no encoding can: it is refused as text, it does not end the server."""
    value = {"key": KEY.public, "documents": [{**_DOCUMENT, "document": "@type \ud800\n"}]}
    _, ((text, signature),) = read_request(json.dumps(value).encode())
    assert refuse(text, signature)[0] == 401
    assert refuse(text) == (422, "line 1: non-ASCII byte")


def test_answers_arrive_as_they_were_written() -> None:
    """One result a document, in order; the HTTP status is the common one, or 207."""
    results = [Result(201, "accepted", "2026-11-30 14:09:00"), Result(422, "line 5: not a country code")]
    assert read_response(write_response(results), 2) == results
    assert response_status(results) == 207
    assert response_status(results[:1]) == 201
    assert response_status([results[1]] * 3) == 422


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"documents":{}}',
        b'{"documents":[]}',
        b'{"documents":[{"status":true,"detail":"x"}]}',
        b'{"documents":[{"status":201}]}',
        b'{"documents":[{"status":201,"detail":"\\u001b[2J"}]}',
        b'{"documents":[{"status":99,"detail":""}]}',
        b'{"documents":[{"status":201,"detail":"","published_by":"\\n"}]}',
        b'{"documents":[{"status":201,"detail":""},{"status":201,"detail":""}]}',
    ],
)
def test_a_client_takes_no_other_answer(body: bytes) -> None:
    """A collector may send anything: nothing that a terminal would obey, no other number of results."""
    with pytest.raises(ValueError):
        read_response(body, 1)


def test_a_refusal_of_a_whole_request_is_read_or_empty() -> None:
    """A proxy in between answers with other bodies."""
    assert read_detail(write_detail("the request is not JSON")) == "the request is not JSON"
    assert read_detail(b"<html>502 Bad Gateway</html>") == ""
    assert read_detail(b'{"detail":"\\u001b[2J"}') == ""


@pytest.mark.parametrize("status", [KeyStatus(True, 29, END, 0, 1), KeyStatus(False, 0, None, 3, 0)])
def test_a_keys_status_arrives_as_it_was_written(status: KeyStatus) -> None:
    """What the collector has of a key, in both directions."""
    assert read_status(write_status(KEY.public, status)) == status


@pytest.mark.parametrize("change", [{"admitted": 1}, {"published": "x"}, {"published": True}, {"last_interval_end": 5}])
def test_another_status_is_refused(change: dict[str, object]) -> None:
    """Of a collector that is none."""
    value = json.loads(write_status(KEY.public, KeyStatus(True, 29, END, 0, 1)))
    with pytest.raises(ValueError):
        read_status(json.dumps(value | change).encode())


@given(st.binary(max_size=200))
def test_the_fuzz_target_holds_for_any_bytes(data: bytes) -> None:
    """The invariants of the request, the signature and the document."""
    fuzz_submission.check(data)


@given(st.integers(0, 700), st.integers(0, 60), st.binary(max_size=40))
def test_the_fuzz_target_holds_for_damage(place: int, lost: int, instead: bytes) -> None:
    """The same for a good request with bytes lost, added and altered."""
    fuzz_submission.check(place.to_bytes(2, "big") + bytes([lost]) + instead)
