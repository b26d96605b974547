"""Reports of failures do not reveal a single client."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import pytest

from obfstats.bridge.daemon import REPORT_SECONDS, Daemon, Ticker, make_context
from obfstats.formats.address import ClientAddress
from obfstats.proxy.limits import Limits
from obfstats.proxy.privacy import LogFormatter
from obfstats.proxy.service import OutcomeLog
from peers.clocks import MovedClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.proxy.service import Context


def context(*, safe: bool, draw: Callable[[float, float], float] = lambda low, _high: low) -> Context:
    """A context in which nothing is connected."""
    return dataclasses.replace(make_context(Limits(), LogFormatter(safe=safe)), draw=draw)


def test_reports_come_at_moments_of_their_own() -> None:
    """One to ten minutes apart, drawn anew each time; every minute with safe logging off."""
    drawn: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        drawn.append((low, high))
        return 321.0

    safe, unsafe = (
        Ticker(Daemon("obfsproxy", context(safe=safe, draw=draw), MovedClock(), None, has_heartbeat=False), [])
        for safe in (True, False)
    )
    assert safe.draw_report_seconds() == 321.0
    assert drawn == [REPORT_SECONDS, REPORT_SECONDS] == [(60.0, 600.0)] * 2
    assert unsafe.draw_report_seconds() == 60.0
    assert len(drawn) == 2


@pytest.mark.parametrize(("safe", "number"), [(True, 8), (False, 1)])
def test_one_client_who_was_refused_is_said_as_eight(
    caplog: pytest.LogCaptureFixture, *, safe: bool, number: int
) -> None:
    """Unless safe logging is off, and only once."""
    caplog.set_level(logging.DEBUG, "obfstats")
    outcomes = OutcomeLog("obfs3", LogFormatter(safe=safe))
    outcomes.log_failure(ClientAddress.parse("192.0.2.7", 5678), "[scrubbed]", "ECONNREFUSED")
    caplog.clear()
    outcomes.log_summary()
    outcomes.log_summary()
    assert caplog.messages == [f"obfs3: {number} connection(s) could not be passed on (ECONNREFUSED)"]
