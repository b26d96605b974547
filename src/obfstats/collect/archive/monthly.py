"""A month's archive: all documents whose intervals end in the month (UTC), in one tar file compressed with xz.

    archive/obfsproxy-stats-2026-11.tar.xz
        obfsproxy-stats-2026-11/29/20261129-092204-7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e
        obfsproxy-stats-2026-11/29/20261129-092204-7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e.minisig
        obfsproxy-stats-2026-11/29/20261129-092204-7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e-b   instance "b"
        ...
    archive/obfsproxy-stats-imported-2019-05.tar.xz      the same, of documents that the collector's operators imported

- A member is named by the interval's end, the bridge and the instance, so a name occurs once. Each is followed by its
  signature. Members are sorted by name: the same documents are the same bytes, in whatever order they came.
- A month grows by being written anew, old and new members merged. That is streamed: memory does not depend on the
  number of documents.
- The format is ustar; a member's time is the end of its interval, so nothing tells when it was packed.

Pure: open files in, open files out.
"""

from __future__ import annotations

import heapq
import lzma
import tarfile
from datetime import UTC, datetime
from operator import itemgetter
from typing import IO, TYPE_CHECKING, NamedTuple

from obfstats.collect.signing import SIGNATURE_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ARCHIVE_FOLDER = "archive"

_BLOCK = tarfile.BLOCKSIZE
_MAX_MEMBER = 1 << 20
# Measured with 2,000 bridges: preset 6 takes 5 times as long and saves a fifth. A smaller dictionary does not reach
# back to the day before, where the same bridges and keys are.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 16 << 20}]


class MonthError(Exception):
    """A month's archive is damaged. Its text is one sentence."""


class Member(NamedTuple):
    """A document in a month's archive.

    Attributes:
        name: without the month's folder.
        end: of its interval, epoch seconds.
        text: of the document.
        signature: its signature, in minisign's format.
    """

    name: str
    end: int
    text: bytes
    signature: bytes


def name_month(month: str, *, imported: bool) -> str:
    """Give the name of a month's archive, which is also that of the folder in it.

    Args:
        month: `YYYY-MM`.
        imported: whether its documents were imported.
    """
    return f"obfsproxy-stats-{'imported-' if imported else ''}{month}"


def locate_month(month: str, *, imported: bool) -> str:
    """Give the path of a month's archive."""
    return f"{ARCHIVE_FOLDER}/{name_month(month, imported=imported)}.tar.xz"


def name_member(bridge: str, instance: str, end: int) -> str:
    """Give the name of a document in its month's archive.

    Args:
        bridge: hashed fingerprint, lower-case hex.
        instance: its name; empty if it has none.
        end: of the interval, epoch seconds.
    """
    moment = datetime.fromtimestamp(end, UTC)
    return f"{moment:%d/%Y%m%d-%H%M%S}-{bridge}{f'-{instance}' if instance else ''}"


def merge_members(old: Iterable[Member], new: Iterable[Member]) -> Iterator[Member]:
    """Merge sorted members; of two with one name the old one stays."""
    last = ""
    for member in heapq.merge(old, new, key=itemgetter(0)):
        if member.name != last:
            yield member
        last = member.name


def write_month(folder: str, members: Iterable[Member], file: IO[bytes]) -> None:
    """Write a month's archive.

    Args:
        folder: the name of the folder in it.
        members: sorted by name.
        file: where it is written.

    Raises:
        OSError: if the disk refuses it.
    """
    with lzma.open(file, "wb", filters=_FILTERS) as tar:
        for member in members:
            name = f"{folder}/{member.name}"
            tar.write(_write_file(name, member.end, member.text))
            tar.write(_write_file(name + SIGNATURE_SUFFIX, member.end, member.signature))
        tar.write(bytes(2 * _BLOCK))


def read_month(folder: str, file: IO[bytes]) -> Iterator[Member]:
    """Read a month's archive that `write_month` wrote.

    Raises:
        MonthError: if it is damaged, after everything that precedes the damage.
    """
    try:
        with lzma.open(file) as tar:
            while (member := _read_member(folder, tar)) is not None:
                yield member
            _read_end(tar)
    except (lzma.LZMAError, EOFError, tarfile.TarError):
        raise MonthError(f"{ARCHIVE_FOLDER}/{folder}.tar.xz is damaged; copy it from a backup or a mirror") from None


def _write_file(name: str, end: int, content: bytes) -> bytes:
    header = tarfile.TarInfo(name)
    header.size, header.mtime = len(content), end
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % _BLOCK)


def _read_member(folder: str, tar: IO[bytes]) -> Member | None:
    """Read a document and its signature; None at the end of the archive."""
    document = _read_file(tar)
    if document is None:
        return None
    signature = _read_file(tar)
    name, end, text = document
    if signature is None or signature[0] != name + SIGNATURE_SUFFIX or not name.startswith(f"{folder}/"):
        raise tarfile.TarError
    return Member(name.removeprefix(f"{folder}/"), end, text, signature[2])


def _read_file(tar: IO[bytes]) -> tuple[str, int, bytes] | None:
    """Read a member's name, time and content; None at the end of the archive."""
    block = tar.read(_BLOCK)
    if block == bytes(_BLOCK):
        return None
    header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    if header.size > _MAX_MEMBER:
        raise tarfile.TarError
    padded = tar.read(header.size + -header.size % _BLOCK)
    return header.name, int(header.mtime), padded[: header.size]


def _read_end(tar: IO[bytes]) -> None:
    """Read the second block of the end, and to the end of the compressed data, where its checksums are."""
    if tar.read(2 * _BLOCK) != bytes(_BLOCK):
        raise tarfile.TarError
