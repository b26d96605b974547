"""The program's own log goes into a pipe, and whoever reads it stops reading."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from peers import extended, managed
from tests.proxy.honest import Visitors, countries, is_served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIPE_SIZE = 4096
"""Bytes: a line for each of forty clients fills it."""


@contextlib.contextmanager
def idle_reader(path: Path) -> Iterator[None]:
    """Make a pipe, and hold its other end without reading."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        yield
    finally:
        os.close(reader)


def test_a_reader_who_stops_holds_nobody_up(tmp_path: Path) -> None:
    """At severity info: lines that nobody takes are lost, clients are served and counted."""
    argv = managed.ours(
        "--log-file", str(tmp_path / "pipe"), "--log-min-severity", "info", *managed.counting(tmp_path / "log")
    )
    with (
        idle_reader(tmp_path / "pipe"),
        extended.orport(tmp_path) as tor,
        managed.server(tmp_path / "state", tor, argv=argv) as bridge,
    ):
        visitors = Visitors(bridge.methods["obfs3"])
        with visitors.stay() as staying:
            visitors.come(100)
            assert is_served(staying)
    assert countries(tmp_path / "log") == visitors.counted()
