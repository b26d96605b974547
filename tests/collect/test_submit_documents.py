"""Documents as they are sent: canonical, with a type and a bridge, and without anything unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.collect.client.keys import KEY_NAME
from obfstats.collect.client.outgoing import MAX_BATCH, MAX_BATCH_BYTES, next_batch, read_outgoing, write_outgoing
from obfstats.collect.signing import SigningKey
from obfstats.collect.submission import (
    MAX_REQUEST_LENGTH,
    TRUSTED_COMMENT,
    SignedText,
    check_submission,
    read_request,
    write_request,
)
from obfstats.formats.document import DocumentError, read_documents
from peers.program import OBFSTATS
from tests.collect import stand_in
from tests.formats.documents import EXTENDED, NOISY, TICKETS, documents, hit_documents
from tests.publish.programs import run

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.formats.document import Document

FINGERPRINT = "7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    """A key."""
    return SigningKey.create(tmp_path_factory.mktemp("key") / KEY_NAME)


def test_the_tickets_document_gets_a_type() -> None:
    """Readers of an archive find out by it what follows; the rest stays as it is."""
    (sent,) = read_outgoing(TICKETS)
    assert sent == (b"@type obfsproxy-stats 1.0\n" + TICKETS, "2012-02-10 09:22:04")


@pytest.mark.parametrize(
    ("line", "version"), [(b"obfsproxy-ipv6-prefix 64\n", b"1.1"), (b"instance north\n", b"1.2")], ids=["1.1", "1.2"]
)
def test_the_type_is_that_of_the_lines(line: bytes, version: bytes) -> None:
    """The lowest version that has all of them; one that is stated stays."""
    lines = TICKETS.splitlines(keepends=True)
    text = b"".join([*lines[:2], line, *lines[2:]])
    (sent,) = read_outgoing(text)
    assert sent.text == b"@type obfsproxy-stats " + version + b"\n" + text
    (again,) = read_outgoing(sent.text.replace(version, b"1.9"))
    assert again.text.startswith(b"@type obfsproxy-stats 1.9\n")


def test_several_documents_in_a_file_are_sent_each_by_itself() -> None:
    """Each needs a signature of its own."""
    texts = [text for text, _ in read_outgoing(EXTENDED + stand_in.document(1) + stand_in.document(2))]
    assert texts == [EXTENDED, stand_in.document(1), stand_in.document(2)]


@given(documents(unknown=False))
def test_whatever_is_sent_a_collector_understands(key: SigningKey, document: Document) -> None:
    """Any document with a fingerprint whose interval is over, at any time after it."""
    document = replace(document, fingerprint=FINGERPRINT, seconds=min(document.seconds, 86_400))
    text, end = write_outgoing(document)
    now = datetime.fromisoformat(end).replace(tzinfo=UTC) + timedelta(0)
    submission = check_submission(key.public, text, key.sign(text, TRUSTED_COMMENT), int(now.timestamp()), max_age=None)
    assert (submission.text, submission.bridge) == (text, FINGERPRINT)
    assert read_outgoing(text) == [(text, end)]


@settings(max_examples=50)
@given(hit_documents())
def test_any_file_is_documents_or_a_sentence(text: bytes) -> None:
    """What is damaged is told without a byte of it."""
    try:
        sent = read_outgoing(text)
    except ValueError as error:
        sentence = str(error)
        sent = []
    else:
        sentence = ""
    assert sentence.isprintable()
    assert all(len(read_documents(document.text)) == 1 for document in sent)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (NOISY, "a document without a hashed-fingerprint line, which says whose numbers these are; make it with --f"),
        (TICKETS + b"obfsproxy-later x\n", "line 5: unknown keyword"),
        (TICKETS.replace(b"DE=48", b"DE=\x1b[31m"), "line 3: not a number after a name"),
        (b"2026-11-21 07:47:51 de 50388cc2b0828593b0ce0d128c66a7b003053a67\n", "line 1: unknown keyword"),
        (b"", "there is no document in it"),
    ],
    ids=["no-bridge", "unknown-line", "damaged", "log", "empty"],
)
def test_what_cannot_be_sent_stops_everything(tmp_path: Path, text: bytes, sentence: str) -> None:
    """The good document beside it is not sent either, and nothing is kept; one line says why, and where."""
    SigningKey.create(tmp_path / KEY_NAME)
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(stand_in.document())
    bad.write_bytes(text)
    with stand_in.serve() as collector:
        result = run([OBFSTATS, "submit", "--to", collector.url_text, "--data-dir", str(tmp_path), str(good), str(bad)])
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.decode().startswith(f"obfstats submit: {bad}: {sentence}")
    assert result.stderr.count(b"\n") == 1
    assert collector.requests == []
    assert not (tmp_path / "spool").exists()


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    """Exit status 2, as everywhere."""
    result = run([OBFSTATS, "submit", "--to", "http://127.0.0.1:9", "--data-dir", str(tmp_path), str(tmp_path)])
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.decode() == f"obfstats submit: cannot read {tmp_path}: Is a directory\n"


def test_a_submission_needs_a_key(tmp_path: Path) -> None:
    """The line says how to make one."""
    document = tmp_path / "document"
    document.write_bytes(stand_in.document())
    result = run([OBFSTATS, "submit", "--to", "http://127.0.0.1:9", "--data-dir", str(tmp_path), str(document)])
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.endswith(b"make one with: obfstats key new\n")


@given(st.lists(st.integers(1, 50_000), max_size=120))
def test_every_request_is_within_a_collectors_limits(key: SigningKey, lengths: list[int]) -> None:
    """However long the documents are, and nothing is left out; a line end costs two bytes in JSON."""
    rest = [(str(number), b"\n" * length) for number, length in enumerate(lengths)]
    sent = []
    while batch := next_batch(rest):
        assert len(batch) <= MAX_BATCH
        sent += batch
        rest = rest[len(batch) :]
        signature = key.sign(b"", TRUSTED_COMMENT)
        request = write_request(key.public, [SignedText(text, signature) for _, text in batch])
        assert len(request) <= MAX_REQUEST_LENGTH
        assert read_request(request)[1][0].text == batch[0][1]
    assert [len(text) for _, text in sent] == lengths
    assert MAX_BATCH_BYTES > 50_000


def test_a_document_that_becomes_too_long_with_a_type_is_a_sentence() -> None:
    """It was as long as a document may be."""
    head = TICKETS.splitlines(keepends=True)[:2]
    cells = b"obfsproxy-ip-transports " + b",".join(b"t%05d=8" % number for number in range(5540)) + b"\n"
    text = b"".join(head) + cells
    assert 49_900 < len(text) <= 50_000
    with pytest.raises(ValueError, match=r"exceeds 50000 bytes"):
        read_outgoing(text)
    with pytest.raises(DocumentError):
        read_documents(b"@type obfsproxy-stats 1.0\n" + text)
