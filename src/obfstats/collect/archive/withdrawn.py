"""Takes withdrawn documents out of the public files, and says so in the file `withdrawn`.

    2026-11-30 14:09:00 5d41...(64 hex digits) recent/obfsproxy-stats/2026-11-29-14-09-00-obfsproxy-stats

A line is a document that a file had: when it was taken out, the SHA-256 of its text, the file's path. A recent file
that is gone has one, too: mirrors may have it. The lines are written first, so that a publication that is killed leaves
no document that is gone without its line.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from itertools import chain, compress
from typing import TYPE_CHECKING

from obfstats.collect.archive.monthly import locate_month, name_month, read_month, write_month
from obfstats.collect.archive.recent import RECENT_FOLDER, SIGNATURES_SUFFIX, split_recent, split_signatures
from obfstats.formats.interval import format_time

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from obfstats.collect.archive.published_files import Archive
    from obfstats.collect.store.archive_records import Withdrawal

WITHDRAWN = "withdrawn"
"""The file with the lines."""

_LABEL = len("2026-11-30 14:09:00")


def withdraw_documents(archive: Archive, withdrawals: Collection[Withdrawal], now: int) -> None:
    """Take documents out of the files that have them. May be repeated.

    Args:
        archive: the public files.
        withdrawals: the documents.
        now: epoch seconds.

    Raises:
        OSError: if the disk refuses it.
        MonthError: if a month's archive is damaged.
    """
    digests = {withdrawal.digest for withdrawal in withdrawals}
    recent = {withdrawal.recent for withdrawal in withdrawals if withdrawal.recent is not None}
    months = {(withdrawal.month, withdrawal.imported) for withdrawal in withdrawals}
    files: list[_RecentFile | _MonthFile] = [_RecentFile(archive, name) for name in sorted(recent)]
    files += [_MonthFile(archive, month, imported=imported) for month, imported in sorted(months)]
    found = {file.path: file.find(digests) for file in files if archive.has(file.path)}
    lines = [(digest, path) for path, there in found.items() for digest in there]
    lines += [
        (withdrawal.digest, path)
        for withdrawal in withdrawals
        if withdrawal.recent is not None and not archive.has(path := f"{RECENT_FOLDER}/{withdrawal.recent}")
    ]
    _add_lines(archive, lines, now)
    for file in files:
        if found.get(file.path):
            file.rewrite_without(digests)


class _RecentFile:
    def __init__(self, archive: Archive, name: str) -> None:
        self.path = f"{RECENT_FOLDER}/{name}"
        self._signatures = self.path + SIGNATURES_SUFFIX
        self._archive = archive

    def find(self, digests: Collection[str]) -> list[str]:
        with self._archive.open(self.path) as file:
            return [digest for digest in map(_digest, split_recent(file)) if digest in digests]

    def rewrite_without(self, digests: Collection[str]) -> None:
        with self._archive.open(self.path) as file:
            is_kept = [_digest(document) not in digests for document in split_recent(file)]
        # Without signatures it is old, and the publication that was removing it was killed.
        if not any(is_kept) or not self._archive.has(self._signatures):
            # The documents last: they tell whether this is done.
            self._archive.remove(self._signatures)
            self._archive.remove(self.path)
            return
        with self._archive.open(self._signatures) as file:
            signatures = list(split_signatures(file))
        # A publication that was killed may have written the signatures already.
        if len(signatures) == len(is_kept):
            self._archive.write_bytes(self._signatures, b"".join(compress(signatures, is_kept)))
        with self._archive.open(self.path) as old:
            self._archive.write(self.path, lambda file: file.writelines(compress(split_recent(old), is_kept)))


class _MonthFile:
    def __init__(self, archive: Archive, month: str, *, imported: bool) -> None:
        self.path = locate_month(month, imported=imported)
        self._folder = name_month(month, imported=imported)
        self._archive = archive

    def find(self, digests: Collection[str]) -> list[str]:
        with self._archive.open(self.path) as file:
            there = (_digest(member.text) for member in read_month(self._folder, file))
            return [digest for digest in there if digest in digests]

    def rewrite_without(self, digests: Collection[str]) -> None:
        with self._archive.open(self.path) as old:
            members = (member for member in read_month(self._folder, old) if _digest(member.text) not in digests)
            first = next(members, None)
            if first is None:
                self._archive.remove(self.path)
            else:
                self._archive.write(self.path, lambda file: write_month(self._folder, chain([first], members), file))


def _add_lines(archive: Archive, found: Iterable[tuple[str, str]], now: int) -> None:
    """Add lines to the file `withdrawn`, unless it has them."""
    lines = []
    if archive.has(WITHDRAWN):
        with archive.open(WITHDRAWN) as file:
            lines = file.read().decode("ascii").splitlines()
    known = {line[_LABEL:] for line in lines}
    new = [f" {digest} {path}" for digest, path in found]
    label = format_time(datetime.fromtimestamp(now, UTC))
    added = [label + rest for rest in new if rest not in known]
    if added:
        archive.write_bytes(WITHDRAWN, "".join(f"{line}\n" for line in lines + added).encode())


def _digest(text: bytes) -> str:
    return sha256(text).hexdigest()
