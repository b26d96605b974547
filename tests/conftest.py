"""What every test gets, and the search for clients' addresses when all of them have run."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from peers.child import Child
from peers.geoip import geoip_text
from tests import canary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# How long an example takes says more about the machine's other work than about ours.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

_reported: list[tuple[str, bytes]] = []
_found: list[str] = []


def pytest_configure() -> None:
    """Let signals mean what they mean by default: a shell ignores two of them for what it runs in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture
def geoip(tmp_path: Path) -> Path:
    """A GeoIP file that gives the canaries' networks their countries."""
    path = tmp_path / "geoip"
    path.write_text(geoip_text())
    return path


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what a test printed, logged or failed with."""
    text = "\n".join([report.longreprtext, *(content for _, content in report.sections)])
    _reported.append((f"report of {report.nodeid}", text.encode("utf-8", "surrogateescape")))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Search everything the run left behind; one finding fails the run."""
    _found.extend(canary.findings(_everything(session.config)))
    if _found and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was found, and in how much."""
    for finding in _found:
        terminalreporter.write_line(f"CANARY: {finding}", red=True)
    terminalreporter.write_line(
        f"searched for {len(canary._handed_out)} clients' addresses in what the run left behind: {len(_found)} found"
    )


def _everything(config: pytest.Config) -> Iterator[tuple[str, bytes]]:
    yield from _reported
    for child in Child.started:
        yield f"output of {child.name}", (child.stdout + child.stderr).encode("utf-8", "surrogateescape")
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is not None:
        yield from canary.files_below(factory.getbasetemp())
