"""`obfstats wrap OPTIONS -- PROGRAM`, as tor runs it, around the stand-in for a transport's program.

    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, *managed.counting(log)) as bridge:
        bridge.methods["obfs4"]             where the program listens for clients
        bridge.program.expect(ServerConduct...)   how the program treats its next clients
        bridge.entrance.enter("192.0.2.7:5678")     the test itself plays the program
        bridge.folders()                    the folders that the wrap has made for itself

For another program call `managed.start` or `managed.server` with the command line that `argv` gives. `Reader` is a tor
that reads its program's output unchanged, and only when a test reads.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from peers import managed, stand_in
from peers.child import START_SECONDS, is_readable
from peers.clocks import remove_shared_clock
from peers.destinations import TIMEOUT
from peers.managed import Managed
from peers.program import OBFSTATS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from peers.extended import ExtendedOrPort
    from peers.stand_in import ServerConduct

STAND_IN = (sys.executable, "-P", str(Path(stand_in.__file__)))
"""The stand-in's command line."""

IGNORING_SIGHUP = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
"""What precedes a command line so that the program ignores SIGHUP."""

NAME = "obfs4"
"""The transport that tor asks for unless a test names others."""


def argv(*options: str, program: Sequence[str]) -> tuple[str, ...]:
    """Give the command line of a wrap.

    Args:
        options: its own.
        program: the command line after the two dashes.
    """
    return OBFSTATS, "wrap", *options, "--", *program


class StandInControl:
    """The stand-in, commanded through its control socket."""

    def __init__(self, control: Path) -> None:
        self._control = control
        self._told = self._ask("describe")

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self._told["pid"])

    @property
    def environment(self) -> dict[str, str]:
        """The variables that it was started with."""
        return dict(self._told["environment"])

    def expect(self, *conducts: ServerConduct) -> None:
        """Set how it treats its next clients."""
        self._ask("expect", *(conduct.name for conduct in conducts))

    def write(self, data: bytes) -> None:
        """Make it write to its standard output, and wait until it has."""
        self._ask("write", data.hex())

    def close_stdout(self) -> None:
        """Make it close its standard output."""
        self._ask("close_stdout")

    def end(self, status: int) -> None:
        """Make it end."""
        self._ask("end", str(status))

    def _ask(self, *words: str) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(str(self._control))
            with connection.makefile("rw") as lines:
                lines.write(f"{' '.join(words)}\n")
                lines.flush()
                return dict(json.loads(lines.readline()))


@dataclass(frozen=True)
class Entrance:
    """The extended ORPort that the wrap offers to its program, for tests that play the program.

    Attributes:
        address: where it listens.
        cookie_file: its cookie.
    """

    address: tuple[str, int]
    cookie_file: Path

    def open(self) -> socket.socket:
        """Connect, and send nothing."""
        return socket.create_connection(self.address, TIMEOUT)

    def ask(self, address: str | None, transport: str | None = NAME) -> socket.socket:
        """Connect and introduce a client, without waiting for the answer.

        Raises:
            OSError: if the wrap hangs up before.
        """
        connection = self.open()
        try:
            stand_in.authenticate(connection, self.cookie_file)
            connection.sendall(stand_in.introduction(address, transport))
        except BaseException:
            connection.close()
            raise
        return connection

    def enter(self, address: str | None, transport: str | None = NAME) -> socket.socket:
        """Connect, introduce a client, and wait until it is accepted.

        Raises:
            OSError: if it is refused.
        """
        with ExitStack() as stack:
            connection = stack.enter_context(self.ask(address, transport))
            if stand_in.verdict(connection) != stand_in.OKAY:
                raise ConnectionError("the client was refused")
            stack.pop_all()
        return connection


@dataclass(frozen=True)
class Wrapped(Managed):
    """A running wrap around the stand-in.

    Attributes:
        state: tor's folder for the transports' state.
        program: the stand-in.
    """

    state: Path
    program: StandInControl

    @cached_property
    def entrance(self) -> Entrance:
        """The wrap's own extended ORPort."""
        told = self.program.environment
        host, _, port = told["TOR_PT_EXTENDED_SERVER_PORT"].rpartition(":")
        return Entrance((host, int(port)), Path(told["TOR_PT_AUTH_COOKIE_FILE"]))

    def folders(self) -> list[Path]:
        """Give the folders that wraps have made for themselves and not removed yet."""
        return folders(self.state)


def folders(state: Path) -> list[Path]:
    """Give the folders below a state folder that wraps have made for themselves and not removed yet."""
    return sorted(state.glob("wrap-*"))


@contextmanager
def server(
    folder: Path,
    orport: tuple[str, int] | ExtendedOrPort,
    *options: str,
    before: Sequence[str] = (),
    under: Sequence[str] = (),
    program: Sequence[str] = (),
    transports: Sequence[str] = (NAME,),
    binds: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Wrapped]:
    """Run it with the stand-in as a bridge's tor does, until the block ends.

    Args:
        folder: for the state folder and the stand-in's control socket.
        orport: tor's ORPort, or a stub of its extended one.
        options: the wrap's.
        before: a command that runs the wrap, such as taskset.
        under: a command that runs the stand-in.
        program: the stand-in's arguments: options, and names of conducts.
        transports: which ones tor asks for.
        binds: where each of them listens, as ADDRESS:PORT; a free port of 127.0.0.1 for those that are not named.
        environment: variables to set besides, or in place of others.

    Raises:
        ChildError: if it does not begin to serve.
    """
    state, control = folder / "pt_state", folder / f"control-{'-'.join(transports)}"
    command = [*before, *argv(*options, program=[*under, *STAND_IN, "--control", str(control), *program])]
    started: list[StandInControl] = []
    try:
        with managed.server(
            state, orport, argv=command, transports=transports, binds=binds, environment=environment
        ) as bridge:
            started.append(StandInControl(control))
            yield Wrapped(bridge.child, bridge.methods, bridge.errors, state, started[0])
    finally:
        control.unlink(missing_ok=True)
        for ended in started:
            remove_shared_clock(ended.pid)


class Reader:
    """A tor that reads its program's output byte for byte, when a test reads. As a context manager it ends the program.

    Attributes:
        process: the program.
    """

    def __init__(self, environment: Mapping[str, str], command: Sequence[str]) -> None:
        """Start a program.

        Args:
            environment: variables to set besides those of this process.
            command: its command line.
        """
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            bufsize=0,
        )
        self._held = b""

    def lines(self, number: int) -> list[bytes]:
        """Read that many lines, each with its end; what follows is kept.

        Raises:
            AssertionError: if that takes too long.
        """
        while self._held.count(b"\n") < number:
            assert self._read(), "the program wrote too little, and its standard output has ended"
        *whole, _ = self._held.split(b"\n", number)
        self._held = self._held[sum(len(line) + 1 for line in whole) :]
        return [line + b"\n" for line in whole]

    def rest(self) -> bytes:
        """Read to the end of its standard output.

        Raises:
            AssertionError: if that takes too long.
        """
        while self._read():
            pass
        held, self._held = self._held, b""
        return held

    def end(self) -> tuple[int, str]:
        """Wait for its end; give its exit status and its standard error."""
        _, said = self.process.communicate(timeout=START_SECONDS)
        return self.process.returncode, said.decode()

    def _read(self) -> bytes:
        assert self.process.stdout is not None
        assert is_readable(self.process.stdout.fileno(), START_SECONDS), "the program writes nothing"
        more = os.read(self.process.stdout.fileno(), 1 << 16)
        self._held += more
        return more

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.communicate(timeout=START_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        remove_shared_clock(self.process.pid)
