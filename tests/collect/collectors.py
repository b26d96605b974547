"""A collector without its web service: a ledger, its archive and its publisher, and documents to give it."""

from __future__ import annotations

import hashlib
import tarfile
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from obfstats.collect.archive.publishing import PUBLIC, Publication, open_collector_key
from obfstats.collect.signing import SIGNATURE_SUFFIX, SigningKey
from obfstats.collect.store.database import open_database
from obfstats.collect.store.ledger import Ledger
from obfstats.collect.submission import TRUSTED_COMMENT, Submission, check_submission
from obfstats.formats.document import Document, write_document
from obfstats.formats.interval import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = 1_796_047_740
"""2026-11-30 14:09:00 UTC, a publication's moment."""

DAY = 86_400


def bridge(number: int) -> str:
    """Give a hashed fingerprint."""
    return hashlib.sha1(number.to_bytes(8, "big"), usedforsecurity=False).hexdigest()


def document(number: int, end: int, *, clients: int = 8) -> bytes:
    """Make the text of a bridge's document."""
    label = format_time(datetime.fromtimestamp(end, UTC))
    counts = {"DE": clients, "IR": 8}
    return write_document(
        Document(label, DAY, fingerprint=bridge(number), minor=0, ips=counts, requests=counts),
    )


def sign(key: SigningKey, text: bytes) -> Submission:
    """Sign a document, and check it as the service does, a year later."""
    return check_submission(key.public, text, key.sign(text, TRUSTED_COMMENT), NOW + 365 * DAY, max_age=None)


class Collector:
    """A collector's folder and one open ledger."""

    def __init__(self, folder: Path, ledger: Ledger, database: str) -> None:
        """Take an open ledger."""
        self.folder = folder
        self.public = folder / PUBLIC
        self.ledger = ledger
        self.key = open_collector_key(folder)
        self.publication = Publication(folder, database, self.key)
        self.publisher = self.publication.open_publisher(ledger)
        key_path = folder.parent / "bridge.key"
        self.bridge_key = SigningKey.read(key_path) if key_path.exists() else SigningKey.create(key_path)

    def restart(self, checkpoint: Callable[[], None] = lambda: None) -> None:
        """Forget what was in memory."""
        self.publisher = self.publication.open_publisher(self.ledger, checkpoint)

    def accept(self, *texts: bytes) -> list[Submission]:
        """Admit the key for the documents' bridges, and take the documents."""
        submissions = [sign(self.bridge_key, text) for text in texts]
        self.ledger.admit(self.bridge_key.public, sorted({each.bridge for each in submissions}))
        self.ledger.accept(submissions, NOW)
        return submissions

    def files(self) -> dict[str, bytes]:
        """Give the public files, without signatures, hidden files and the index."""
        return {
            str(path.relative_to(self.public)): path.read_bytes()
            for path in sorted(self.public.rglob("*"))
            if path.is_file() and not path.is_symlink() and not path.name.startswith((".", "index.json"))
            if path.suffix != SIGNATURE_SUFFIX
        }

    def documents(self) -> list[bytes]:
        """Give the documents of all months' archives, sorted."""
        found = []
        for path in (self.public / "archive").glob("*.tar.xz"):
            with tarfile.open(path) as tar:
                for member in tar:
                    file = tar.extractfile(member)
                    assert file is not None
                    if not member.name.endswith(SIGNATURE_SUFFIX):
                        found.append(file.read())
        return sorted(found)


@contextmanager
def open_collector(folder: Path, database: str) -> Iterator[Collector]:
    """Open a collector's folder."""
    folder.mkdir(exist_ok=True)
    opened = open_database(database)
    try:
        yield Collector(folder, Ledger(opened), database)
    finally:
        opened.close()
