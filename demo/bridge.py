"""The real program `obfsproxy` as a server, under a clock that the demonstration moves.

libfaketime moves the clock from outside: the program is the installed one, unchanged. On a machine without libfaketime
`launcher.py` starts the same program with a clock of the demonstration's own.
"""

from __future__ import annotations

import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from demo import DemoError
from peers.child import STOP_SECONDS, Child, ChildError
from peers.clocks import find_faketime, under
from peers.processes import Held

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from peers.clocks import ProgramClock

PROGRAM = Path(sys.executable).parent / "obfsproxy"

_LAUNCHER = Path(__file__).with_name("launcher.py").resolve()
_LISTENING = r"listening on 127\.0\.0\.1:([0-9]+) for "
_LOCKED = re.compile(r"^VmLck:\s*([0-9]+) kB$", re.MULTILINE)


class Bridge:
    """A running `obfsproxy TRANSPORT ... server`. As a context manager it ends with its block.

    Attributes:
        transport: the name of what it speaks.
        log: its statistics log.
        command: its command line as an operator would type it, the temporary folder being the current one.
        pid: its process id.
        address: where it listens, once `wait` has returned.
        started: the earliest and the latest second, by its own clock, at which it can have started.
    """

    def __init__(
        self, folder: Path, transport: str, clock: ProgramClock, destination: str, options: Sequence[str]
    ) -> None:
        """Start it.

        Args:
            folder: its current folder; its log is there, and at its end a file with everything it printed.
            transport: what it speaks.
            clock: the clock that it runs under.
            destination: where it passes connections on to, as HOST:PORT.
            options: further options.
        """
        self.transport = transport
        self.log = folder / f"{transport}.log"
        self.address = ("", 0)
        arguments = ["--stats-log", self.log.name, *options, transport, "--dest", destination, "server", "127.0.0.1:0"]
        self.command = f"obfsproxy {' '.join(arguments)}"
        self._clock = clock
        self.started = (int(clock.now()), 0)
        if find_faketime():
            program, environment = [str(PROGRAM)], under(clock)
        else:
            program, environment = [sys.executable, "-P", str(_LAUNCHER), str(clock.file)], {}
        try:
            self._child = Child([*program, *arguments], environment=environment, folder=folder)
        except OSError as error:
            raise DemoError(f"cannot start {PROGRAM}: {error.strerror}; run script/setup") from None
        self.pid = self._child.pid
        self._output = folder / f"{transport}.output"

    def wait(self) -> Self:
        """Wait until it listens.

        Raises:
            DemoError: if it does not.
        """
        try:
            port = self._child.wait_for_line("stderr", _LISTENING)[1]
        except ChildError:
            last = self.output()[-1:] or ["none"]
            raise DemoError(f"obfsproxy does not listen for {self.transport}; its last line: {last[0]}") from None
        self.address = ("127.0.0.1", int(port))
        self.started = (self.started[0], int(self._clock.now()))
        return self

    def output(self) -> list[str]:
        """Give the lines that it has printed so far."""
        return (self._child.stdout + self._child.stderr).splitlines()

    def locked_memory(self) -> int:
        """Give the KiB of its memory that the kernel keeps out of swap."""
        found = _LOCKED.search(Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) if found else 0

    def stop(self) -> tuple[float, int]:
        """Send SIGTERM; give the seconds until the process was gone, and its exit status.

        Raises:
            DemoError: if it does not end in time; it is killed then.
        """
        with Held([self.pid]) as held:
            sent = time.perf_counter()
            self._child.send_signal(signal.SIGTERM)
            running = held.left(STOP_SECONDS)
            seconds = time.perf_counter() - sent
        if running:
            raise DemoError(f"obfsproxy did not end within {STOP_SECONDS:.0f} s of SIGTERM and was killed")
        return seconds, self._child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stop()
        with self._output.open("a") as output:
            output.writelines(f"{line}\n" for line in self.output())
