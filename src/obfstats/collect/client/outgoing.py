"""Documents as they are sent: read, checked and written again, so that equal numbers are equal bytes. Pure.

- A document is sent in its canonical order, with `@type` and `hashed-fingerprint`, and without unknown lines, which may
  hold anything.
- Whether an interval is too old, or known already, is the collector's decision.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from obfstats.collect.submission import MAX_REQUEST_LENGTH
from obfstats.formats.document import DocumentError, find_minor, read_documents, write_document

if TYPE_CHECKING:
    from collections.abc import Iterable

    from obfstats.formats.document import Document

MAX_BATCH = 50
"""Documents in a request: half of what a collector takes of a key at once."""

MAX_BATCH_BYTES = MAX_REQUEST_LENGTH // 2
"""Bytes of the documents in a request; JSON and signatures add less than as much again."""


class OutgoingDocument(NamedTuple):
    """A document that can be sent.

    Attributes:
        text: what is signed and sent.
        end: end of its interval, `YYYY-MM-DD HH:MM:SS`.
    """

    text: bytes
    end: str


def read_outgoing(text: bytes) -> list[OutgoingDocument]:
    """Read documents that are to be sent.

    Args:
        text: one document, or several one after the other.

    Raises:
        ValueError: if one is not of the grammar, or names no bridge.
    """
    documents = [write_outgoing(document) for document in read_documents(text)]
    if not documents:
        raise ValueError("there is no document in it")
    return documents


def write_outgoing(document: Document) -> OutgoingDocument:
    """Write a document as it is sent.

    Raises:
        ValueError: if it names no bridge, or exceeds a document's length.
    """
    if document.fingerprint is None:
        raise ValueError(
            "a document without a hashed-fingerprint line, which says whose numbers these are; make it with "
            "--fingerprint HEX, which is in the file fingerprint in tor's DataDirectory (only a hash of it is printed)"
        )
    typed = document if document.minor is not None else replace(document, minor=find_minor(document))
    try:
        return OutgoingDocument(write_document(typed), document.end)
    except DocumentError as error:
        raise ValueError(error.reason) from None


def next_batch(documents: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Give as many documents, names and texts, as one request may have."""
    batch: list[tuple[str, bytes]] = []
    size = 0
    for name, text in islice(documents, MAX_BATCH):
        size += len(text)
        if batch and size > MAX_BATCH_BYTES:
            break
        batch.append((name, text))
    return batch
