"""The program's own log goes into a pipe whose reader stops reading."""

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
    """Make a pipe, and keep its other end open without reading."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        yield
    finally:
        os.close(reader)


def test_a_reader_that_stops_delays_no_client(tmp_path: Path) -> None:
    """At severity info: lines that are not read are lost, clients are served and counted."""
    argv = managed.ours(
        "--log-file", str(tmp_path / "pipe"), "--log-min-severity", "info", *managed.counting(tmp_path / "log")
    )
    with (
        idle_reader(tmp_path / "pipe"),
        extended.orport(tmp_path) as tor,
        managed.server(tmp_path / "state", tor, argv=argv) as bridge,
    ):
        visitors = Visitors(bridge.methods["obfs3"])
        with visitors.connect() as staying:
            visitors.visit(100)
            assert is_served(staying)
    assert countries(tmp_path / "log") == visitors.expected_lines()
