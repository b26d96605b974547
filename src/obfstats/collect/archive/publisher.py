"""The publication: what the ledger has accepted becomes public files.

    publisher = ArchivePublisher(ledger, archive, lock=folder / ".publishing", period=3600)
    publisher.publish(now)

A publication is at a moment t with t % period = 540 % period: at 9 minutes past the hour, as CollecTor. Its steps:

1. The documents without a file are given the recent file of this publication, in the ledger; then it is written.
2. Withdrawn documents: first the line in `withdrawn`, then the files that have them are written without them.
3. Once a day the documents that months' archives lack are packed into them; then the ledger drops their texts. Recent
   files are removed after RECENT_SECONDS, so only when they are packed.
4. The index.

Rules:

- Each step may be killed anywhere. It is repeated by the next publication, and leaves the same files.
- The ledger notes that a file has a document when the file is on the disk, never before.
- One collector publishes at a time: the one that holds the lock.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from hashlib import sha256
from typing import IO, TYPE_CHECKING

from obfstats.collect.archive.indexing import Indexer
from obfstats.collect.archive.monthly import (
    Member,
    locate_month,
    merge_members,
    name_member,
    name_month,
    read_month,
    write_month,
)
from obfstats.collect.archive.recent import RECENT_FOLDER, SIGNATURES_SUFFIX, name_recent, time_of_recent
from obfstats.collect.archive.withdrawn import withdraw_documents
from obfstats.lockedfile import LockedFile, make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from obfstats.collect.archive.published_files import Archive
    from obfstats.collect.store.archive_records import StoredDocument
    from obfstats.collect.store.ledger import Ledger

RECENT_SECONDS = 72 * 3600
"""How long a recent file is kept: as CollecTor's."""

QUARANTINE_SECONDS = 60 * 86_400
"""How long a document waits for a person's decision."""

_DAY = 86_400
_OFFSET = 9 * 60
# A month at once would keep documents that arrive from being accepted for seconds.
_MARKED_AT_ONCE = 1000


def next_publication(now: int, period: int) -> int:
    """Give the moment of the publication that has what is accepted now.

    Args:
        now: epoch seconds.
        period: seconds between publications.
    """
    return now + period - (now - _OFFSET) % period


class ArchivePublisher:
    """Publishes one ledger into one archive. Belongs to the ledger's thread."""

    def __init__(
        self, ledger: Ledger, archive: Archive, lock: Path, *, period: int = 3600, url: str | None = None
    ) -> None:
        """Prepare; `publish` does the work.

        Args:
            ledger: what was accepted.
            archive: the public files.
            lock: the file that the publishing program locks.
            period: seconds between publications.
            url: the archive's, for its index; None for that of the index that is there.
        """
        self._ledger = ledger
        self._archive = archive
        self._lock = lock
        self._period = period
        self._indexer = Indexer(archive, url)
        self._packed_on: int | None = None

    def publish(self, now: int) -> None:
        """Do what is due, and what an earlier publication left undone.

        Args:
            now: epoch seconds.

        Raises:
            FileInUseError: if another program is publishing.
            LockedFileError, OSError, DatabaseError, MonthError: if something cannot be read or written; a later
                publication does the rest.
        """
        moment = next_publication(now, self._period) - self._period
        with self._locked():
            self._archive.publish_key()
            self._write_recent(name_recent(moment))
            self._withdraw(now)
            today = moment // _DAY
            if self._packed_on != today:
                self._pack()
                # Not at the start, nor where the clock was set far forward: it may be wrong, and would delete them all.
                if self._packed_on is not None and today - self._packed_on <= 1 + self._period // _DAY:
                    self._ledger.expire_quarantine(now - QUARANTINE_SECONDS)
                self._packed_on = today
            self._remove_old(now)
            self._indexer.write(now)

    def publish_imported(self, now: int) -> None:
        """Pack what is in no month's archive, imported documents above all. Arguments and errors as of `publish`."""
        with self._locked():
            self._archive.publish_key()
            self._withdraw(now)
            self._pack()
            self._indexer.write(now)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_folder(self._lock.parent, 0o755)
        lock = LockedFile.open(self._lock, "lock", "only one program publishes at a time")
        try:
            yield
        finally:
            lock.close()

    def _write_recent(self, name: str) -> None:
        """Write the recent file of this publication, and those that were not finished."""
        for unfinished in self._ledger.unwritten_recent():
            self._write_recent_file(unfinished)
        # A file never grows: a publication at the same moment, by another collector or after a restart, takes nothing.
        if not self._archive.has(f"{RECENT_FOLDER}/{name}") and self._ledger.assign_recent(name):
            self._write_recent_file(name)

    def _write_recent_file(self, name: str) -> None:
        path = f"{RECENT_FOLDER}/{name}"
        # Again if a person has withdrawn a document meanwhile: signatures and documents have one order.
        while self._write_column(name, "signature", path + SIGNATURES_SUFFIX) != self._write_column(name, "text", path):
            pass
        self._archive.checkpoint()
        self._ledger.mark_recent_written(name)

    def _write_column(self, name: str, column: str, path: str) -> int:
        """Write the texts or the signatures of a recent file's documents; give how many they are."""
        count = 0

        def write_into(file: IO[bytes]) -> None:
            nonlocal count
            for document in self._with_checkpoints(self._ledger.read_recent(name)):
                file.write(getattr(document, column))
                count += 1

        self._archive.write(path, write_into)
        return count

    def _withdraw(self, now: int) -> None:
        withdrawals = self._ledger.unpublished_withdrawals()
        if withdrawals:
            withdraw_documents(self._archive, withdrawals, now)
        for withdrawal in withdrawals:
            self._archive.checkpoint()
            self._ledger.mark_withdrawal_published(withdrawal.digest)

    def _pack(self) -> None:
        for month, imported in self._ledger.unpacked_months():
            self._pack_month(month, imported=imported)

    def _pack_month(self, month: str, *, imported: bool) -> None:
        path, folder = locate_month(month, imported=imported), name_month(month, imported=imported)
        keys: dict[str, str] = {}
        packed: list[tuple[str, str]] = []

        def read_new() -> Iterator[Member]:
            for document in self._ledger.read_unpacked(month, imported=imported):
                keys[document.digest] = document.key
                name = name_member(document.bridge, document.instance, document.end)
                yield Member(name, document.end, document.text, document.signature)

        def note_packed(members: Iterator[Member]) -> Iterator[Member]:
            for member in members:
                self._archive.checkpoint()
                digest = sha256(member.text).hexdigest()
                if digest in keys:
                    packed.append((keys.pop(digest), digest))
                yield member

        with ExitStack() as stack:
            old: Iterator[Member] = iter(())
            if self._archive.has(path):
                old = read_month(folder, stack.enter_context(self._archive.open(path)))
            members = note_packed(merge_members(old, read_new()))
            self._archive.write(path, lambda file: write_month(folder, members, file))
        for start in range(0, len(packed), _MARKED_AT_ONCE):
            self._archive.checkpoint()
            self._ledger.mark_packed(packed[start : start + _MARKED_AT_ONCE])

    def _remove_old(self, now: int) -> None:
        """Remove recent files that have been public long enough; a publication that got here has packed them."""
        for path in list(self._archive.list(RECENT_FOLDER)):
            moment = time_of_recent(path.rpartition("/")[2])
            if moment is not None and moment < now - RECENT_SECONDS:
                # The documents last: they tell whether this is done.
                self._archive.remove(path + SIGNATURES_SUFFIX)
                self._archive.remove(path)

    def _with_checkpoints(self, documents: Iterator[StoredDocument]) -> Iterator[StoredDocument]:
        for document in documents:
            self._archive.checkpoint()
            yield document
