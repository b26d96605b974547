"""Fixtures of all tests, and the search for clients' addresses after the whole run."""

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

# The time of an example depends more on the machine's other work than on ours.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

_reported: list[tuple[str, bytes]] = []
_found: list[str] = []


def pytest_configure() -> None:
    """Restore the default handling of signals: a shell ignores two of them for a background job, nohup the third."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


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
    """Search everything that the run has left; one finding fails the run."""
    _found.extend(canary.findings(_everything(session.config)))
    if _found and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report what was found."""
    for finding in _found:
        terminalreporter.write_line(f"CANARY: {finding}", red=True)
    terminalreporter.write_line(
        f"searched for {len(canary._handed_out)} clients' addresses in what the run has left: {len(_found)} found"
    )


def _everything(config: pytest.Config) -> Iterator[tuple[str, bytes]]:
    yield from _reported
    for child in Child.started:
        yield f"output of {child.name}", (child.stdout + child.stderr).encode("utf-8", "surrogateescape")
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is not None:
        yield from canary.files_below(factory.getbasetemp())
