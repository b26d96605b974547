"""What is done twice a minute, at moments that are no client's: intervals end, publishing, the heartbeat, reports."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from obfstats.proxy import privacy

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from obfstats.bridge.heartbeat import Heartbeat
    from obfstats.bridge.statistics import Statistics
    from obfstats.proxy.service import Context
    from obfstats.record.clock import Clock

TICK = 30.0
"""Seconds between looks at the interval's end: timers sleep through a suspend, so none is set for the end itself."""

REPORTS = (60.0, 600.0)
"""Seconds between two reports of what was refused or shed: drawn anew each time, or a report would tell the minute in
which a client came. With safe logging off it is always the first."""

_log = logging.getLogger(__name__)


class Reporter(Protocol):
    """Who has something to report."""

    def report(self) -> None:
        """Say what went wrong since the last time, and how often."""


class Ticker:
    """Looks after whatever has no client to look after it."""

    def __init__(
        self,
        clock: Clock,
        context: Context,
        statistics: Statistics | None,
        heartbeat: Heartbeat | None,
        reporters: Sequence[Reporter],
    ) -> None:
        """Begin now.

        Args:
            clock: what tells the time.
            context: what every service shares.
            statistics: who counts, or None.
            heartbeat: says how many came, or None.
            reporters: who has something to report.
        """
        self._clock = clock
        self._context = context
        self._statistics = statistics
        self._heartbeat = heartbeat
        self._reporters = reporters
        self._due = clock.boot() + self.until_report()

    async def run(self, begin: Callable[[Coroutine[None, None, None]], None]) -> None:
        """Tick for good.

        Args:
            begin: has something done beside this.
        """
        while True:
            await asyncio.sleep(TICK)
            try:
                self._tick()
            except Exception as error:  # noqa: BLE001 - whatever it is, intervals must go on ending
                privacy.report_error(error)
            if self._statistics is not None:
                # A folder on a network may let it wait for ever; intervals go on ending.
                begin(_look(self._statistics))

    def until_report(self) -> float:
        """Draw the seconds until the next report."""
        return self._context.draw(*REPORTS) if self._context.show.safe else REPORTS[0]

    def _tick(self) -> None:
        """Let the interval end on a quiet day too, and say what went wrong."""
        now = self._clock.boot()
        if self._statistics is not None:
            self._statistics.recorder.tick()
        if self._heartbeat is not None:
            self._heartbeat.tick(now)
        if now >= self._due:
            self._due = now + self.until_report()
            for sentence in self._context.gate.report(self._context.show):
                _log.warning("%s", sentence)
            for reporter in self._reporters:
                reporter.report()


async def _look(statistics: Statistics) -> None:
    try:
        await statistics.look()
    except Exception as error:  # noqa: BLE001 - the next tick tries again
        privacy.report_error(error)
