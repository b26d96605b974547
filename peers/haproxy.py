"""Debian's HAProxy as a relay: one process with one thread that splices.

It inherits a listening socket, so that no port has to be guessed and early connections wait in the queue.
"""

from __future__ import annotations

import re
import socket
import subprocess
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from peers.child import ChildError

if TYPE_CHECKING:
    from collections.abc import Iterator


PROGRAM = Path("/usr/sbin/haproxy")
PACKAGE = "haproxy"
"""Debian's name for it."""


class Splicing(Enum):
    """When it splices; the values are lines of its configuration, for the section `global` and for `defaults`."""

    AUTO = "", "option splice-auto"
    """Where it expects a gain. On this path it never does: it copies, 16 KiB at a time."""
    ALWAYS = "tune.pipesize 1048576", "option splice-request\n    option splice-response"
    """Always, through pipes of a mebibyte: the fastest for bytes that we know, and no slower for connections."""


_CONFIGURATION = """\
global
    nbthread 1
    maxconn {connections}
    maxpipes 256
    {general}

defaults
    mode tcp
    {defaults}
    timeout connect 1h
    timeout client 1h
    timeout server 1h

listen relay
    bind fd@{descriptor}
    server tor {host}:{port}
"""

_FAILS_WITHIN = 0.3
"""Seconds in which it ends if its configuration is wrong."""

_STOPS_WITHIN = 5.0


def is_installed() -> bool:
    """Tell whether there is one on this machine."""
    return PROGRAM.exists()


def version() -> str:
    """Give its name and version."""
    said = subprocess.run([PROGRAM, "-v"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version ([0-9.]+)", said)
    return f"HAProxy {found[1]}" if found else "HAProxy"


@contextmanager
def relay(
    folder: Path, destination: tuple[str, int], splicing: Splicing, *, connections: int, cpu: int
) -> Iterator[tuple[int, tuple[str, int]]]:
    """Run it until the block ends; gives its process id and its address.

    Args:
        folder: for its configuration.
        destination: where it passes connections on to.
        splicing: when it splices.
        connections: how many it must be able to hold at once.
        cpu: the one core it may run on.

    Raises:
        ChildError: if it does not start.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
        address: tuple[str, int] = listening.getsockname()
        number = listening.fileno()
        host, port = destination
        general, defaults = splicing.value
        configuration = folder / f"haproxy-{splicing.name.lower()}.cfg"
        configuration.write_text(
            _CONFIGURATION.format(
                general=general,
                defaults=defaults,
                connections=connections,
                descriptor=number,
                host=host,
                port=port,
            )
        )
        process = subprocess.Popen(
            # With -db it stays one process.
            ["taskset", "-c", str(cpu), str(PROGRAM), "-db", "-f", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[number],
            text=True,
        )
    try:
        _check_running(process)
        yield process.pid, address
    finally:
        process.terminate()
        try:
            process.communicate(timeout=_STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _check_running(process: subprocess.Popen[str]) -> None:
    try:
        _, said = process.communicate(timeout=_FAILS_WITHIN)
    except subprocess.TimeoutExpired:
        return
    raise ChildError(f"HAProxy does not run: {said}")
