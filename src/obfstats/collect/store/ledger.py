"""The ledger: which documents a collector has, what became of each, and where the public archive has it.

Rules:

- What `accept` has returned is on the disk, with the document's text. The text stays until the month's archive has it,
  so a crash or a full disk between the ledger and a file loses nothing.
- Rows are written in one order (bridge, instance, end, ...), so that two collectors wait for each other, but not in a
  circle.
- Nothing of a submitter is kept but the key, and of the arrival only the day.
- admission.py has the rules by which documents are published; archive_records.py is what the archive asks and tells;
  database.py runs the statements.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from obfstats.collect.store.admission import (
    INTERVAL_WITHDRAWN,
    MAX_WAITING,
    MAX_WAITING_PER_KEY,
    OTHER_CONTENT,
    Admission,
    AdmittedKey,
    Decision,
    Outcome,
    Status,
    StatusChange,
)
from obfstats.collect.store.archive_records import BEFORE_ALL, PAGE, ArchiveRecords
from obfstats.collect.store.database import Conflict
from obfstats.collect.submission import KeyStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from obfstats.collect.store.admission import Judged, Slot
    from obfstats.collect.store.database import Database, Row
    from obfstats.collect.submission import Submission

_Result = TypeVar("_Result")

_DAY = 86_400
_PREFIX = re.compile("[0-9a-f]{8,64}")

# What the ledger has of documents that are to be judged. CROSS JOIN keeps SQLite from reading the large table first.
_SELECT_KEYS = (
    "SELECT keys.key, may_claim, claim FROM :given(key text) AS given CROSS JOIN keys WHERE keys.key = given.key"
)
_SELECT_BRIDGES = (
    "SELECT names.bridge, key, 1 FROM :given(bridge text) AS given CROSS JOIN names WHERE names.bridge = given.bridge"
    " UNION ALL SELECT claim, key, 0 FROM :given(bridge text) AS given CROSS JOIN keys WHERE claim = given.bridge"
)
_SELECT_KNOWN = (
    "SELECT documents.digest, documents.key, status FROM :given(digest text, key text) AS given CROSS JOIN documents"
    " WHERE documents.digest = given.digest AND documents.key = given.key"
)
_COUNT_WAITING = (
    "SELECT documents.key, count(*) FROM :given(key text) AS given CROSS JOIN documents"
    " WHERE documents.key = given.key AND status IN ('quarantined', 'conflicting') GROUP BY documents.key"
)
_SELECT_SLOTS = (
    "SELECT documents.bridge, documents.instance, documents.interval_end, digest, status"
    " FROM :given(bridge text, instance text, interval_end bigint) AS given CROSS JOIN documents"
    " WHERE documents.bridge = given.bridge AND documents.instance = given.instance"
    " AND documents.interval_end = given.interval_end AND status IN ('published', 'withdrawn')"
)
_SELECT_LISTED = "SELECT digest, key, bridge, instance, interval_end, seconds, status, reason FROM documents"


class LedgerError(Exception):
    """A person's decision cannot be carried out. Its text is one sentence."""


class ListedDocument(NamedTuple):
    """A document without its text, for a person to decide. Attributes as of `StoredDocument`.

    Attributes:
        reason: why it is quarantined or conflicting.
    """

    digest: str
    key: str
    bridge: str
    instance: str
    end: int
    seconds: int
    status: Status
    reason: str


class Admitted(NamedTuple):
    """What an admission did to the documents of the key that were in quarantine.

    Attributes:
        published: those that are published now.
        quarantined: those of bridges that the key is not admitted for.
        conflicting: those that contradict a published one.
    """

    published: int
    quarantined: int
    conflicting: int


class Ledger(ArchiveRecords):
    """The ledger in a database. Like the database, it belongs to one thread."""

    def __init__(
        self,
        database: Database,
        *,
        max_waiting_per_key: int = MAX_WAITING_PER_KEY,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """Keep a ledger in an open database; for the limits see admission.py."""
        super().__init__(database)
        self._max_waiting_per_key = max_waiting_per_key
        self._max_waiting = max_waiting
        self._waiting_in_all: int | None = None

    # Documents that arrive

    def accept(self, batch: Sequence[Submission], now: int) -> list[Decision]:
        """Accept documents: all of them in one transaction.

        Args:
            batch: documents whose signatures and grammar are right.
            now: epoch seconds.

        Returns:
            What became of each, in order. It is on the disk.

        Raises:
            DatabaseError: if the database fails; none is taken then.
        """

        def work() -> tuple[list[Decision], int]:
            # An admission or a revocation waits until these are done, and the reverse.
            self._database.lock_table("keys", "ROW SHARE")
            admission = self._read_admission(batch)
            stored = set(admission.known)
            decisions = [admission.judge(document) for document in batch]
            if admission.claims:
                # Another collector's claim may be on its way: look again when it is there.
                self._database.lock_table("keys", "SHARE ROW EXCLUSIVE")
                admission = self._read_admission(batch)
                decisions = [admission.judge(document) for document in batch]
                self._write_claims(admission.claims)
            self._update(admission.changes, stored)
            new = {
                (document.digest, document.key): document
                for document in batch
                if (document.digest, document.key) in admission.changes.keys() - stored
            }
            self._insert(new.values(), admission.changes, now, imported=False)
            return decisions, admission.waiting_in_all

        decisions, waiting_in_all = self._database.run(work)
        if self._waiting_in_all is not None:
            self._waiting_in_all = waiting_in_all
        return decisions

    def add_imported(self, documents: Sequence[Submission], now: int) -> list[Decision]:
        """Accept documents from local files of the collector's operator, whatever their keys.

        Args:
            documents: documents whose signatures and grammar are right.
            now: epoch seconds.
        """

        def work() -> list[Decision]:
            slots = _read_slots(self._database.execute(_SELECT_SLOTS, given=_slots_of(documents)))
            new: dict[tuple[str, str], Submission] = {}
            decisions = []
            for document in documents:
                slot = (document.bridge, document.instance, document.end)
                digest, status = slots.get(slot, (None, None))
                if status is None:
                    slots[slot] = (document.digest, Status.PUBLISHED)
                    new[document.digest, document.key] = document
                    decisions.append(Decision(Outcome.PUBLISHED, "accepted"))
                elif status is Status.WITHDRAWN:
                    decisions.append(Decision(Outcome.CONFLICT, INTERVAL_WITHDRAWN))
                elif digest == document.digest:
                    decisions.append(Decision(Outcome.KNOWN, "the same document is published"))
                else:
                    decisions.append(Decision(Outcome.CONFLICT, OTHER_CONTENT))
            # The same bytes may be in quarantine.
            self._delete(new.values())
            self._insert(new.values(), dict.fromkeys(new, StatusChange(Status.PUBLISHED, "")), now, imported=True)
            return decisions

        return self._database.run(work)

    def expire_quarantine(self, before: int) -> int:
        """Delete quarantined and conflicting documents that arrived before a moment.

        Args:
            before: epoch seconds; the day of it counts.

        Returns:
            How many they were.
        """
        self._waiting_in_all = None
        return len(
            self._run(
                "DELETE FROM documents WHERE status IN ('quarantined', 'conflicting') AND received < :before"
                " RETURNING 1",
                before=before - before % _DAY,
            )
        )

    # Keys

    def admit(self, key: str, bridges: Sequence[str] = ()) -> Admitted:
        """Admit a key.

        Args:
            key: a public key.
            bridges: hashed fingerprints, lower case, for which it is named; if empty, the key may publish for one
                bridge, its claim.

        Returns:
            What became of its documents in quarantine.
        """

        def work() -> Admitted:
            self._database.lock_table("keys", "EXCLUSIVE")
            # What it was named for before it was revoked.
            self._database.execute(
                "DELETE FROM names WHERE key = :key AND NOT EXISTS (SELECT 1 FROM keys WHERE key = :key)", key=key
            )
            self._database.execute(
                "INSERT INTO keys (key, may_claim) VALUES (:key, :may_claim) ON CONFLICT (key)"
                " DO UPDATE SET may_claim = CASE WHEN excluded.may_claim = 1 THEN 1 ELSE keys.may_claim END",
                key=key,
                may_claim=int(not bridges),
            )
            self._database.execute(
                "INSERT INTO names (bridge, key) SELECT bridge, :key FROM :bridges(bridge text) AS given WHERE true"
                " ON CONFLICT DO NOTHING",
                key=key,
                bridges=[(bridge,) for bridge in sorted(set(bridges))],
            )
            rows = self._database.execute(
                f"{_SELECT_LISTED} WHERE key = :key AND status = 'quarantined'"
                " ORDER BY interval_end, bridge, instance, digest",
                key=key,
            )
            documents = [_read_listed(row) for row in rows]
            admission = self._read_admission(documents)
            outcomes = [admission.judge(document).outcome for document in documents]
            self._write_claims(admission.claims)
            self._update(admission.changes, admission.changes.keys())
            # What is published already under another key counts as published.
            conflicting = outcomes.count(Outcome.CONFLICT)
            quarantined = outcomes.count(Outcome.QUARANTINED)
            return Admitted(len(outcomes) - conflicting - quarantined, quarantined, conflicting)

        self._waiting_in_all = None
        return self._database.run(work)

    def revoke(self, key: str) -> bool:
        """Admit a key no longer. What it has published stays. No other key can claim the bridges that it was named for.

        Returns:
            Whether it was admitted.
        """

        def work() -> bool:
            self._database.lock_table("keys", "EXCLUSIVE")
            return bool(self._database.execute("DELETE FROM keys WHERE key = :key RETURNING 1", key=key))

        return self._database.run(work)

    def status_of(self, key: str) -> KeyStatus:
        """Tell what there is of a key.

        An accepted document counts when the archive has it: anyone may ask, and would learn when it arrived.
        """
        read = self._database.read
        counts = {
            status: (count, end)
            for status, count, end in read(
                "SELECT status, count(*), max(interval_end) FROM documents WHERE key = :key"
                " AND (status <> 'published' OR recent IS NOT NULL OR imported = 1) GROUP BY status",
                key=key,
            )
        }
        published, end = counts.get(Status.PUBLISHED, (0, None))
        quarantined, _ = counts.get(Status.QUARANTINED, (0, None))
        conflicting, _ = counts.get(Status.CONFLICTING, (0, None))
        admitted = bool(read("SELECT 1 FROM keys WHERE key = :key", key=key))
        return KeyStatus(admitted, published, end, quarantined, conflicting)

    def admitted_keys(self) -> frozenset[str]:
        """Give all keys that are admitted."""
        return frozenset(key for (key,) in self._database.read("SELECT key FROM keys"))

    def count_quarantined(self) -> int:
        """Count the documents in quarantine."""
        ((count,),) = self._database.read(
            "SELECT count(*) FROM documents WHERE status IN ('quarantined', 'conflicting') AND status = 'quarantined'"
        )
        return int(count)

    # A person's decisions

    def review(self) -> Iterator[ListedDocument]:
        """Give what waits for a person: quarantined and conflicting documents, by key, bridge and interval."""
        last = ("", "", "", BEFORE_ALL, "")
        while rows := self._database.read(
            f"{_SELECT_LISTED} WHERE status IN ('quarantined', 'conflicting')"
            " AND (key, bridge, instance, interval_end, digest) > (:key, :bridge, :instance, :end, :digest)"
            " ORDER BY key, bridge, instance, interval_end, digest LIMIT :page",
            **dict(zip(("key", "bridge", "instance", "end", "digest"), last, strict=True)),
            page=PAGE,
        ):
            for row in rows:
                listed = _read_listed(row)
                yield listed
            last = (listed.key, listed.bridge, listed.instance, listed.end, listed.digest)

    def accept_one(self, prefix: str) -> ListedDocument:
        """Publish one quarantined or conflicting document, whatever its key. What it contradicts is withdrawn.

        Args:
            prefix: the beginning of its digest, 8 hex digits or more.

        Raises:
            LedgerError: if there is no such document, or several, or if the same bytes were withdrawn before.
        """

        def work() -> ListedDocument:
            # Several keys may have signed the same bytes: one entry is published, the others are not needed.
            document, *others = self._find(prefix, Status.QUARANTINED, Status.CONFLICTING)
            statuses = self._database.execute(
                "SELECT status FROM documents WHERE digest = :digest"
                " AND status IN ('published', 'withdrawn', 'replaced')",
                digest=document.digest,
            )
            if statuses == [(Status.PUBLISHED,)]:
                others.append(document)
            elif statuses:
                # Mirrors delete these bytes for good.
                raise LedgerError(f"{document.digest[:16]} was withdrawn; it cannot be published again")
            else:
                self._database.execute(
                    "UPDATE documents SET status = 'replaced' WHERE bridge = :bridge AND instance = :instance"
                    " AND interval_end = :end AND status IN ('published', 'withdrawn')",
                    bridge=document.bridge,
                    instance=document.instance,
                    end=document.end,
                )
                self._set_status(document, Status.PUBLISHED)
            self._delete(others)
            return document

        return self._decide(work)

    def drop(self, prefix: str) -> ListedDocument:
        """Delete a quarantined or conflicting document; where several keys have signed the same bytes, all of these.

        Args:
            prefix: the beginning of its digest, 8 hex digits or more.

        Raises:
            LedgerError: if there is no such document, or several.
        """

        def work() -> ListedDocument:
            documents = self._find(prefix, Status.QUARANTINED, Status.CONFLICTING)
            self._delete(documents)
            return documents[0]

        return self._decide(work)

    def withdraw(self, prefix: str) -> ListedDocument:
        """Withdraw a published document. Nothing else is taken for its interval.

        Args:
            prefix: the beginning of its digest, 8 hex digits or more.

        Raises:
            LedgerError: if there is no such document, or several.
        """

        def work() -> ListedDocument:
            document = self._find(prefix, Status.PUBLISHED)[0]
            self._set_status(document, Status.WITHDRAWN)
            return document

        return self._decide(work)

    def read_one(self, prefix: str) -> bytes:
        """Give the text of a document.

        Args:
            prefix: the beginning of its digest, 8 hex digits or more.

        Raises:
            LedgerError: if there is no such document, or several, or if only the archive still has the text.
        """

        def work() -> bytes:
            document = self._find(prefix, *Status)[0]
            ((text, month),) = self._database.execute(
                "SELECT text, month FROM documents WHERE digest = :digest AND key = :key",
                digest=document.digest,
                key=document.key,
            )
            if text is None:
                raise LedgerError(f"the text of {document.digest[:16]} is in the archive of {month} only")
            encoded: bytes = text.encode("ascii")
            return encoded

        return self._database.run(work)

    # Statements

    def _read_admission(self, documents: Sequence[Judged]) -> Admission:
        keys = [(key,) for key in sorted({document.key for document in documents})]
        bridges = [(bridge,) for bridge in sorted({document.bridge for document in documents})]
        pairs = sorted({(document.digest, document.key) for document in documents})
        key_rows, bridge_rows, known, waiting, slots = self._database.execute_all(
            [
                (_SELECT_KEYS, {"given": keys}),
                (_SELECT_BRIDGES, {"given": bridges}),
                (_SELECT_KNOWN, {"given": pairs}),
                (_COUNT_WAITING, {"given": keys}),
                (_SELECT_SLOTS, {"given": _slots_of(documents)}),
            ]
        )
        admitted = {key: AdmittedKey(bool(may_claim), claim) for key, may_claim, claim in key_rows}
        named: dict[str, set[str]] = {}
        claimants: dict[str, set[str]] = {}
        for bridge, key, is_named in bridge_rows:
            (named if is_named else claimants).setdefault(bridge, set()).add(key)
        waiting_in_all = self._waiting_in_all or 0
        if len(admitted) < len(keys):
            waiting_in_all = self._count_waiting()
        return Admission(
            admitted,
            named,
            claimants,
            _read_slots(slots),
            {(digest, key): Status(status) for digest, key, status in known},
            dict(waiting),
            waiting_in_all,
            self._max_waiting_per_key,
            self._max_waiting,
        )

    def _count_waiting(self) -> int:
        """Count what waits in all; the count is kept while it is below the limit, because it takes milliseconds."""
        if self._waiting_in_all is None or self._waiting_in_all >= self._max_waiting:
            ((self._waiting_in_all,),) = self._database.execute(
                "SELECT count(*) FROM documents WHERE status IN ('quarantined', 'conflicting')"
            )
        return self._waiting_in_all

    def _write_claims(self, claims: Mapping[str, str]) -> None:
        if claims:
            self._database.execute(
                "UPDATE keys SET claim = given.claim FROM :given(key text, claim text) AS given"
                " WHERE keys.key = given.key",
                given=sorted(claims.items()),
            )

    def _update(self, changes: Mapping[tuple[str, str], StatusChange], stored: Collection[tuple[str, str]]) -> None:
        """Write what documents become that the ledger has already."""
        for digest, key in sorted(changes.keys() & stored):
            change = changes[digest, key]
            self._database.execute(
                "UPDATE documents SET status = :status, reason = :reason WHERE digest = :digest AND key = :key",
                status=change.status,
                reason=change.reason,
                digest=digest,
                key=key,
            )

    def _insert(
        self,
        documents: Iterable[Submission],
        changes: Mapping[tuple[str, str], StatusChange],
        now: int,
        *,
        imported: bool,
    ) -> None:
        """Write documents that the ledger has not.

        Raises:
            Conflict: if another collector has written one of them meanwhile.
        """
        rows = sorted(
            (
                document.bridge,
                document.instance,
                document.end,
                document.digest,
                document.key,
                document.seconds,
                datetime.fromtimestamp(document.end, UTC).strftime("%Y-%m"),
                *changes[document.digest, document.key],
                document.text.decode("ascii"),
                document.signature.decode("ascii"),
            )
            for document in documents
        )
        if not rows:
            return
        written = self._database.execute(
            "INSERT INTO documents (bridge, instance, interval_end, digest, key, seconds, month, status, reason, text,"
            " signature, received, imported, recent_written, packed, tombstone)"
            " SELECT given.*, :received, :imported, :imported, 0, 0 FROM :rows(bridge text, instance text,"
            " interval_end bigint, digest text, key text, seconds bigint, month text, status text, reason text,"
            " text text, signature text) AS given WHERE true ON CONFLICT DO NOTHING RETURNING 1",
            rows=rows,
            received=now - now % _DAY,
            imported=int(imported),
        )
        if len(written) < len(rows):
            raise Conflict

    def _decide(self, work: Callable[[], _Result]) -> _Result:
        """Carry out a person's decision, which may make room in the quarantine."""
        self._waiting_in_all = None
        return self._database.run(work)

    def _find(self, prefix: str, *statuses: Status) -> list[ListedDocument]:
        """Find the document that a person means; several entries only of the same bytes."""
        if not _PREFIX.fullmatch(prefix):
            raise LedgerError(f"{prefix[:64]!r} is not the beginning of a digest, 8 to 64 hex digits")
        rows = self._database.execute(
            f"{_SELECT_LISTED} WHERE digest >= :prefix AND digest < :last AND status IN"  # noqa: S608 - a constant
            " (SELECT * FROM :statuses(status text) AS given) ORDER BY digest, key",
            prefix=prefix,
            last=f"{prefix}g",
            statuses=[(status,) for status in statuses],
        )
        documents = [_read_listed(row) for row in rows]
        digests = {document.digest for document in documents}
        if len(digests) > 1:
            raise LedgerError(f"{len(digests)} documents have digests that begin with {prefix}; give more digits")
        if not documents:
            raise LedgerError(f"no {' or '.join(statuses)} document has a digest that begins with {prefix}")
        return documents

    def _delete(self, documents: Iterable[ListedDocument | Submission]) -> None:
        self._database.execute(
            "DELETE FROM documents WHERE (digest, key) IN (SELECT * FROM :given(digest text, key text) AS given)",
            given=sorted((document.digest, document.key) for document in documents),
        )

    def _set_status(self, document: ListedDocument, status: Status) -> None:
        self._update({(document.digest, document.key): StatusChange(status, "")}, {(document.digest, document.key)})


def _slots_of(documents: Sequence[Judged]) -> list[Slot]:
    return sorted({(document.bridge, document.instance, document.end) for document in documents})


def _read_slots(rows: Iterable[Row]) -> dict[Slot, tuple[str, Status]]:
    return {(bridge, instance, end): (digest, Status(status)) for bridge, instance, end, digest, status in rows}


def _read_listed(row: Row) -> ListedDocument:
    listed = ListedDocument(*row)
    return listed._replace(status=Status(listed.status))
