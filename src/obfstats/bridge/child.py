"""The transport's process, which `obfstats wrap` runs, and the standard output that both share.

The process is started as tor would start it:

- It has tor's standard input and standard error. Its standard output goes through a StdoutMux.
- The kernel kills it when the wrap is gone, whatever ended the wrap: the ports it listens on must be free for the one
  that tor starts next.
- Signals are at their defaults in it, and no descriptor of the wrap is open in it.

On standard output tor gets the transport's lines unchanged, and the wrap's own lines between them, each line whole:

- A line is passed on when its end has been read. What a transport leaves unfinished when it ends, tor would not have
  read either.
- The wrap's own lines wait for the transport's first line, which is about the specification's version; if there is none
  they are dropped.
- If tor does not read, the transport's lines wait, and so does the transport; the wrap's own lines are dropped. If tor
  is gone, all are.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from functools import partial
from typing import TYPE_CHECKING

from obfstats.bridge import process
from obfstats.bridge.process import STDOUT, encode_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

END_SECONDS = 5.0
"""From SIGTERM until a process that has not ended is killed."""

MAX_LINE = 1 << 22
"""Bytes of a line of the transport's; a longer one is dropped up to its end."""

FLUSH_SECONDS = 0.5
"""How long tor may take to read the last lines when the transport has ended."""

_PR_SET_PDEATHSIG = 1
_PR_GET_PDEATHSIG = 2
_CHUNK = 1 << 16
_MAX_PENDING = 1 << 16


class TransportProcess:
    """The process of a transport."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], stdout: StdoutMux) -> None:
        """Start it.

        Args:
            command: the program and its arguments.
            environment: all its variables.
            stdout: takes its standard output.

        Raises:
            OSError: if it cannot be started.
        """
        # The program could not report what it is refused, so this one asks first.
        answer = ctypes.c_int()
        ask = partial(process.prctl, _PR_GET_PDEATHSIG, ctypes.addressof(answer))
        process.attempt(ask, None, "if this program is killed, the transport goes on without it")
        # Where it is ignored, which is inherited, the kernel drops a program's exit status.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._process = subprocess.Popen(  # noqa: S603 - the operator's own words
            command,
            env=environment,
            stdin=_standard_stream(0),
            stdout=subprocess.PIPE,
            stderr=_standard_stream(2),
            bufsize=0,
            preexec_fn=partial(_die_with_parent, os.getpid()),  # noqa: PLW1509 - there are no threads yet
        )
        if self._process.stdout is None:
            raise AssertionError("the pipe that was asked for")
        self._source = self._process.stdout.fileno()
        os.set_blocking(self._source, False)
        self._stdout = stdout
        self._has_ended: asyncio.Event | None = None

    @property
    def status(self) -> int:
        """Its exit status, or 128 and the number of the signal that ended it, as in shells."""
        status = self._process.wait()
        return 128 - status if status < 0 else status

    def watch(self, on_ended: Callable[[str], None]) -> None:
        """Pass its lines on and watch for its end, on the running loop."""
        self._has_ended = asyncio.Event()
        self._stdout.start(self._source)
        # Not by a descriptor of the process: a kernel may lack pidfd_open(2). uvloop's own handlers refuse SIGCHLD.
        check = partial(asyncio.get_running_loop().call_soon_threadsafe, self._check_end, on_ended)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: check())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        self._check_end(on_ended)

    def send_signal(self, number: signal.Signals) -> None:
        """Pass a signal on."""
        self._process.send_signal(number)

    async def end(self) -> None:
        """End it by SIGTERM, and by SIGKILL if it does not end in time."""
        if self._has_ended is None:
            raise RuntimeError("the process is not watched")
        self.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._has_ended.wait(), END_SECONDS)
        self._process.kill()
        await self._has_ended.wait()
        await self._stdout.end()

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        self._process.kill()
        self._process.wait()

    def _check_end(self, on_ended: Callable[[str], None]) -> None:
        if self._has_ended is not None and self._process.poll() is not None:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._has_ended.set()
            on_ended("The transport's program has ended.")


def _standard_stream(descriptor: int) -> int | None:
    """Return what the process inherits: the wrap's own stream (None), or /dev/null if a library has that number.

    libffi opens a file when ctypes is loaded and keeps it. A stream that was closed then has its number taken.
    """
    return None if os.get_inheritable(descriptor) else subprocess.DEVNULL


def _die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; runs in the child, before the program.

    The wrap blocks signals while it starts; the program must not inherit that.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with contextlib.suppress(OSError):
        process.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class StdoutMux:
    """Merges the lines of a transport and of its wrap into standard output."""

    def __init__(self) -> None:
        self._source = -1
        self._unfinished = bytearray()
        self._is_too_long = False
        self._pending = bytearray()
        # The wrap's own lines, until the transport's first line has been passed on.
        self._held_back: bytearray | None = bytearray()
        self._is_reading = self._is_writing = self._source_has_ended = False
        self._drained = asyncio.Event()
        self._drained.set()

    def start(self, source: int) -> None:
        """Start to read the transport's lines, on the running loop.

        Args:
            source: the other end of its standard output; not blocking.
        """
        self._source = source
        self._set_reading(is_reading=True)

    def write_line(self, line: str) -> None:
        """Write a line of the wrap's own."""
        pending = self._pending if self._held_back is None else self._held_back
        if self._source_has_ended and pending:
            # Tor may have a part of the line before.
            return
        if len(pending) < _MAX_PENDING:
            pending += encode_line(line)
        if self._held_back is None:
            self._flush()

    async def end(self) -> None:
        """Pass on the transport's last lines, if tor reads them soon, and stop."""
        self._source_has_ended = True
        self._set_reading(is_reading=False)
        with contextlib.suppress(TimeoutError, BlockingIOError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._drained.wait()
                while self._read():
                    # However much there is, the time-out must be able to interrupt it.
                    await asyncio.sleep(0)
                    await self._drained.wait()
        if self._is_writing:
            self._is_writing = False
            asyncio.get_running_loop().remove_writer(STDOUT)

    def _read_ready(self) -> None:
        try:
            if not self._read():
                self._source_has_ended = True
                self._set_reading(is_reading=False)
        except BlockingIOError:
            return

    def _read(self) -> bool:
        """Read once and pass whole lines on; return whether there may be more."""
        data = os.read(self._source, _CHUNK)
        end = data.rfind(b"\n") + 1
        if end:
            whole = bytes(self._unfinished) + data[:end]
            if self._is_too_long:
                whole = whole[whole.index(b"\n") + 1 :]
            self._is_too_long = False
            self._unfinished.clear()
            self._pass_on(whole)
        self._unfinished += data[end:]
        if len(self._unfinished) > MAX_LINE:
            self._is_too_long = True
            self._unfinished.clear()
        return bool(data)

    def _pass_on(self, whole: bytes) -> None:
        """Pass whole lines of the transport's on; after the first of all, the lines that were held back."""
        if not whole:
            return
        if self._held_back is not None:
            first = whole.index(b"\n") + 1
            self._pending += whole[:first] + self._held_back
            self._held_back = None
            whole = whole[first:]
        self._pending += whole
        self._flush()

    def _flush(self) -> None:
        """Write what is pending; while tor does not read it, the transport is not read."""
        try:
            while self._pending:
                del self._pending[: os.write(STDOUT, self._pending)]
        except BlockingIOError:
            pass
        except OSError:
            self._pending.clear()
        self._watch()

    def _watch(self) -> None:
        """Watch standard output while something is pending, else the transport's lines."""
        is_writing = bool(self._pending)
        if is_writing:
            self._drained.clear()
        else:
            self._drained.set()
        if is_writing != self._is_writing:
            self._is_writing = is_writing
            loop = asyncio.get_running_loop()
            if is_writing:
                loop.add_writer(STDOUT, self._flush)
            else:
                loop.remove_writer(STDOUT)
        self._set_reading(is_reading=not is_writing and not self._source_has_ended)

    def _set_reading(self, *, is_reading: bool) -> None:
        if is_reading != self._is_reading:
            self._is_reading = is_reading
            loop = asyncio.get_running_loop()
            if is_reading:
                loop.add_reader(self._source, self._read_ready)
            else:
                loop.remove_reader(self._source)
