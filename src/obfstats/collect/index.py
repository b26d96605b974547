"""The index of an archive, in CollecTor's format: which files there are, how large, and with which digest.

    {"index_created": "2026-11-30 14:09", "build_revision": "obfstats 0.9", "path": "https://collector.example",
     "directories": [{"path": "recent", "directories": [{"path": "obfsproxy-stats", "files": [
        {"path": "2026-11-30-14-09-00-obfsproxy-stats", "size": 377, "last_modified": "2026-11-30 14:09",
         "types": ["obfsproxy-stats 1.0"], "first_published": "2026-11-29 09:22", "last_published": "2026-11-29 21:04",
         "sha256": "aDD2q7uNGOM+WuH67+nTd7rvFN4P580xPAmXYtqxr2I="}]}]}]}

Rules:

- An index is data from outside. A path becomes a name on the reader's disk, so only plain names are accepted: never
  `..`, never a hidden file, never an absolute path, never a file that is a folder too.
- Its size is bounded before it is parsed, and thereby the number of its files.
- Fields that are not known are ignored, as metrics-lib does. `imported` is ours.
- An error says where, and never quotes a name that was not checked.
- Times are UTC, to the minute.

Source of the format: CollecTor's indexer (IndexNode, DirectoryNode, FileNode), metrics-lib, and a real index of 2019.
Pure: bytes in, values out.
"""

from __future__ import annotations

import base64
import json
import lzma
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from obfstats.formats.interval import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_INDEX_LENGTH = 64 << 20
"""Bytes of an index, unpacked. CollecTor's has some 20 MB."""

MAX_FILE_SIZE = 1 << 40
"""Bytes of one file: far more than any archive's month has."""

_MAX_DEPTH = 16
_MAX_TYPES = 100
# A decoder of xz's highest preset needs 65 MiB.
_XZ_MEMORY = 128 << 20
_EPOCH_YEAR = 1970
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,:=+@~-]{0,199}")
_TYPE = re.compile(r"[A-Za-z0-9][\x20-\x7e]{0,99}")
_DIGEST = re.compile(r"[A-Za-z0-9+/]{43}=")


class ArchiveIndexError(ValueError):
    """Text is not an index. Its text is one sentence."""


def is_path(text: str) -> bool:
    """Tell whether a text is a path from an archive's root that may become a file's name."""
    parts = text.split("/")
    return len(parts) <= _MAX_DEPTH + 1 and all(map(_NAME.fullmatch, parts))


class FileEntry(NamedTuple):
    """A file of the archive.

    Attributes:
        path: from the archive's root, with slashes.
        size: in bytes.
        last_modified: epoch seconds, to the minute.
        sha256: its digest, 32 bytes.
        types: what its `@type` lines name, such as "obfsproxy-stats 1.0".
        first_published: the first of its documents' times, epoch seconds to the minute; None if it has none.
        last_published: the last of them.
        imported: whether the collector's operators imported its documents (ours; not in CollecTor's index).
    """

    path: str
    size: int
    last_modified: int
    sha256: bytes
    types: tuple[str, ...] = ()
    first_published: int | None = None
    last_published: int | None = None
    imported: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """An index.

    Attributes:
        created: when it was made, epoch seconds, to the minute.
        url: where the archive is, as it says of itself: metrics-lib fetches the files from there.
        revision: the program that made it.
        files: its files, sorted by path.
    """

    created: int
    url: str = ""
    revision: str = ""
    files: tuple[FileEntry, ...] = ()


def write_index(index: Index) -> bytes:
    """Write an index; equal ones are equal bytes.

    Args:
        index: its files in any order; times are cut to the minute.

    Returns:
        JSON without blanks, and a line end.

    Raises:
        ArchiveIndexError: if a path is not allowed, or occurs twice.
    """
    _check_paths(entry.path for entry in index.files)
    root = _Folder()
    for entry in sorted(index.files, key=_path_of):
        *folders, name = entry.path.split("/")
        folder = root
        for part in folders:
            folder = folder.folders.setdefault(part, _Folder())
        folder.files.append(_write_file(name, entry))
    head = {"index_created": _format_minute(index.created), "build_revision": index.revision, "path": index.url}
    return json.dumps(head | root.write(), ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def parse_index(text: bytes) -> Index:
    """Read an index.

    Raises:
        ArchiveIndexError: if it is none, is too large, or names what must not become a file's name.
    """
    if len(text) > MAX_INDEX_LENGTH:
        raise ArchiveIndexError(f"the index exceeds {MAX_INDEX_LENGTH} bytes")
    try:
        root = json.loads(text.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ArchiveIndexError("the index is not JSON") from None
    if not isinstance(root, dict):
        raise ArchiveIndexError("the index is not an object of JSON")
    created = _parse_minute(root.get("index_created"), "index_created", "the archive")
    files = sorted(_parse_folder(root, ()), key=_path_of)
    _check_paths(entry.path for entry in files)
    return Index(created, _parse_text(root, "path"), _parse_text(root, "build_revision"), tuple(files))


def unpack_index(compressed: bytes) -> bytes:
    """Unpack index.json.xz.

    Raises:
        ArchiveIndexError: if it is not xz, is damaged, or unpacks to more than an index may have.
    """
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    try:
        text = unpacker.decompress(compressed, MAX_INDEX_LENGTH + 1)
    except lzma.LZMAError:
        raise ArchiveIndexError("the index is not in xz's format, or is damaged") from None
    if len(text) > MAX_INDEX_LENGTH:
        raise ArchiveIndexError(f"the index exceeds {MAX_INDEX_LENGTH} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise ArchiveIndexError("the index in xz's format is not whole")
    return text


@dataclass
class _Folder:
    """A folder of an index that is written."""

    files: list[dict[str, object]] = field(default_factory=list)
    folders: dict[str, _Folder] = field(default_factory=dict)

    def write(self) -> dict[str, object]:
        """Give what CollecTor writes for a folder, without its path."""
        parts: dict[str, object] = {}
        if self.files:
            parts["files"] = self.files
        if self.folders:
            parts["directories"] = [{"path": name, **folder.write()} for name, folder in sorted(self.folders.items())]
        return parts


def _write_file(name: str, entry: FileEntry) -> dict[str, object]:
    """Give what CollecTor writes for a file: fields in its order, without those that are empty."""
    fields: dict[str, object] = {
        "path": name,
        "size": entry.size,
        "last_modified": _format_minute(entry.last_modified),
    }
    if entry.types:
        fields["types"] = list(entry.types)
    if entry.first_published is not None:
        fields["first_published"] = _format_minute(entry.first_published)
    if entry.last_published is not None:
        fields["last_published"] = _format_minute(entry.last_published)
    fields["sha256"] = base64.b64encode(entry.sha256).decode()
    if entry.imported:
        fields["imported"] = True
    return fields


def _parse_folder(node: dict[str, Any], parents: tuple[str, ...]) -> Iterator[FileEntry]:
    """Read the files of a folder and of all folders in it."""
    where = "/".join(parents) or "the archive"
    for file in _parse_list(node, "files", where):
        yield _parse_file(file, parents, where)
    folders = _parse_list(node, "directories", where)
    if folders and len(parents) == _MAX_DEPTH:
        raise ArchiveIndexError(f"the index has more than {_MAX_DEPTH} folders in each other")
    for folder in folders:
        yield from _parse_folder(folder, (*parents, _parse_name(folder, where)))


def _parse_file(node: dict[str, Any], parents: tuple[str, ...], where: str) -> FileEntry:
    path = "/".join((*parents, _parse_name(node, where)))
    size = node.get("size")
    if type(size) is not int or not 0 <= size <= MAX_FILE_SIZE:
        raise ArchiveIndexError(f"the index has no possible size of {path}")
    digest = node.get("sha256")
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        raise ArchiveIndexError(f"the index has no SHA-256 of {path}")
    types = node.get("types") or []
    if not isinstance(types, list) or len(types) > _MAX_TYPES or not all(map(_is_type, types)):
        raise ArchiveIndexError(f"the index has impossible types of {path}")
    first, last = (
        None if node.get(key) is None else _parse_minute(node[key], key, path)
        for key in ("first_published", "last_published")
    )
    return FileEntry(
        path,
        size,
        _parse_minute(node.get("last_modified"), "last_modified", path),
        base64.b64decode(digest),
        tuple(types),
        first,
        last,
        node.get("imported") is True,
    )


def _parse_list(node: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """Read a list of objects; an absent one is empty."""
    nodes = node.get(key)
    if nodes is None:
        return []
    if not isinstance(nodes, list) or not all(isinstance(each, dict) for each in nodes):
        raise ArchiveIndexError(f"the index has no list of {key} for {where}")
    return nodes


def _parse_name(node: dict[str, Any], where: str) -> str:
    name = node.get("path")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ArchiveIndexError(f"the index has a name in {where} that is not allowed")
    return name


def _parse_text(node: dict[str, Any], key: str) -> str:
    text = node.get(key)
    return text if isinstance(text, str) else ""


def _path_of(entry: FileEntry) -> str:
    return entry.path


def _is_type(text: object) -> bool:
    return isinstance(text, str) and _TYPE.fullmatch(text) is not None


def _parse_minute(text: object, key: str, where: str) -> int:
    """Read `YYYY-MM-DD HH:MM` as epoch seconds."""
    try:
        moment = parse_time(f"{text}:00" if isinstance(text, str) else "")
    except ValueError:
        raise ArchiveIndexError(f"the index has no valid {key} of {where}") from None
    if moment.year < _EPOCH_YEAR:
        raise ArchiveIndexError(f"the index has a {key} of {where} before {_EPOCH_YEAR}")
    return int(moment.timestamp())


def _format_minute(seconds: int) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))[: -len(":00")]


def _check_paths(paths: Iterable[str]) -> None:
    """Refuse a path that is not allowed, one that occurs twice, and a file that is a folder too."""
    seen: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        parts = path.split("/")
        if not is_path(path):
            raise ArchiveIndexError("the index has a path that is not allowed")
        if path in seen:
            raise ArchiveIndexError(f"the index has {path} twice")
        seen.add(path)
        folders.update("/".join(parts[:count]) for count in range(1, len(parts)))
    for path in seen & folders:
        raise ArchiveIndexError(f"the index has {path} as a file and as a folder")


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("not a number of JSON")
