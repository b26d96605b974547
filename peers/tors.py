"""Running tors: a bridge, a client, another relay, each with the transports' programs that it started; or one offline.

Rules:

- Every wait is for a line of tor's log, within bounds.
- A tor ends with its block, and so do the programs that it started: what does not end by itself is killed, which is a
  failure.
- An error that leaves the block gets the end of tor's log as a note.
"""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from peers import torrc
from peers.child import START_SECONDS, STOP_SECONDS, Child, ChildError
from peers.clocks import remove_shared_clock, under
from peers.missing import need
from peers.processes import Held, family

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from peers.clocks import ProgramClock

TOR_GEOIP = Path("/usr/share/tor/geoip")
TOR_GEOIP6 = Path("/usr/share/tor/geoip6")
"""Debian's GeoIP files."""

_END_SECONDS = 2.0
_TAIL = 25


class Tor:
    """A running tor and the transports' programs that it started. As a context manager it ends with its block.

    Attributes:
        folder: its data directory; its torrc is there too.
        child: its process.
    """

    def __init__(self, folder: Path, lines: Sequence[str], clock: ProgramClock | None = None) -> None:
        """Start it.

        Args:
            folder: the data directory, which may be that of an earlier tor.
            lines: the torrc.
            clock: the clock of it and its transports; None for the machine's.
        """
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        path = folder / "torrc"
        path.write_text("".join(f"{line}\n" for line in lines))
        environment = {} if clock is None else under(clock)
        self.child = Child(["tor", "--defaults-torrc", "/nonexistent", "-f", str(path)], environment=environment)

    def wait_for(self, pattern: str, seconds: float = START_SECONDS) -> re.Match[str]:
        """Wait until it logs a line that matches.

        Raises:
            ChildError: if it does not.
        """
        try:
            return self.child.wait_for_line("stdout", pattern, seconds)
        except ChildError:
            raise ChildError(f"{self.folder.name} logged no line like {pattern!r}") from None

    def tail(self) -> str:
        """Give the end of its log."""
        lines = (self.child.stdout + self.child.stderr).splitlines()[-_TAIL:]
        return "\n".join([f"the end of the log of {self.folder.name}:", *lines])

    def end(self, number: signal.Signals = signal.SIGTERM) -> list[int]:
        """End it by a signal; give those of its transports' processes that outlived it and were killed.

        Does nothing when it has ended already.
        """
        if not self.child.is_running:
            return []
        processes = list(family(self.child.pid))
        with Held(processes[:1]) as itself, Held(processes[1:]) as transports:
            self.child.send_signal(number)
            # Tor 0.4.9 hangs at its very end now and then (its threads' mutex, in cpuworker_free_all).
            if itself.left(_END_SECONDS):
                self.child.send_signal(signal.SIGKILL)
            left = transports.left(STOP_SECONDS)
        self.child.stop()
        for pid in processes:
            remove_shared_clock(pid)
        return left

    def ask(self, key: str) -> str:
        """Ask its control port for one value; arguments and errors as for `ask_all`."""
        return self.ask_all([key])[0]

    def ask_all(self, keys: Sequence[str]) -> list[str]:
        """Ask its control port for values (control-spec, GETINFO); each is a line of text.

        Raises:
            OSError: if the control port cannot be reached, or takes too long.
            ChildError: if tor does not know a key.
        """
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(START_SECONDS)
            control.connect(str(torrc.control_socket(self.folder)))
            requests = "".join(f"GETINFO {key}\r\n" for key in keys)
            control.sendall(f'AUTHENTICATE ""\r\n{requests}QUIT\r\n'.encode())
            with control.makefile("r", encoding="ascii") as replies:
                answers = [line.rstrip().partition("=")[2] for line in replies if line.startswith("250-")]
        if len(answers) != len(keys):
            raise ChildError(f"{self.folder.name} knows {len(answers)} of {len(keys)} keys")
        return answers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = self.end()
        if error is not None:
            error.add_note(self.tail())
        elif left:
            raise ChildError(f"{len(left)} processes outlived their tor and were killed\n{self.tail()}")


class Bridge(Tor):
    """A running bridge.

    Attributes:
        listeners: where each of its transports listens.
    """

    def __init__(
        self, folder: Path, lines: Sequence[str], listeners: Mapping[str, tuple[str, int]], clock: ProgramClock | None
    ) -> None:
        """Start it.

        Args:
            folder: the data directory.
            lines: the torrc.
            listeners: where each transport listens by it.
            clock: its clock; None for the machine's.
        """
        super().__init__(folder, lines, clock)
        self.listeners = listeners

    def line(self, name: str) -> str:
        """Give the bridge line of a transport, once it listens."""
        self.wait_for(f"Registered server transport '{name}' at ")
        fingerprint = (self.folder / "fingerprint").read_text().split()[1]
        return " ".join([name, join(*self.listeners[name]), fingerprint, *self.arguments(name)])

    def arguments(self, name: str) -> list[str]:
        """Give what follows the fingerprint in a transport's bridge line, once it listens.

        Obfs4proxy writes it down for the operator: `Bridge obfs4 <IP ADDRESS>:<PORT> <FINGERPRINT> cert=...`.
        """
        self.wait_for(f"Registered server transport '{name}' at ")
        path = self.folder / "pt_state" / f"{name}_bridgeline.txt"
        return path.read_text().rpartition("<FINGERPRINT>")[2].split() if path.exists() else []

    def address(self, name: str) -> tuple[str, int]:
        """Give where a transport listens, once it does."""
        self.wait_for(f"Registered server transport '{name}' at ")
        return self.listeners[name]


class Client(Tor):
    """A running client."""

    def socks(self) -> tuple[str, int]:
        """Give where its SOCKS5 proxy listens, once it has a circuit."""
        self.wait_for(r"Bootstrapped 100%")
        port = self.wait_for(r"Opened Socks listener connection \(ready\) on 127\.0\.0\.1:([0-9]+)")[1]
        return "127.0.0.1", int(port)


@contextmanager
def telling(*tors: Tor) -> Iterator[None]:
    """Add the ends of tors' logs as notes to an error that leaves the block, if the tors outlive the block."""
    try:
        yield
    except BaseException as error:
        for tor in tors:
            error.add_note(tor.tail())
        raise


def join(host: str, port: int) -> str:
    """Write an address and a port as torrc has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tor_countries(addresses: Sequence[str]) -> list[str]:
    """Ask an offline tor with Debian's GeoIP files for the country of each address."""
    need("tor", "tor")
    need("tor-geoipdb", str(TOR_GEOIP))
    with tempfile.TemporaryDirectory(prefix="tor-") as name:
        folder = Path(name) / "tor"
        lines = [
            f"DataDirectory {folder}",
            f"ControlSocket {torrc.control_socket(folder)}",
            "Log notice stdout",
            f"__OwningControllerProcess {os.getpid()}",
            "SocksPort 0",
            "DisableNetwork 1",
            f"GeoIPFile {TOR_GEOIP}",
            f"GeoIPv6File {TOR_GEOIP6}",
        ]
        with Tor(folder, lines) as tor:
            tor.wait_for("Opened Control listener")
            return tor.ask_all([f"ip-to-country/{address}" for address in addresses])
