"""The ledger's records of the archive: which documents each file is to have, has, and is to lose.

Rules:

- A document's text stays until the month's archive has it, so a crash or a full disk between the ledger and a file
  loses nothing. What a file has is noted after the file is on the disk.
- Long lists are read in pages: memory does not grow with the archive, and no transaction stays open meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from obfstats.collect.store.database import Database, Row

PAGE = 500
"""Rows that are read at once."""

BEFORE_ALL = -(2**62)
"""An interval's end before any."""

_SELECT_STORED = "SELECT bridge, instance, interval_end, seconds, key, digest, text, signature, imported FROM documents"


class StoredDocument(NamedTuple):
    """A document with its text.

    Attributes:
        bridge: the hashed fingerprint, lower case.
        instance: empty if the document names none.
        end: end of the interval in epoch seconds.
        seconds: its length.
        key: the public key that signed it.
        digest: SHA-256 of the text, hex.
        text: the document as it was signed.
        signature: its signature.
        imported: whether it was read from a local file.
    """

    bridge: str
    instance: str
    end: int
    seconds: int
    key: str
    digest: str
    text: bytes
    signature: bytes
    imported: bool


class Withdrawal(NamedTuple):
    """A withdrawn document whose withdrawal is not published.

    Attributes:
        digest: SHA-256 of its text, hex.
        recent: the file below recent/ that was to have it; None if none was named.
        month: of its interval's end, `YYYY-MM`.
        imported: whether it was read from a local file.
    """

    digest: str
    recent: str | None
    month: str
    imported: bool


class ArchiveRecords:
    """The records of what is in the public archive. Like the database, they belong to one thread."""

    def __init__(self, database: Database) -> None:
        """Keep them in an open database."""
        self._database = database

    def assign_recent(self, name: str) -> int:
        """Name the file below recent/ that is to have all published documents that no file has.

        Returns:
            How many they are.
        """
        return len(
            self._run(
                "UPDATE documents SET recent = :name WHERE status = 'published' AND imported = 0 AND recent IS NULL"
                " AND packed = 0 RETURNING 1",
                name=name,
            )
        )

    def unwritten_recent(self) -> list[str]:
        """Give the names of the files below recent/ that are not marked as written, in order."""
        return [
            name
            for (name,) in self._database.read(
                "SELECT DISTINCT recent FROM documents WHERE status = 'published' AND imported = 0"
                " AND recent IS NOT NULL AND recent_written = 0 AND packed = 0 ORDER BY recent"
            )
        ]

    def read_recent(self, name: str) -> Iterator[StoredDocument]:
        """Give the documents of a file below recent/ that no month's archive has, by (bridge, instance, end)."""
        last = ("", "", BEFORE_ALL)
        while rows := self._database.read(
            f"{_SELECT_STORED} WHERE status = 'published' AND imported = 0 AND recent = :name AND packed = 0"
            " AND (bridge, instance, interval_end) > (:bridge, :instance, :end)"
            " ORDER BY bridge, instance, interval_end LIMIT :page",
            name=name,
            **dict(zip(("bridge", "instance", "end"), last, strict=True)),
            page=PAGE,
        ):
            for row in rows:
                document = _read_stored(row)
                yield document
            last = (document.bridge, document.instance, document.end)

    def mark_recent_written(self, name: str) -> None:
        """Note that a file below recent/ is on the disk."""
        self._run(
            "UPDATE documents SET recent_written = 1 WHERE status IN ('published', 'withdrawn', 'replaced')"
            " AND imported = 0 AND recent = :name AND packed = 0",
            name=name,
        )

    def unpacked_months(self) -> list[tuple[str, bool]]:
        """Give the months, and whether imported, that have documents to be packed into their archives."""
        return [
            (month, bool(imported))
            for month, imported in self._database.read(
                "SELECT DISTINCT month, imported FROM documents WHERE status = 'published' AND recent_written = 1"
                " AND packed = 0 ORDER BY month, imported"
            )
        ]

    def read_unpacked(self, month: str, *, imported: bool) -> Iterator[StoredDocument]:
        """Give the documents to be packed into a month's archive, by (end, bridge, instance)."""
        last = (BEFORE_ALL, "", "")
        while rows := self._database.read(
            f"{_SELECT_STORED} WHERE status = 'published' AND month = :month AND imported = :imported"
            " AND recent_written = 1 AND packed = 0"
            " AND (interval_end, bridge, instance) > (:end, :bridge, :instance)"
            " ORDER BY interval_end, bridge, instance LIMIT :page",
            month=month,
            imported=int(imported),
            **dict(zip(("end", "bridge", "instance"), last, strict=True)),
            page=PAGE,
        ):
            for row in rows:
                document = _read_stored(row)
                yield document
            last = (document.end, document.bridge, document.instance)

    def mark_packed(self, documents: Iterable[tuple[str, str]]) -> None:
        """Note that the archive of a month is on the disk with these documents, and drop their texts.

        Args:
            documents: key and digest of each.
        """
        pairs = sorted((digest, key) for key, digest in documents)
        self._run(
            "UPDATE documents SET packed = 1, text = NULL, signature = NULL"
            " WHERE (digest, key) IN (SELECT * FROM :pairs(digest text, key text) AS pairs)",
            pairs=pairs,
        )

    def unpublished_withdrawals(self) -> list[Withdrawal]:
        """Give the withdrawn documents whose withdrawal is not marked as published."""
        return [
            Withdrawal(digest, recent, month, bool(imported))
            for digest, recent, month, imported in self._database.read(
                "SELECT digest, recent, month, imported FROM documents WHERE status IN ('withdrawn', 'replaced')"
                " AND tombstone = 0 ORDER BY digest"
            )
        ]

    def mark_withdrawal_published(self, digest: str) -> None:
        """Note that the archive is without a document and says so; drop its text."""
        self._run(
            "UPDATE documents SET tombstone = 1, text = NULL, signature = NULL"
            " WHERE digest = :digest AND status IN ('withdrawn', 'replaced')",
            digest=digest,
        )

    def _run(self, sql: str, **parameters: object) -> list[Row]:
        return self._database.run(lambda: self._database.execute(sql, **parameters))


def _read_stored(row: Row) -> StoredDocument:
    stored = StoredDocument(*row)
    text, signature, imported = row[-3:]
    return stored._replace(text=text.encode("ascii"), signature=signature.encode("ascii"), imported=bool(imported))
