"""The logs that a command line names: files, patterns, compressed or not, or standard input.

- `-` is standard input. A name with `*`, `?` or `[` that is no file is a pattern, for those whose shell left it alone.
- What is compressed is told by its first bytes, not by its name: gzip, xz, Zstandard. Streams of it are never longer in
  memory than a chunk, whatever they unpack to.
- A file that can be opened again can be read twice; standard input, a pipe, cannot.
- Every error is one sentence for the operator, with the name made printable; the content of a log is never in one.
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
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from obfstats.publish.xz import unpack_xz

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

STANDARD_INPUT = "-"

_PATTERN = frozenset("*?[")
_GZIP, _XZ, _ZSTANDARD = b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_LONGEST_MAGIC = 6


class LogFileError(Exception):
    """A log cannot be read. Its text is one sentence for the operator: what is wrong and what to do."""


class Readable(Protocol):
    """What a log is read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Give up to so many bytes; none at the end."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """One log, not open yet.

    Attributes:
        name: what to call it in a message; printable.
        path: where it is; None for standard input.
        size: bytes of the file, compressed or not; None where nobody knows. What is behind them is not read.
        compressed: whether it is.
        identity: tells the file from every other; None for standard input.
        begin: where reading begins; a whole log's 0, if it is not a plain one.
    """

    name: str
    path: Path | None
    size: int | None
    compressed: bool
    identity: tuple[int, int] | None
    begin: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether any part of it can be read at any time: a regular file that is not compressed."""
        return self.path is not None and self.size is not None and not self.compressed

    @property
    def is_read_once(self) -> bool:
        """Whether what has been read is gone."""
        return self.path is None or self.size is None

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open it, at its beginning, unpacked, until the context ends.

        Raises:
            LogFileError: if it cannot be opened, or is no proper Zstandard. What else goes wrong while reading is
                `reading_error`'s affair.
        """
        with ExitStack() as opened:
            try:
                raw = opened.enter_context(sys.stdin.buffer if self.path is None else self.path.open("rb"))
                buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw))
                magic = buffered.peek(_LONGEST_MAGIC)
            except (OSError, AttributeError, ValueError) as error:
                raise reading_error(self.name, error) from None
            try:
                yield opened.enter_context(_unpack(buffered, magic))
            except Exception as error:
                if _is_zstandard_error(error):
                    raise reading_error(self.name, error) from None
                raise


def find(names: Sequence[str]) -> list[LogFile]:
    """Find the logs that are named.

    Args:
        names: paths, patterns, or `-`.

    Raises:
        LogFileError: where there is no such file, where one is no file, or where a pattern fits nothing.
    """
    return [_look(path) for name in names for path in _expand(name)]


def reading_error(name: str, error: Exception) -> LogFileError:
    """Say that a log cannot be read on.

    Args:
        name: what to call it.
        error: what was raised while it was opened or read: an OSError, or a decompressor's.
    """
    if isinstance(error, OSError) and error.strerror:
        return LogFileError(
            f"cannot read {name}: {error.strerror}; name the statistics log, and run this as a user who may read it"
        )
    if isinstance(error, AttributeError | ValueError) and name == "standard input":
        return LogFileError("standard input is closed; name a log")
    return LogFileError(f"cannot read {name}: what it is compressed with is damaged or cut off; unpack what can be had")


READING_ERRORS: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)
"""What reading an open log may raise; `reading_error` makes a sentence of it."""


def _expand(name: str) -> Iterable[str]:
    """Give the names that a pattern stands for; a name stands for itself."""
    if name == STANDARD_INPUT or not _PATTERN.intersection(name) or os.path.lexists(name):
        return [name]
    found = sorted(glob.glob(name))  # noqa: PTH207 - a pattern may be absolute, which Path.glob does not take
    if not found:
        raise LogFileError(f"there is no file like {_printable(name)}; name the statistics log")
    return found


def _look(name: str) -> LogFile:
    """See what a name leads to."""
    if name == STANDARD_INPUT:
        return LogFile("standard input", None, None, compressed=False, identity=None)
    path, printable = Path(name), _printable(name)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise reading_error(printable, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
        identity = status.st_dev, status.st_ino
        if not stat.S_ISREG(status.st_mode):
            return LogFile(printable, path, None, compressed=False, identity=identity)
        with path.open("rb") as file:
            magic = file.read(_LONGEST_MAGIC)
    except OSError as error:
        raise reading_error(printable, error) from None
    return LogFile(printable, path, status.st_size, _is_compressed(magic), identity)


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _is_compressed(magic: bytes) -> bool:
    return magic.startswith((_GZIP, _XZ, _ZSTANDARD))


def _unpack(raw: io.BufferedReader, magic: bytes) -> BinaryIO:
    """Put a decompressor before the file, if it needs one."""
    if magic.startswith(_GZIP):
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
    if magic.startswith(_XZ):
        return unpack_xz(cast("BinaryIO", raw))
    if magic.startswith(_ZSTANDARD):
        return _unpack_zstandard(raw)
    return raw


def _unpack_zstandard(raw: BinaryIO) -> BinaryIO:
    try:
        from backports import zstd  # noqa: PLC0415 - a bridge without the extra reads everything else
    except ImportError:
        raise LogFileError("Zstandard needs a library: pip install 'obfstats[publish]', or use zstd -dc") from None
    return cast("BinaryIO", zstd.ZstdFile(raw))


def _is_zstandard_error(error: Exception) -> bool:
    """Tell whether it is that library's own; who has not loaded it cannot have one."""
    library = sys.modules.get("backports.zstd")
    return library is not None and isinstance(error, library.ZstdError)
