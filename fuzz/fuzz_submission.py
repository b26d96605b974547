"""Fuzz what a stranger can send to a collector: the request, a signature in it, and a signed document.

Run it with libFuzzer's arguments:

    .venv/bin/python -m fuzz.fuzz_submission -max_total_time=60 [corpus folder]

Each input is tried as all three, as it is and as damage to a good one:

    byte 0, 1   offset of the damage, modulo the good one's length
    byte 2      how many bytes are removed there
    the rest    what replaces them
"""

from __future__ import annotations

from fuzz.target import run, watched

with watched(__name__, "obfstats.collect", "obfstats.formats"):
    from obfstats.collect.signing import SigningKey
    from obfstats.collect.submission import (
        MAX_AGE_SECONDS,
        TRUSTED_COMMENT,
        Refusal,
        SignedText,
        Submission,
        check_submission,
        read_request,
        write_request,
    )
    from obfstats.formats.document import read_documents

NOW = 1_796_000_000
"""The collector's clock: 2026-11-30 00:53:20."""

KEY = SigningKey.generate()
"""Signs what must have a right signature."""

GOOD_TEXT = b"""\
@type obfsproxy-stats 1.2
hashed-fingerprint 7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e
obfsproxy-stats-end (86400 s) 2026-11-29 09:22:04
instance second
obfsproxy-ips DE=48,EU=48,AU=32
obfsproxy-reqs DE=64,EU=56,AU=32
"""
GOOD_SIGNATURE = KEY.sign(GOOD_TEXT, TRUSTED_COMMENT)
GOOD_REQUEST = write_request(KEY.public, [SignedText(GOOD_TEXT, GOOD_SIGNATURE)])


def check(data: bytes) -> None:
    """Check all three invariants for one input.

    Raises:
        AssertionError: if one does not hold.
    """
    for check_one, good in (
        (check_request, GOOD_REQUEST),
        (check_signature, GOOD_SIGNATURE),
        (check_document, GOOD_TEXT),
    ):
        check_one(data)
        if len(data) >= 3:
            start = int.from_bytes(data[:2], "big") % (len(good) + 1)
            check_one(good[:start] + data[3:] + good[start + data[2] :])


def check_request(body: bytes) -> None:
    """A body is refused, or it is the request that is written again from what was read."""
    try:
        key, documents = read_request(body)
    except Refusal as refusal:
        _check_refusal(refusal, 400, 413, 422)
        return
    if all(text.isascii() and signature.isascii() for text, signature in documents):
        assert read_request(write_request(key, documents)) == (key, documents), "written again it reads differently"


def check_signature(signature: bytes) -> None:
    """A signature is refused, or it is the good one with another untrusted comment."""
    submission = _check(GOOD_TEXT, signature, 401)
    if submission is not None:
        assert submission.signature == GOOD_SIGNATURE, "another signature is taken for the good one"


def check_document(text: bytes) -> None:
    """A signed text is refused, or it is one document, kept as it is, that every publisher reads the same."""
    submission = _check(text, KEY.sign(text, TRUSTED_COMMENT), 413, 422)
    if submission is None:
        return
    (document,) = read_documents(submission.text)
    assert submission.text == text, "another text than the signed one is kept"
    assert (submission.bridge, submission.instance) == (document.fingerprint, document.instance or "")
    assert NOW - MAX_AGE_SECONDS <= submission.end <= NOW, "an interval of another time is taken"
    assert not document.unknown, "a line of unknown meaning would be published"


def _check(text: bytes, signature: bytes, *statuses: int) -> Submission | None:
    try:
        return check_submission(KEY.public, text, signature, NOW)
    except Refusal as refusal:
        _check_refusal(refusal, *statuses)
        return None


def _check_refusal(refusal: Refusal, *statuses: int) -> None:
    assert refusal.status in statuses, f"refused with {refusal.status}"
    assert refusal.detail.isprintable(), "a detail that a terminal cannot show"
    assert len(refusal.detail) < 200, "a detail that may quote what was sent"


if __name__ == "__main__":
    run(check)
