"""The logs that a command line names: files, patterns, compressed or not, or standard input.

- `-` is standard input. A name with `*`, `?` or `[` that is not a file is a pattern, for shells that did not expand it.
- The first bytes, not the name, tell how a file is compressed: gzip, xz or Zstandard. Decompression is streamed.
- A regular file can be read twice; standard input and pipes cannot.
- A log may be several files: itself, and what it was rotated into (formats/lognames.py).
- Every error is one sentence for the operator, with the name made printable and nothing of the log's content.
"""

from __future__ import annotations

import errno
import glob
import gzip
import io
import lzma
import os
import stat
import sys
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from obfstats.formats.lognames import log_of, marks_of
from obfstats.formats.marks import parse_marks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from obfstats.formats.marks import Marks

STANDARD_INPUT = "-"

_PATTERN = frozenset("*?[")
_GZIP, _XZ, _ZSTANDARD = b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_MAGIC_LENGTH = 6
_CHUNK = 1 << 16
_XZ_PADDING_UNIT = 4

MAX_DICTIONARY = 128 << 20
"""Bytes of memory that decompression may take: xz -9 needs 65 MiB, and a file can demand 4 GiB."""


class LogFileError(Exception):
    """A log cannot be read. Its text is one sentence for the operator: what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of a log, not open yet.

    Attributes:
        name: what to call it in a message; printable.
        path: where it is; None for standard input.
        size: bytes of the file, compressed or not; None for pipes and standard input.
        compressed: whether it is compressed; of pipes and standard input that is not known yet.
        identity: device and inode; None for standard input.
    """

    name: str
    path: Path | None
    size: int | None
    compressed: bool
    identity: tuple[int, int] | None

    @property
    def is_plain(self) -> bool:
        """Whether any part of it can be read at any time: a regular file that is not compressed."""
        return self.size is not None and not self.compressed

    @property
    def log(self) -> Path | None:
        """The log that it belongs to, with links followed; None for pipes and standard input."""
        return None if self.path is None or self.size is None else log_of(self.path.resolve())

    @property
    def is_read_once(self) -> bool:
        """Whether it cannot be read a second time."""
        return self.size is None

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open it for reading, decompressed, until the context ends.

        Raises:
            LogFileError: if it cannot be opened, or reading it fails inside the context.
        """
        with ExitStack() as stack:
            try:
                raw = stack.enter_context(sys.stdin.buffer if self.path is None else self.path.open("rb"))
                buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw))
                magic = buffered.peek(_MAGIC_LENGTH)
            except (OSError, AttributeError, ValueError) as error:
                raise reading_error(self.name, error) from None
            try:
                yield stack.enter_context(_decompress(buffered, magic))
            except reading_errors() as error:
                raise reading_error(self.name, error) from None


def find(names: Sequence[str]) -> list[LogFile]:
    """Find the logs that are named.

    Args:
        names: paths, patterns, or `-`.

    Raises:
        LogFileError: where a name does not exist or is a directory, or a pattern matches nothing.
    """
    return [_inspect(path) for name in names for path in _expand(name)]


def read_marks(log: Path | None) -> Marks | None:
    """Read the marks beside a log; None if there are none, or none that can be read.

    Args:
        log: the log; None for standard input and pipes.
    """
    if log is None or not marks_of(log).is_file():
        return None
    try:
        return parse_marks(marks_of(log).read_bytes())
    except OSError:
        return None


def reading_errors() -> tuple[type[Exception], ...]:
    """Give what reading an open log may raise inside its context."""
    zstd = sys.modules.get("compression.zstd") or sys.modules.get("backports.zstd")
    return OSError, EOFError, zlib.error, lzma.LZMAError, *(() if zstd is None else (zstd.ZstdError,))


def reading_error(name: str, error: Exception) -> LogFileError:
    """Describe why a log cannot be read.

    Args:
        name: what to call it.
        error: what was raised while it was opened or read: an OSError, or a decompressor's.
    """
    if isinstance(error, OSError) and error.strerror:
        return LogFileError(
            f"cannot read {name}: {error.strerror}; name the statistics log, and run this as a user who may read it"
        )
    if "memory" in str(error).lower():
        return LogFileError(
            f"cannot read {name}: decompression takes more than {MAX_DICTIONARY >> 20} MiB of memory; if you trust the"
            " file, decompress it first with xz -dk or zstd -dk --long=31"
        )
    if isinstance(error, AttributeError | ValueError) and name == "standard input":
        return LogFileError("standard input is closed; name a log")
    return LogFileError(
        f"cannot read {name}: compressed data is corrupt or truncated; recover it with zcat, xzcat or zstdcat"
    )


def _expand(name: str) -> Iterable[str]:
    """Give the names that a pattern matches; any other name is given as it is."""
    if name == STANDARD_INPUT or not _PATTERN.intersection(name) or os.path.lexists(name):
        return [name]
    matches = sorted(glob.glob(name))  # noqa: PTH207 - a pattern may be absolute, which Path.glob does not take
    if not matches:
        raise LogFileError(f"no file matches {_printable(name)}; name the statistics log")
    return matches


def _inspect(name: str) -> LogFile:
    if name == STANDARD_INPUT:
        return LogFile("standard input", None, None, compressed=False, identity=None)
    path, printable = Path(name), _printable(name)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        identity = status.st_dev, status.st_ino
        if not stat.S_ISREG(status.st_mode):
            return LogFile(printable, path, None, compressed=False, identity=identity)
        with path.open("rb") as file:
            is_compressed = file.read(_MAGIC_LENGTH).startswith((_GZIP, _XZ, _ZSTANDARD))
    except OSError as error:
        raise reading_error(printable, error) from None
    return LogFile(printable, path, status.st_size, is_compressed, identity)


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _decompress(raw: io.BufferedReader, magic: bytes) -> BinaryIO:
    """Give a file's decompressed content."""
    if magic.startswith(_GZIP):
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
    if magic.startswith(_XZ):
        return cast("BinaryIO", io.BufferedReader(XzReader(raw), _CHUNK))
    if magic.startswith(_ZSTANDARD):
        try:
            if sys.version_info >= (3, 14):
                from compression import zstd  # noqa: PLC0415 - a Python may be built without it
            else:
                from backports import zstd  # noqa: PLC0415 - an extra
        except ImportError:
            raise LogFileError("Zstandard needs a library: pip install 'obfstats[publish]', or use zstd -dc") from None
        return cast("BinaryIO", zstd.ZstdFile(raw))
    return raw


class XzReader(io.RawIOBase):
    """Decompresses an xz file to its end: concatenated streams with padding between them (the .xz file format 1.1).

    `lzma.LZMAFile` ignores what follows the first stream if that is not another stream, so half a log would be
    published as if it were whole. Here that is an error. Reading raises EOFError where the file is truncated and
    LZMAError where it is corrupt.
    """

    def __init__(self, raw: BinaryIO) -> None:
        """Start at the beginning of a file."""
        super().__init__()
        self._raw = raw
        self._stream: lzma.LZMADecompressor | None = _xz_decompressor()
        self._unread = b""

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def fileno(self) -> int:
        """Give the compressed file's descriptor: its offset tells the progress."""
        return self._raw.fileno()

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill a part of a buffer; 0 at the end."""
        while self._stream is not None:
            if self._stream.eof:
                self._stream = self._next_stream(self._stream.unused_data)
                continue
            data = b""
            if self._stream.needs_input:
                data, self._unread = self._unread or self._raw.read(_CHUNK), b""
                if not data:
                    raise EOFError("the file ends within a stream")
            content = self._stream.decompress(data, len(buffer))
            if content:
                buffer[: len(content)] = content
                return len(content)
        return 0

    def _next_stream(self, data: bytes) -> lzma.LZMADecompressor | None:
        """Skip padding after a stream; give the next stream's decompressor, if there is one."""
        data, padding = data or self._raw.read(_CHUNK), 0
        while data:
            self._unread = data.lstrip(b"\0")
            padding += len(data) - len(self._unread)
            if self._unread:
                break
            data = self._raw.read(_CHUNK)
        if padding % _XZ_PADDING_UNIT:
            raise lzma.LZMAError("the padding between two streams is corrupt")
        return _xz_decompressor() if data else None


def _xz_decompressor() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DICTIONARY)
