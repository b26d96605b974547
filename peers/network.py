"""A private Tor network on loopback: a directory authority, an exit, and the bridges and clients of each test.

    with Network(folder) as network, network.bridge("one", OBFS4PROXY, {"obfs3": "127.0.0.1"}) as bridge:
        network.wait()
        with network.client("two", OBFS4PROXY, bridge.line("obfs3")) as client:
            socks.connect(client.socks(), ("127.0.0.1", 80))

Authority and exit are two processes: with the bridge they make a circuit's three hops, and a client needs no more.
They have no other relay to make circuits through and log that; it is no failure. Bridges begin at once,
but a client can use one only if it was started after `wait`: tor asks for a consensus less and less often.

Source: tor's manual; chutney, the Tor project's own tool for private networks, has several authorities instead.
"""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from peers import torrc
from peers.child import START_SECONDS, STOP_SECONDS, ChildError
from peers.fetched import find_program
from peers.tors import Bridge, Client, Tor, join

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from peers.clocks import ProgramClock

OBFS4PROXY = (shutil.which("obfs4proxy") or "/usr/bin/obfs4proxy",)
"""A transports' program of another author, for either end; tor wants its whole path."""

LYREBIRD = (find_program("lyrebird") or "lyrebird",)
"""Its successor; as a client it also speaks webtunnel."""

WEBTUNNEL = (find_program("webtunnel-server") or "webtunnel-server",)
"""webtunnel's program for a bridge."""

CONSENSUS_SECONDS = 60.0
"""How long the network may take until clients can use it: time for three votes."""

_POLL = 0.1
# tor-gencert's options for what it writes, and how tor calls these files.
_KEYS = {"-i": "identity_key", "-s": "signing_key", "-c": "certificate"}


class Ports:
    """Ports of loopback that are reserved while this is open.

    Each is held by a socket that never listens: the kernel does not give the port to anything else, but a program that
    binds it with SO_REUSEADDR, as all of them do, may listen.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def reserve(self, host: str = "127.0.0.1") -> int:
        """Reserve a port of an address."""
        kept = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._sockets.append(kept)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind((host, 0))
        return int(kept.getsockname()[1])

    def close(self) -> None:
        """Release them all."""
        for kept in self._sockets:
            kept.close()


class Network:
    """The network. As a context manager it begins and ends with its block.

    Attributes:
        folder: where the data directories are, each named like its tor.
        authority: what every tor must know of the directory authority.
        ports: reserves ports for listeners.
        tors: every running tor.
    """

    def __init__(self, folder: Path) -> None:
        """Make its keys.

        Args:
            folder: for the data directories; its path must be short, because a socket's path is limited.
        """
        self.folder = folder
        self.ports = Ports()
        self._no_countries = folder / "no-countries"
        self._no_countries.touch()
        self.authority = _make_authority(folder / "authority", self.ports)
        self.tors: list[Tor] = []
        self._running = ExitStack()

    def __enter__(self) -> Self:
        relays = {"authority": torrc.authority(self.authority, time.time()), "exit": torrc.exit_relay()}
        with ExitStack() as stack:
            stack.callback(self.ports.close)
            for name, lines in relays.items():
                folder = self.folder / name
                stack.enter_context(self._known(Tor(folder, [*self.common(folder), *lines])))
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.__exit__(kind, error, trace)

    def wait(self) -> None:
        """Wait until the authority gives out a consensus that names both relays.

        Raises:
            ChildError: if it does not.
        """
        deadline = time.monotonic() + CONSENSUS_SECONDS
        while time.monotonic() < deadline:
            if self._relays() == 2:
                return
            time.sleep(_POLL)
        raise ChildError("\n".join(["no consensus names both relays", *(tor.tail() for tor in self.tors)]))

    @contextmanager
    def bridge(
        self,
        name: str,
        command: Sequence[str],
        hosts: Mapping[str, str],
        *,
        named: Sequence[str] = (),
        countries: Path | None = None,
        clock: ProgramClock | None = None,
        extended: bool = True,
        more: Sequence[str] = (),
    ) -> Iterator[Bridge]:
        """Run a bridge.

        Args:
            name: its nickname and the name of its folder; an earlier bridge's data directory is used again.
            command: the transports' server program and its arguments.
            hosts: the transports and the address that each listens on.
            named: the transports that tor asks the program for, if not those of `hosts`.
            countries: a GeoIP file for IPv4.
            clock: its clock, if not the machine's.
            extended: whether it has an extended ORPort.
            more: further lines of torrc.
        """
        folder = self.folder / name
        listeners = {transport: (host, self.ports.reserve(host)) for transport, host in hosts.items()}
        written = {transport: join(*listener) for transport, listener in listeners.items()}
        own = torrc.bridge(folder, command, written, named or list(hosts), extended=extended)
        bridge = Bridge(folder, [*self.common(folder, countries), *own, *more], listeners, clock)
        with self._known(bridge):
            yield bridge

    @contextmanager
    def client(self, name: str, command: Sequence[str], line: str) -> Iterator[Client]:
        """Run a client.

        Args:
            name: the name of its folder.
            command: the transport's client program and its arguments.
            line: the bridge line of the only bridge that it uses.
        """
        folder = self.folder / name
        client = Client(folder, [*self.common(folder), *torrc.client(command, line)])
        with self._known(client):
            yield client

    def common(self, folder: Path, countries: Path | None = None) -> list[str]:
        """Give the lines of torrc that every tor of this network has; arguments as for `torrc.common`."""
        return torrc.common(folder, self.authority, (countries or self._no_countries, self._no_countries))

    @contextmanager
    def _known(self, tor: Tor) -> Iterator[None]:
        """Run a tor until the block ends."""
        self.tors.append(tor)
        try:
            with tor:
                yield
        finally:
            self.tors.remove(tor)

    def _relays(self) -> int:
        """Count the relays in the consensus that the authority gives out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.authority.directory_port, timeout=STOP_SECONDS)
        try:
            connection.request("GET", "/tor/status-vote/current/consensus")
            return connection.getresponse().read().count(b"\nr ")
        except OSError:
            return 0
        finally:
            connection.close()


def _make_authority(folder: Path, ports: Ports) -> torrc.Authority:
    """Make an authority's keys; tor-gencert makes the voting key."""
    keys = folder / "keys"
    folder.mkdir(mode=0o700)
    keys.mkdir(mode=0o700)
    or_port, directory_port = ports.reserve(), ports.reserve()
    paths = {option: keys / f"authority_{name}" for option, name in _KEYS.items()}
    subprocess.run(
        ["tor-gencert", "--create-identity-key", "--passphrase-fd", "0", "-m", "12", "-a",
         f"127.0.0.1:{directory_port}", *(word for option, path in paths.items() for word in (option, str(path)))],
        input=b"\n", capture_output=True, check=True, timeout=START_SECONDS,
    )  # fmt: skip
    certificate = re.search(r"^fingerprint ([0-9A-F]{40})$", paths["-c"].read_text(), re.MULTILINE)
    listed = subprocess.run(
        ["tor", "--list-fingerprint", "--DataDirectory", str(folder), "--ORPort", "1", "--Nickname", "authority",
         "--defaults-torrc", "/nonexistent", "--ignore-missing-torrc", "-f", "/nonexistent"],
        capture_output=True, check=True, text=True, timeout=START_SECONDS,
    )  # fmt: skip
    relay = re.search(r"^authority ((?:[0-9A-F]{4} ?){10})$", listed.stdout, re.MULTILINE)
    assert certificate, "tor-gencert gave no fingerprint"
    assert relay, f"tor gave no fingerprint: {listed.stdout}{listed.stderr}"
    return torrc.Authority(or_port, directory_port, certificate[1], relay[1].replace(" ", ""))
