"""Coming to a running program as a client, and seeing whether one is served; or whether it does not begin at all."""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

import pytest

from obfstats.bridge.commands import parse_obfsproxy
from obfstats.bridge.obfsproxy import run_managed
from obfstats.record.clock import SystemClock
from obfstats.wire.transports import make_transport
from peers.obfuscated import ObfuscatedClient

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

SECONDS = 30.0
"""How long anything may take."""

HELLO = b"hello"


def visit(
    bridge: tuple[str, int],
    name: str = "obfs3",
    *,
    source: str | None = None,
    secret: str | None = None,
    timeout: float = SECONDS,
) -> bytes:
    """Connect as a client, send HELLO, and return the answer; nothing where the connection is closed.

    Args:
        bridge: where the program listens.
        name: the transport.
        source: the client's loopback address; None for the kernel's choice.
        secret: the transport's shared secret, if it has one.
        timeout: seconds for each step.

    Raises:
        TimeoutError: if there is no answer in time.
    """
    try:
        with ObfuscatedClient(make_transport(name, shared_secret=secret), bridge, source, timeout) as client:
            client.sendall(HELLO)
            return client.recv()
    except ConnectionError:
        return b""


def greet(connection: socket.socket) -> bytes:
    """Send HELLO on a connection that others obfuscate, return the answer, and close."""
    with connection:
        connection.sendall(HELLO)
        return connection.recv(1 << 16)


def wait_until(happened: Callable[[], bool], seconds: float = SECONDS) -> bool:
    """Check again and again until something has happened; tell whether it has in time.

    Args:
        happened: checks; it may visit the program, so that its loop turns.
        seconds: how long at most.
    """
    deadline = time.monotonic() + seconds
    while not (seen := happened()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return seen


def refuse_in(environment: Mapping[str, str | None]) -> list[str]:
    """Run the program with an environment that it must refuse: in this process, until it exits with status 1.

    Args:
        environment: tor's variables; None for one that is not set.

    Returns:
        The lines that it wrote to tor.
    """
    told = {name: value for name, value in environment.items() if value is not None}
    options = parse_obfsproxy(["--no-log", "managed"])
    with tempfile.TemporaryFile() as said, pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        stdout = os.dup(1)
        os.dup2(said.fileno(), 1)
        try:
            assert run_managed(options, SystemClock()) == 1
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)
        said.seek(0)
        return said.read().decode("ascii").splitlines()


def countries(log: Path) -> list[str]:
    """Return the country of each line of a statistics log, in the order of the lines."""
    return [line.split()[2] for line in log.read_text().splitlines()]
