"""A real tor as the oracle for countries: `GETINFO ip-to-country` on its control port (control-spec)."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from peers.missing import need

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOR_GEOIP = Path("/usr/share/tor/geoip")
TOR_GEOIP6 = Path("/usr/share/tor/geoip6")

START_TIMEOUT = 30.0


def tor_countries(addresses: Sequence[str]) -> list[str]:
    """Ask tor, offline and with Debian's GeoIP files, for the country of each address."""
    need("tor", "tor")
    need("tor-geoipdb", str(TOR_GEOIP))
    with tempfile.TemporaryDirectory(prefix="tor-") as folder, _control_port(Path(folder)) as control:
        control.sendall(b'AUTHENTICATE ""\r\n')
        for address in addresses:
            control.sendall(f"GETINFO ip-to-country/{address}\r\n".encode())
        control.sendall(b"QUIT\r\n")
        with control.makefile("r", encoding="ascii") as replies:
            return [line.rstrip().rpartition("=")[2] for line in replies if line.startswith("250-ip-to-country/")]


@contextlib.contextmanager
def _control_port(folder: Path) -> Iterator[socket.socket]:
    """Run a tor without network, and give a connection to its control socket."""
    folder.chmod(0o700)
    path = folder / "control"
    options = {
        "DataDirectory": folder / "data",
        "ControlSocket": path,
        "SocksPort": 0,
        "DisableNetwork": 1,
        "GeoIPFile": TOR_GEOIP,
        "GeoIPv6File": TOR_GEOIP6,
    }
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = ["tor", "--defaults-torrc", "/nonexistent", "--ignore-missing-torrc", "-f", "/nonexistent", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as tor:
        try:
            _wait_for_bootstrap(tor)
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(START_TIMEOUT)
                control.connect(str(path))
                yield control
        finally:
            tor.kill()


def _wait_for_bootstrap(tor: subprocess.Popen[bytes]) -> None:
    """Wait until tor says on its output that its control socket is open."""
    assert tor.stdout is not None
    deadline = time.monotonic() + START_TIMEOUT
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(tor.stdout, selectors.EVENT_READ)
        while b"Opened Control listener" not in said:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError(f"tor did not open its control socket: {said.decode(errors='replace')}")
            chunk = os.read(tor.stdout.fileno(), 1 << 16)
            if not chunk:
                raise RuntimeError(f"tor ended: {said.decode(errors='replace')}")
            said += chunk
