"""What tor hears: the transport's lines as they are, and the wrap's own between them, each of them whole.

- Tor reads a line at a time, and so does this: a line is passed on once its end has come. What the transport leaves
  unfinished when it ends, tor would not have read either.
- Nothing of the wrap's is said before the transport's first line, which is about the specification's version, nor
  where there is none.
- Where tor does not read, the transport's lines wait, and the transport after them; the wrap's own are dropped. Where
  tor is gone, all are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

from obfstats.bridge.answers import STDOUT

LONGEST_LINE = 1 << 22
"""Bytes of a line; one that is longer is nobody's, and is dropped up to its end."""

LAST_WORDS = 0.5
"""Seconds that tor has for what it has not read when the transport ends."""

_CHUNK = 1 << 16
_MOST_WAITING = 1 << 16


class Speech:
    """Standard output, which a transport and its wrap share."""

    def __init__(self) -> None:
        self._source = -1
        self._begun = bytearray()
        self._is_too_long = False
        self._waiting = bytearray()
        self._own: bytearray | None = bytearray()
        self._reads = self._writes = self._is_over = False
        self._room = asyncio.Event()
        self._room.set()

    def begin(self, source: int) -> None:
        """Read the transport's lines, on the running loop.

        Args:
            source: the other end of its standard output; not blocking.
        """
        self._source = source
        self._listen(reads=True)

    def say(self, line: str) -> None:
        """Say a line of the wrap's own."""
        waiting = self._waiting if self._own is None else self._own
        if self._is_over and waiting:
            # Of the line before, tor may have a part.
            return
        if len(waiting) < _MOST_WAITING:
            waiting += f"{line}\n".encode("ascii", "backslashreplace")
        if self._own is None:
            self._flush()

    async def end(self) -> None:
        """Pass on what the transport has left to say, as far as tor takes it soon, and stop."""
        self._is_over = True
        self._listen(reads=False)
        with contextlib.suppress(TimeoutError, BlockingIOError):
            async with asyncio.timeout(LAST_WORDS):
                await self._room.wait()
                while self._read():
                    # However much there is, the time-out has its turn.
                    await asyncio.sleep(0)
                    await self._room.wait()
        if self._writes:
            self._writes = False
            asyncio.get_running_loop().remove_writer(STDOUT)

    def _ready(self) -> None:
        try:
            if not self._read():
                self._is_over = True
                self._listen(reads=False)
        except BlockingIOError:
            return

    def _read(self) -> bool:
        """Read what there is; tell whether there may be more."""
        data = os.read(self._source, _CHUNK)
        end = data.rfind(b"\n") + 1
        if end:
            whole = bytes(self._begun) + data[:end]
            if self._is_too_long:
                whole = whole[whole.index(b"\n") + 1 :]
            self._is_too_long = False
            self._begun.clear()
            self._pass_on(whole)
        self._begun += data[end:]
        if len(self._begun) > LONGEST_LINE:
            self._is_too_long = True
            self._begun.clear()
        return bool(data)

    def _pass_on(self, whole: bytes) -> None:
        """Pass whole lines on."""
        if not whole:
            return
        if self._own is not None:
            first = whole.index(b"\n") + 1
            self._waiting += whole[:first]
            self._tell_own()
            whole = whole[first:]
        self._waiting += whole
        self._flush()

    def _tell_own(self) -> None:
        """Say what the wrap has held back."""
        if self._own is not None:
            self._waiting += self._own
            self._own = None

    def _flush(self) -> None:
        """Write what waits; what tor does not take now waits on, and the transport with it."""
        try:
            while self._waiting:
                del self._waiting[: os.write(STDOUT, self._waiting)]
        except BlockingIOError:
            pass
        except OSError:
            self._waiting.clear()
        self._watch()

    def _watch(self) -> None:
        """Watch either for room or for further lines."""
        writes = bool(self._waiting)
        if writes:
            self._room.clear()
        else:
            self._room.set()
        if writes != self._writes:
            self._writes = writes
            loop = asyncio.get_running_loop()
            if writes:
                loop.add_writer(STDOUT, self._flush)
            else:
                loop.remove_writer(STDOUT)
        self._listen(reads=not writes and not self._is_over)

    def _listen(self, *, reads: bool) -> None:
        if reads != self._reads:
            self._reads = reads
            loop = asyncio.get_running_loop()
            if reads:
                loop.add_reader(self._source, self._ready)
            else:
                loop.remove_reader(self._source)
