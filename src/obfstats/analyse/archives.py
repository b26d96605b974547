"""Input files and what is in them: folders, tar archives (also compressed), plain files of concatenated descriptors.

    for piece in read_pieces(file, advance):    # whole descriptors of one member
        piece.member, piece.first_line, piece.text

Rules:

- The content tells what a file is, not its name: xz or gzip around a tar archive or around text, or nothing around it.
- Files are streamed; memory does not depend on the size of a file, an archive or a member.
- Of a damaged file everything before the damage is given, and then ArchiveError is raised. A descriptor that is
  truncated is not given.
- A member or plain file is given in pieces of whole descriptors: it is split before lines that begin with `@type `.
  A descriptor that is longer than MAX_DESCRIPTOR_LENGTH is skipped without holding it in memory; a piece says so.
- Folders, links and devices in archives are ignored, nothing is ever written to disk.

Formats: POSIX.1-2017, pax (ustar and extended headers); GNU tar manual, "Basic Tar Format"; the .xz file format 1.1.
"""

from __future__ import annotations

import gzip
import lzma
import os
import re
import stat
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from obfstats.commandline import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_DESCRIPTOR_LENGTH = 32 << 20
"""Bytes of the longest descriptor. A bridge network status has up to 1 MB."""

_CHUNK = 1 << 20
_PIECE = 8 << 20
_XZ, _GZIP = b"\xfd7zXZ\x00", b"\x1f\x8b"
_XZ_MEMORY_LIMIT = 256 << 20
_BLOCK = 512
_ZERO_BLOCK = bytes(_BLOCK)
_MAX_EXTENDED_HEADER = 1 << 20
_BOUNDARY = b"\n@type "
_REGULAR = frozenset((b"0", b"\0", b"7"))
_DIGITS = re.compile(rb"[0-9]{1,20}")
_EXTENDED = frozenset((b"x", b"g", b"L", b"K"))


class InputError(Exception):
    """An input cannot be opened. Its text is one sentence for the user: what is wrong and what to do."""


class ArchiveError(Exception):
    """A file is damaged; everything before the damage has been given.

    Attributes:
        reason: what is wrong.
        offset: where, in bytes of the decompressed file; None where that is not known.
    """

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset

    def locate(self, file: str) -> str:
        """Say where the damage is in a file."""
        return file if self.offset is None else f"{file}, byte {self.offset:,}"


class Piece(NamedTuple):
    """Whole descriptors of one member or plain file.

    Attributes:
        member: its name in the archive; empty for a plain file.
        first_line: number of the piece's first line in the member, counted from 1.
        text: the descriptors; empty where `problem` is not.
        problem: why a descriptor was skipped that begins in `first_line`.
    """

    member: str
    first_line: int
    text: bytes
    problem: str = ""


def find_files(inputs: Iterable[Path]) -> list[Path]:
    """Give the files that inputs name; those in folders recursively and sorted, without hidden ones.

    Raises:
        InputError: if an input does not exist, or is neither a file nor a folder.
    """
    files: list[Path] = []
    for path in inputs:
        try:
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                files += sorted(_files_below(path))
            elif stat.S_ISREG(mode):
                files.append(path)
            else:
                raise InputError(f"{one_line(str(path))} is neither a file nor a folder; name CollecTor's files")
        except OSError as error:
            raise input_error(error.filename or path, error) from None
    return files


def input_error(path: object, error: OSError) -> InputError:
    """Say why an input cannot be read."""
    return InputError(
        f"cannot read {one_line(str(path))}: {error.strerror}; name CollecTor's files or folders, or our documents"
    )


def _files_below(folder: Path) -> Iterator[Path]:
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)


def read_pieces(file: BinaryIO, advance: Callable[[int], None]) -> Iterator[Piece]:
    """Read the descriptors of an open file.

    Args:
        file: the file, at its beginning.
        advance: takes the number of bytes of the file that have been read since the last call.

    Raises:
        ArchiveError: at the damage, if the file is damaged.
    """
    chunks = _read_chunks(file, advance)
    first = next(chunks, b"")
    chunks = _chain(first, chunks)
    if first.startswith(_XZ):
        chunks = _decompress_xz(chunks)
    elif first.startswith(_GZIP):
        chunks = _decompress_gzip(chunks)
    stream = _Stream(chunks)
    first = stream.peek(_BLOCK)
    is_tar = _is_header(first) or first == _ZERO_BLOCK
    yield from _walk_tar(stream) if is_tar else _split("", stream.rest())


def _read_chunks(file: BinaryIO, advance: Callable[[int], None]) -> Iterator[bytes]:
    while True:
        try:
            chunk = file.read(_CHUNK)
        except OSError as error:
            raise ArchiveError(f"cannot be read further: {error.strerror}") from None
        if not chunk:
            return
        advance(len(chunk))
        yield chunk


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
        yield from rest


def _decompress_xz(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress concatenated xz streams with padding between them."""
    stream: lzma.LZMADecompressor | None = None
    try:
        for chunk in chunks:
            data = chunk
            while True:
                if stream is None:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_LIMIT)
                content = stream.decompress(data, _CHUNK)
                if content:
                    yield content
                data = b""
                if stream.eof:
                    data, stream = stream.unused_data, None
                elif stream.needs_input:
                    break
    except lzma.LZMAError:
        raise ArchiveError("xz data is corrupt") from None
    if stream is not None:
        raise ArchiveError("xz data is truncated")


def _decompress_gzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    file = gzip.GzipFile(fileobj=cast("BinaryIO", _Chunks(chunks)))
    try:
        while content := file.read1(_CHUNK):
            yield content
    except EOFError:
        raise ArchiveError("gzip data is truncated") from None
    except (gzip.BadGzipFile, zlib.error):
        raise ArchiveError("gzip data is corrupt") from None


class _Chunks:
    """A file made of chunks, for gzip."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._stream = _Stream(chunks)

    def read(self, size: int) -> bytes:
        return self._stream.take(size)


class _Stream:
    """Chunks as a stream with an offset."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._data = b""
        self._position = 0
        self._dropped = 0

    @property
    def offset(self) -> int:
        """Number of bytes that have been taken."""
        return self._dropped + self._position

    def peek(self, size: int) -> bytes:
        """Give the next bytes without taking them; fewer at the end."""
        if len(self._data) - self._position < size:
            self._fill(size)
        return self._data[self._position : self._position + size]

    def take(self, size: int) -> bytes:
        """Take the next bytes; fewer at the end."""
        start = self._position
        end = start + size
        if end > len(self._data):
            data = self.peek(size)
            self._position += len(data)
            return data
        self._position = end
        return self._data[start:end]

    def rest(self) -> Iterator[bytes]:
        """Take everything that follows."""
        while data := self.take(_CHUNK):
            yield data

    def _fill(self, size: int) -> None:
        """Read until there are as many bytes, or to the end."""
        self._dropped += self._position
        parts = [self._data[self._position :]]
        missing = size - len(parts[0])
        self._data, self._position = b"", 0
        while missing > 0 and (chunk := next(self._chunks, b"")):
            parts.append(chunk)
            missing -= len(chunk)
        self._data = b"".join(parts)


def _is_header(block: bytes) -> bool:
    """Tell whether a block is a tar header: by its magic, or by its checksum in archives from before POSIX."""
    if block[257:262] == b"ustar":
        return len(block) == _BLOCK
    if len(block) < _BLOCK or not block[0]:
        return False
    checksum = _read_number(block[148:156])
    return checksum == sum(block[:148]) + 8 * ord(" ") + sum(block[156:])


def _read_number(field: bytes) -> int:
    """Read a number of a header: octal digits, or GNU's binary form; negative if it is neither."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.rstrip(b"\0 "), 8)
    except ValueError:
        return -1


def _walk_tar(stream: _Stream) -> Iterator[Piece]:
    """Give what is in the regular files of a tar archive.

    Concatenated archives are read as one. The checksums of POSIX headers are not checked: adding up 512 bytes takes
    longer than everything else, and the magic of the next header tells whether a size was right.
    """
    long_name: str | None = None
    long_size: int | None = None
    has_end = False
    while header := stream.take(_BLOCK):
        if not header[0] and header == _ZERO_BLOCK[: len(header)]:
            has_end = has_end or len(header) == _BLOCK
            continue
        if not _is_header(header):
            problem = "truncated" if len(header) < _BLOCK else "corrupt"
            raise ArchiveError(f"tar archive is {problem}", stream.offset - len(header))
        has_end = False
        kind = header[156:157]
        size = _read_number(header[124:136]) if long_size is None else long_size
        is_extended = kind in _EXTENDED
        if size < 0 or (is_extended and size > _MAX_EXTENDED_HEADER):
            raise ArchiveError("tar archive is corrupt", stream.offset - _BLOCK)
        if is_extended:
            new_name, new_size = _read_extended_header(kind, _take_member(stream, size))
            long_name = long_name if new_name is None else new_name
            long_size = long_size if new_size is None else new_size
            continue
        name = _read_name(header) if long_name is None else long_name
        long_name = long_size = None
        is_file = kind in _REGULAR and name[-1:] != "/"
        if size <= _PIECE:
            content = _take_member(stream, size)
            if is_file:
                yield Piece(name, 1, content)
        elif is_file:
            yield from _split(name, _take_long_member(stream, size))
        else:
            for _ in _take_long_member(stream, size):
                pass
    if not has_end:
        raise ArchiveError("tar archive is truncated", stream.offset)


def _take_member(stream: _Stream, size: int) -> bytes:
    """Take a member's content, and the padding after it."""
    padded = size + -size % _BLOCK
    content = stream.take(padded)
    if len(content) < padded:
        raise ArchiveError("tar archive is truncated", stream.offset)
    return content[:size]


def _take_long_member(stream: _Stream, size: int) -> Iterator[bytes]:
    """Do the same in chunks."""
    while size > _CHUNK:
        chunk = stream.take(_CHUNK)
        if not chunk:
            raise ArchiveError("tar archive is truncated", stream.offset)
        size -= len(chunk)
        yield chunk
    yield _take_member(stream, size)


def _read_name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    if header[345] and header[257:263] == b"ustar\0":
        name = header[345:500].partition(b"\0")[0] + b"/" + name
    return _decode(name)


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _read_extended_header(kind: bytes, data: bytes) -> tuple[str | None, int | None]:
    """Give the name and size that a header before a member's own has; None where it has none."""
    if kind == b"L":
        return _decode(data.partition(b"\0")[0]), None
    records = _read_pax_records(data) if kind == b"x" else {}
    name, size = records.get(b"path"), records.get(b"size", b"")
    return None if name is None else _decode(name), int(size) if _DIGITS.fullmatch(size) else None


def _read_pax_records(data: bytes) -> dict[bytes, bytes]:
    """Read the records `LENGTH KEYWORD=VALUE` with their newlines; what is not of this form ends them."""
    records = {}
    while data:
        length, _, _ = data.partition(b" ")
        if not _DIGITS.fullmatch(length) or not len(length) + 3 <= int(length) <= len(data):
            break
        keyword, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        records[keyword] = value
        data = data[int(length) :]
    return records


def _split(member: str, chunks: Iterable[bytes]) -> Iterator[Piece]:
    """Split content into pieces of whole descriptors."""
    held, line, is_skipping = bytearray(), 1, False
    for chunk in chunks:
        held += chunk
        if is_skipping:
            start = held.find(_BOUNDARY) + 1
            dropped = start or max(0, len(held) - len(_BOUNDARY))
            line += held.count(b"\n", 0, dropped)
            del held[:dropped]
            is_skipping = not start
        if is_skipping or len(held) < _PIECE:
            continue
        end = held.rfind(_BOUNDARY) + 1
        if end:
            yield Piece(member, line, bytes(held[:end]))
            line += held.count(b"\n", 0, end)
            del held[:end]
        elif len(held) > MAX_DESCRIPTOR_LENGTH:
            yield Piece(member, line, b"", f"descriptor exceeds {MAX_DESCRIPTOR_LENGTH >> 20} MiB")
            is_skipping = True
    if held and not is_skipping:
        yield Piece(member, line, bytes(held))
