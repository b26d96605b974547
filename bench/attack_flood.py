"""A flood of handshakes: what it takes from honest clients."""

from __future__ import annotations

import contextlib
import socket

from bench.attacks import Row
from bench.process import settled_kib
from peers import program


def measure(*, quick: bool) -> list[Row]:
    """Open connections that say nothing, and measure what each takes."""
    count = 200 if quick else 800
    with (
        contextlib.ExitStack() as stack,
        program.obfsproxy("--no-stats", "obfs3", "--dest", "127.0.0.1:9", "server", "127.0.0.1:0") as running,
    ):
        before = settled_kib(running.child.pid)
        for number in range(count):
            source = f"127.9.{number % 50}.1", 0
            stack.enter_context(socket.create_connection(running.address, 10, source))
        grown = settled_kib(running.child.pid) - before
    return [Row("connections that say nothing", "resident KiB each", f"{grown / count:.0f}")]
