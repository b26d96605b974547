"""Writes the index of the public files: what each is, for mirrors and for CollecTor's clients.

A file's entry is made once: what was hashed and read is taken from the index that is there, or from memory, until the
file changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import re
from typing import IO, TYPE_CHECKING, NamedTuple

from obfstats import __version__
from obfstats.collect.archive.monthly import ARCHIVE_FOLDER, read_month
from obfstats.collect.archive.recent import RECENT_FOLDER, split_recent, time_of_recent
from obfstats.collect.index import ArchiveIndexError, FileEntry, Index, parse_index, write_index
from obfstats.collect.signing import SIGNATURE_SUFFIX
from obfstats.formats.interval import parse_time
from obfstats.lockedfile import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obfstats.collect.archive.published_files import Archive

INDEX = "index.json"
MIRRORS_CLOCK_ERROR_SECONDS = 86_400
"""How far in the future an index may be for a mirror to take it."""

_COMPRESSED = f"{INDEX}.xz"
_FILES = tuple(name + suffix for name in (INDEX, _COMPRESSED) for suffix in ("", SIGNATURE_SUFFIX))
# Where metrics-lib looks for it.
_FOLDER = "index"
_MONTH = re.compile(rf"{ARCHIVE_FOLDER}/(obfsproxy-stats-(imported-)?[0-9]{{4}}-[0-9]{{2}})\.tar\.xz")
_HEAD = re.compile(
    rb"@type (obfsproxy-stats 1\.[0-9]{1,4})\n(?:.*\n)*?obfsproxy-stats-end .*?([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8})"
)


class _Seen(NamedTuple):
    """A file's entry, and what the file looked like then."""

    size: int
    modified: int
    inode: int
    entry: FileEntry


class Indexer:
    """Keeps an archive's index up to date."""

    def __init__(self, archive: Archive, url: str | None) -> None:
        """Index an archive; `url` is what its index names, None for that of the index that is there."""
        self._archive = archive
        self._url = url
        self._seen: dict[str, _Seen] = {}

    def write(self, now: int) -> None:
        """Write the index of all files that are there.

        Args:
            now: epoch seconds.

        Raises:
            OSError: if the disk refuses it.
            MonthError: if a month's archive is damaged.
        """
        former = self._read_former()
        entries = {entry.path: entry for entry in former.files}
        there = set(self._archive.list("")) - set(_FILES)
        # Other files, such as a home page, have no signature, and mirrors would refuse them.
        paths = sorted(path for path in there if path + SIGNATURE_SUFFIX in there or _is_signature(path, there))
        self._seen = {path: self._look_at(path, entries.get(path)) for path in paths}
        files = tuple(seen.entry for seen in self._seen.values())
        # A mirror takes no index that is older than its own, so a clock that is set back must not date this one. An
        # index of the future was written by a wrong clock, and no mirror has taken it: it must not date later ones.
        created = former.created if now < former.created <= now + MIRRORS_CLOCK_ERROR_SECONDS else now
        url = former.url if self._url is None else self._url
        text = write_index(Index(created, url, f"obfstats {__version__}", files))
        self._archive.write_bytes(INDEX, text)
        self._archive.write_bytes(_COMPRESSED, lzma.compress(text))
        self._link()

    def _read_former(self) -> Index:
        with contextlib.suppress(OSError, ArchiveIndexError), self._archive.open(INDEX) as file:
            return parse_index(file.read())
        return Index(0)

    def _look_at(self, path: str, former: FileEntry | None) -> _Seen:
        status = (self._archive.root / path).stat()
        seen = self._seen.get(path)
        looks = (status.st_size, status.st_mtime_ns, status.st_ino)
        if seen is not None and seen[:3] == looks:
            return seen
        self._archive.checkpoint()
        with self._archive.open(path) as file:
            digest = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]
        entry = FileEntry(path, status.st_size, int(status.st_mtime), digest)
        if former is not None and former.sha256 == digest:
            entry = former._replace(last_modified=entry.last_modified)
        else:
            entry = self._read_documents(entry)
        return _Seen(*looks, entry)

    def _read_documents(self, entry: FileEntry) -> FileEntry:
        """Add what the documents of a file tell, where it has documents."""
        month = _MONTH.fullmatch(entry.path)
        folder, _, name = entry.path.rpartition("/")
        if month is None and (folder != RECENT_FOLDER or time_of_recent(name) is None):
            return entry
        types, first, last = set(), "", ""
        with self._archive.open(entry.path) as file:
            for text in self._texts_of_month(month[1], file) if month else split_recent(file):
                if (match := _HEAD.match(text)) is not None:
                    types.add(match[1].decode())
                    end = match[2].decode()
                    first, last = min(first or end, end), max(last, end)
        return entry._replace(
            types=tuple(sorted(types)),
            first_published=_parse(first),
            last_published=_parse(last),
            imported=month is not None and month[2] is not None,
        )

    def _link(self) -> None:
        folder = self._archive.root / _FOLDER
        make_folder(folder, 0o755)
        for name in _FILES:
            with contextlib.suppress(FileExistsError):
                (folder / name).symlink_to(f"../{name}")

    def _texts_of_month(self, folder: str, file: IO[bytes]) -> Iterator[bytes]:
        for member in read_month(folder, file):
            self._archive.checkpoint()
            yield member.text


def _is_signature(path: str, there: set[str]) -> bool:
    return path.endswith(SIGNATURE_SUFFIX) and path.removesuffix(SIGNATURE_SUFFIX) in there


def _parse(label: str) -> int | None:
    return int(parse_time(label).timestamp()) if label else None
