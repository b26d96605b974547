"""A child process that is read line by line, waited for within bounds, and ended by its own process id."""

from __future__ import annotations

import os
import re
import select
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, ClassVar, Self

from peers.clocks import remove_shared_clock

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from types import TracebackType

START_SECONDS = 30.0
"""How long a program may take to print that it is ready, on a busy machine."""

STOP_SECONDS = 5.0
"""How long a program may take to end after SIGTERM before it is killed."""


def is_readable(file: int | socket.socket, seconds: float = 0.0) -> bool:
    """Tell whether there is something to read, or an end of file. Unlike select(2) it takes any descriptor.

    Args:
        file: what to look at.
        seconds: how long to wait for it.
    """
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class ChildError(AssertionError):
    """A child did not do what it was started for; the text holds everything that it printed."""


class Child:
    """A running program and everything that it has printed. As a context manager it ends with its block.

    Attributes:
        started: every child of this process, so that everything they printed can be searched in the end.
        pid: its process id.
        name: the program and its process id, for messages.
    """

    started: ClassVar[list[Child]] = []

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        cpu: int | None = None,
    ) -> None:
        """Start it, with a pipe for its standard input that stays open as long as this process lives.

        Args:
            argv: the program and its arguments.
            environment: variables to set besides those of this process.
            folder: its current folder, if not this process's.
            cpu: the one core it may run on, or None for all of this process's.
        """
        self._argv = argv
        self._said = threading.Condition()
        self._lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._open = {"stdout", "stderr"}
        # Set here and inherited: a program that counts its cores as it starts must find one.
        allowed = os.sched_getaffinity(0)
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **(environment or {})},
                cwd=folder,
                text=True,
                errors="backslashreplace",
            )
        finally:
            os.sched_setaffinity(0, allowed)
        self.pid = self._process.pid
        self.name = f"{Path(argv[0]).name}[{self.pid}]"
        self.started.append(self)
        self._readers = [
            threading.Thread(target=self._read, args=(name, getattr(self._process, name)), daemon=True)
            for name in self._lines
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if kind is None and "internal error" in self.stdout + self.stderr:
            raise ChildError(f"it met an internal error:\n{self.stdout}{self.stderr}")

    @property
    def stdout(self) -> str:
        """All that it has written to its standard output."""
        return self._text("stdout")

    @property
    def stderr(self) -> str:
        """All that it has written to its standard error."""
        return self._text("stderr")

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet; after its end another process may get its number."""
        return self._process.poll() is None

    def wait_for_line(self, stream: str, pattern: str, seconds: float = START_SECONDS) -> re.Match[str]:
        """Wait for a line that matches, and give the match; earlier lines count.

        Args:
            stream: `stdout` or `stderr`.
            pattern: a regular expression, searched in each line.
            seconds: how long at most.

        Raises:
            ChildError: if it prints no such line in time, or ends.
        """
        wanted = re.compile(pattern)
        deadline = time.monotonic() + seconds
        seen = 0
        with self._said:
            while True:
                lines = self._lines[stream]
                while seen < len(lines):
                    match = wanted.search(lines[seen])
                    if match:
                        return match
                    seen += 1
                left = deadline - time.monotonic()
                if left <= 0 or stream not in self._open:
                    break
                self._said.wait(left)
        raise ChildError(self._account(f"printed no line like {pattern!r}"))

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until it has ended and its output is read; give its exit status.

        Raises:
            ChildError: if it did not end in time.
        """
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ChildError(self._account(f"did not end within {seconds} s")) from None
        # A grandchild may hold the pipes open for longer.
        for reader in self._readers:
            reader.join(STOP_SECONDS)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal; does nothing when it has ended."""
        self._process.send_signal(number)

    def close_stdin(self) -> None:
        """Close its standard input."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> int:
        """End it, by SIGTERM and if necessary by SIGKILL; give its exit status. May be called again."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self.close_stdin()
        remove_shared_clock(self.pid)
        return self.wait()

    def _read(self, name: str, pipe: IO[str]) -> None:
        """Store every line of one pipe until it ends."""
        with pipe:
            for line in pipe:
                with self._said:
                    self._lines[name].append(line.rstrip("\n"))
                    self._said.notify_all()
        with self._said:
            self._open.discard(name)
            self._said.notify_all()

    def _text(self, name: str) -> str:
        with self._said:
            return "".join(f"{line}\n" for line in self._lines[name])

    def _account(self, what: str) -> str:
        return f"{' '.join(self._argv)} {what}; its status: {self._process.poll()}\n{self.stdout}{self.stderr}"
