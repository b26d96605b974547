"""Debian's obfs4proxy, as tor runs it: a managed proxy that is told by its environment and answers on stdout.

    with obfs4proxy.server(tmp_path, ("127.0.0.1", 9001)) as proxy:
        proxy.methods["obfs3"]          where its obfs3 server listens
    with obfs4proxy.client(tmp_path) as proxy:
        socks.connect(proxy.methods["obfs3"], ("127.0.0.1", 443))

Source: pluggable transports specification, version 1.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.peers.child import Child, ChildError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

PROGRAM = "obfs4proxy"
PACKAGE = "obfs4proxy"
"""Debian's name for it."""

TRANSPORTS = ("obfs2", "obfs3")


@dataclass(frozen=True)
class Obfs4proxy:
    """A running obfs4proxy.

    Attributes:
        child: its process.
        methods: where it listens, by transport: for obfuscated connections as a server, for SOCKS5 as a client.
    """

    child: Child
    methods: Mapping[str, tuple[str, int]]


def is_installed() -> bool:
    """Tell whether there is one on this machine."""
    return shutil.which(PROGRAM) is not None


@contextmanager
def server(
    state: Path,
    destination: tuple[str, int],
    *,
    transports: Sequence[str] = TRANSPORTS,
    cpu: int | None = None,
) -> Iterator[Obfs4proxy]:
    """Run it as a bridge does, on free ports of 127.0.0.1.

    Args:
        state: a folder of its own.
        destination: what it takes for tor's ORPort.
        transports: which ones it offers.
        cpu: the one core it may run on, or None for all.
    """
    environment = {
        "TOR_PT_SERVER_TRANSPORTS": ",".join(transports),
        "TOR_PT_SERVER_BINDADDR": ",".join(f"{name}-127.0.0.1:0" for name in transports),
        "TOR_PT_ORPORT": "{}:{}".format(*destination),
        "TOR_PT_EXTENDED_SERVER_PORT": "",
    }
    with _start(state, environment, cpu) as child:
        yield Obfs4proxy(child, _methods(child, "SMETHOD"))


@contextmanager
def client(state: Path, *, transports: Sequence[str] = TRANSPORTS, cpu: int | None = None) -> Iterator[Obfs4proxy]:
    """Run it as a Tor client does.

    Args:
        state: a folder of its own.
        transports: which ones it offers.
        cpu: the one core it may run on, or None for all.
    """
    with _start(state, {"TOR_PT_CLIENT_TRANSPORTS": ",".join(transports)}, cpu) as child:
        yield Obfs4proxy(child, _methods(child, "CMETHOD"))


def version() -> str:
    """Give what it calls itself, for instance `obfs4proxy-0.0.14`."""
    with Child([PROGRAM, "-version"]) as child:
        return child.wait_for_line("stdout", r"\S+")[0]


def _start(state: Path, environment: Mapping[str, str], cpu: int | None) -> Child:
    common = {
        "TOR_PT_MANAGED_TRANSPORT_VER": "1",
        "TOR_PT_STATE_LOCATION": str(state),
        # It ends with this process, even when this process is killed.
        "TOR_PT_EXIT_ON_STDIN_CLOSE": "1",
    }
    return Child([PROGRAM], environment={**common, **environment}, cpu=cpu)


def _methods(child: Child, kind: str) -> dict[str, tuple[str, int]]:
    """Wait until it has said where it listens: `SMETHOD name addr:port [ARGS]`, or `CMETHOD name socks5 addr:port`."""
    child.wait_for_line("stdout", f"^{kind}S DONE$")
    methods: dict[str, tuple[str, int]] = {}
    for line in child.stdout.splitlines():
        word, *rest = line.split()
        if word == f"{kind}-ERROR":
            raise ChildError(f"{PROGRAM} says: {line}")
        if word == kind:
            host, _, port = rest[1 if kind == "SMETHOD" else 2].rpartition(":")
            methods[rest[0]] = host, int(port)
    return methods
