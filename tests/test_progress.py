"""The progress bar: on a terminal, after a second, and removed at the end."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from contextlib import redirect_stderr
from typing import TYPE_CHECKING

from obfstats.progress import PATIENCE, show_progress
from peers.program import OBFSTATS
from tests.publish.logs import line
from tests.publish.programs import ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


class Stopwatch:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def test_short_work_shows_nothing() -> None:
    """Work of less than a second shows no bar."""
    clock, terminal = Stopwatch(), Terminal()
    with redirect_stderr(terminal), show_progress(1000, clock) as advance:
        for _ in range(9):
            advance(100)
            clock.now += PATIENCE / 10
    assert terminal.getvalue() == ""


def test_long_work_shows_how_much_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a second, including what was done before; the line is erased at the end."""
    monkeypatch.setenv("TERM", "xterm")
    clock, terminal = Stopwatch(), Terminal()
    with redirect_stderr(terminal), show_progress(1_000_000, clock) as advance:
        advance(500_000)
        clock.now += PATIENCE
        advance(250_000)
    assert "0.8/1.0 MB" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")


def test_work_that_is_not_reading_has_its_own_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """An analysis counts days."""
    monkeypatch.setenv("TERM", "xterm")
    clock, terminal = Stopwatch(), Terminal()
    with redirect_stderr(terminal), show_progress(31, clock, unit="days") as advance:
        clock.now += PATIENCE
        advance(14)
    shown = re.sub("\x1b\\[[0-9]*m", "", terminal.getvalue())
    assert "14/31 days" in shown


def test_what_goes_to_a_file_has_no_bar() -> None:
    """No escape codes in a file."""
    clock, shown = Stopwatch(), io.StringIO()
    with redirect_stderr(shown), show_progress(1000, clock) as advance:
        clock.now += 10
        advance(100)
    assert shown.getvalue() == ""


def test_a_closed_standard_error_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has None there."""
    monkeypatch.setattr(sys, "stderr", None)
    done = []
    with show_progress(1000) as advance:
        advance(100)
        done.append(True)
    assert done == [True]


def test_tables_are_the_same_on_a_terminal(tmp_path: Path) -> None:
    """The bar is on standard error and never in the tables."""
    log = tmp_path / "log"
    log.write_bytes(b"".join(line(client=client) for client in range(250)) * 100)
    controller, terminal = pty.openpty()
    try:
        result = subprocess.run(
            [OBFSTATS, "convert", str(log)], stdout=subprocess.PIPE, stderr=terminal, check=True, env=ENVIRONMENT
        )
    finally:
        os.close(terminal)
        os.close(controller)
    assert result.stdout.decode().splitlines()[1] == "2012-02-07 14:01:04 de 25000"
