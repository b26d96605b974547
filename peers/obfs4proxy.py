"""Debian's obfs4proxy, as tor runs it.

with obfs4proxy.server(tmp_path, ("127.0.0.1", 9001)) as proxy:
    proxy.methods["obfs3"]          where its obfs3 server listens
with obfs4proxy.client(tmp_path) as proxy:
    socks.connect(proxy.methods["obfs3"], ("127.0.0.1", 443))

It runs as every managed proxy (`managed`); an error line for any transport is a failure.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from peers import managed
from peers.child import Child

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

PROGRAM = "obfs4proxy"
PACKAGE = "obfs4proxy"
"""Debian's name for it."""


def is_installed() -> bool:
    """Tell whether it is installed."""
    return shutil.which(PROGRAM) is not None


def server(
    state: Path,
    destination: tuple[str, int],
    *,
    transports: Sequence[str] = managed.TRANSPORTS,
    cpu: int | None = None,
) -> AbstractContextManager[managed.Managed]:
    """Run it as a bridge does, on free ports of 127.0.0.1.

    Args:
        state: a folder of its own.
        destination: what it uses as tor's ORPort.
        transports: which ones it offers.
        cpu: the one core it may run on, or None for all.
    """
    return managed.server(state, destination, argv=[PROGRAM], transports=transports, cpu=cpu)


def client(
    state: Path, *, transports: Sequence[str] = managed.TRANSPORTS, cpu: int | None = None
) -> AbstractContextManager[managed.Managed]:
    """Run it as a Tor client does.

    Args:
        state: a folder of its own.
        transports: which ones it offers.
        cpu: the one core it may run on, or None for all.
    """
    return managed.client(state, argv=[PROGRAM], transports=transports, cpu=cpu)


def version() -> str:
    """Give its name and version, for instance `obfs4proxy-0.0.14`."""
    with Child([PROGRAM, "-version"]) as child:
        return child.wait_for_line("stdout", r"\S+")[0]
