"""The real program `obfsproxy` as a server, under a clock that the demonstration moves.

The clock is moved from outside, by libfaketime: the program is the installed one, unchanged, and all its clocks go
along. Where libfaketime is missing, `launcher.py` starts the same program with a clock of the demonstration's own.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from demo.errors import DemoError
from peers.clocks import find_faketime, remove_shared_clock, under

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from peers.clocks import ProgramClock

START_SECONDS, STOP_SECONDS = 30.0, 5.0
"""How long the program may take to begin and to end."""

PROGRAM = Path(sys.executable).parent / "obfsproxy"

_LAUNCHER = Path(__file__).with_name("launcher.py").resolve()
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:([0-9]+) for ")
_LOCKED = re.compile(r"^VmLck:\s*([0-9]+) kB$", re.MULTILINE)
_POLL = 0.01


class Bridge:
    """A running `obfsproxy TRANSPORT ... server`. As a context manager it ends with its block.

    Attributes:
        transport: the name of what it speaks.
        log: its statistics log.
        said: the file with everything that it writes to its standard output and standard error.
        command: its command line as an operator would type it, the temporary folder being the current one.
        address: where it listens, once `wait` has returned.
        started: the earliest and the latest second, by its own clock, at which it can have started.
    """

    def __init__(
        self, folder: Path, transport: str, clock: ProgramClock, destination: str, options: Sequence[str]
    ) -> None:
        """Start it."""
        self.transport = transport
        self.log = folder / f"{transport}.log"
        self.said = folder / f"{transport}.said"
        self.address = ("", 0)
        arguments = ["--stats-log", self.log.name, *options, transport, "--dest", destination, "server", "127.0.0.1:0"]
        self.command = f"obfsproxy {' '.join(arguments)}"
        self._clock = clock
        self.started = (int(clock.now()), 0)
        self._said_before = self.said.stat().st_size if self.said.exists() else 0
        with self.said.open("ab") as said:
            try:
                self._process = subprocess.Popen(  # noqa: S603
                    [*_interpreter(clock), *arguments],
                    cwd=folder,
                    env={**os.environ, **(under(clock) if find_faketime() else {})},
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                )
            except OSError as error:
                raise DemoError(f"cannot start {PROGRAM}: {error.strerror}; run script/setup") from None
        self.pid = self._process.pid

    def wait(self) -> Self:
        """Wait until it listens.

        Raises:
            DemoError: if it does not.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            words = self.words()
            listening = _LISTENING.search("\n".join(words))
            if listening:
                break
            if self._process.poll() is not None or time.monotonic() > deadline:
                last = words[-1] if words else "none"
                raise DemoError(f"obfsproxy does not listen for {self.transport}; its last words: {last}")
            time.sleep(_POLL)
        self.address = ("127.0.0.1", int(listening[1]))
        self.started = (self.started[0], int(self._clock.now()))
        return self

    def words(self) -> list[str]:
        """Give the lines that it has said so far, those of an earlier run on the same log left out."""
        return self.said.read_bytes()[self._said_before :].decode(errors="backslashreplace").splitlines()

    def locked_memory(self) -> int:
        """Give the KiB of its memory that the kernel keeps out of swap."""
        found = _LOCKED.search(Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) if found else 0

    def stop(self) -> tuple[float, int]:
        """Send SIGTERM; gives the seconds until the process was gone, and its exit status.

        Raises:
            DemoError: if it is not gone in time; it is killed then.
        """
        # The kernel says when it is gone; to look again and again would measure our own patience.
        gone = os.pidfd_open(self.pid)
        try:
            sent = time.perf_counter()
            self._process.terminate()
            readable, _, _ = select.select([gone], [], [], STOP_SECONDS)
            taken = time.perf_counter() - sent
        finally:
            os.close(gone)
        if not readable:
            self._kill()
            raise DemoError(f"obfsproxy did not end within {STOP_SECONDS:.0f} s of SIGTERM and was killed")
        return taken, self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._kill()
        remove_shared_clock(self.pid)

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _interpreter(clock: ProgramClock) -> list[str]:
    """Give the beginning of the command line."""
    return [str(PROGRAM)] if find_faketime() else [sys.executable, "-P", str(_LAUNCHER), str(clock.file)]
