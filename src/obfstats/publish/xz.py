"""Reading xz files to their end (the .xz file format 1.1: streams one behind the other, padding between them).

The standard library's reader takes whatever follows the first stream and is no stream for nothing: half a log would be
published as if it were whole. Here it is an error.
"""

from __future__ import annotations

import io
from lzma import FORMAT_XZ, LZMADecompressor, LZMAError
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing import BinaryIO

_CHUNK = 1 << 16
_PADDING = b"\x00"
_PADDING_UNIT = 4


def unpack_xz(raw: BinaryIO) -> BinaryIO:
    """Put a decompressor before a file.

    Args:
        raw: the file, at its beginning.

    Returns:
        A stream. Reading it raises EOFError where the file is cut off and LZMAError where it is damaged.
    """
    return cast("BinaryIO", io.BufferedReader(_Unpacked(raw), _CHUNK))


class _Unpacked(io.RawIOBase):
    """What is in an xz file."""

    def __init__(self, raw: BinaryIO) -> None:
        super().__init__()
        self._raw = raw
        self._stream: LZMADecompressor | None = LZMADecompressor(FORMAT_XZ)
        self._behind = b""

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def fileno(self) -> int:
        """Give the file's number: how far it has been read tells the progress."""
        return self._raw.fileno()

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill a part of a buffer; 0 at the end."""
        while self._stream is not None:
            given = b""
            if self._stream.eof:
                self._next_stream()
                continue
            if self._stream.needs_input:
                given = self._behind or self._raw.read(_CHUNK)
                self._behind = b""
                if not given:
                    raise EOFError("the file ends within a stream")
            content = self._stream.decompress(given, len(buffer))
            if content:
                buffer[: len(content)] = content
                return len(content)
        return 0

    def _next_stream(self) -> None:
        """Go on to the stream behind the one that has ended, if there is one."""
        rest = self._stream.unused_data if self._stream is not None else b""
        padding = 0
        while True:
            stripped = rest.lstrip(_PADDING)
            padding += len(rest) - len(stripped)
            if stripped or not (rest := self._raw.read(_CHUNK)):
                break
        if padding % _PADDING_UNIT:
            raise LZMAError("the padding between two streams is damaged")
        self._stream = LZMADecompressor(FORMAT_XZ) if stripped else None
        self._behind = stripped
