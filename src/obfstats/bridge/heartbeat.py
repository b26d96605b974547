"""The heartbeat (ticket 5083): the old programs' two lines an hour, which show the operator that the program runs.

    Heartbeat: obfsproxy's uptime is 0 day(s), 1 hour(s), and 0 minute(s).
    Heartbeat: During the last 1 hour(s) we saw 8 connection(s) from 8 unique address(es).

Rules:

- The second line is about the running interval. The first beat after the end of an interval is about that whole
  interval, once. The line is left out if there were no clients.
- Both numbers are rounded up to multiples of 8, unless safe logging is off: an exact number that grows by one gives the
  hour of a client's connection.
- Beats follow boot time. However long a machine slept, there is one beat when it wakes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from obfstats.bridge.logs import NOTICE

if TYPE_CHECKING:
    from obfstats.proxy.privacy import LogFormatter
    from obfstats.record import Recorder

HOUR = 3600.0

_log = logging.getLogger(__name__)


class Heartbeat:
    """The heartbeat of one program."""

    def __init__(self, name: str, now: float, recorder: Recorder | None, formatter: LogFormatter) -> None:
        """Start the uptime.

        Args:
            name: the program's name.
            now: boot time in seconds.
            recorder: knows the numbers; None if nothing is counted.
            formatter: rounds the numbers, or does not.
        """
        self._name = name
        self._began = self._last = now
        self._recorder = recorder
        self._formatter = formatter

    def tick(self, now: float) -> None:
        """Beat, if an hour has passed since the last beat was due.

        Args:
            now: boot time in seconds.
        """
        if now - self._last < HOUR:
            return
        self._last = now - (now - self._began) % HOUR
        minutes = int(now - self._began) // 60
        _log.log(
            NOTICE,
            "Heartbeat: %s's uptime is %d day(s), %d hour(s), and %d minute(s).",
            self._name,
            minutes // 1440,
            minutes // 60 % 24,
            minutes % 60,
        )
        if self._recorder is None:
            return
        seconds, connections, addresses, uncounted = self._recorder.pop_counters()
        if uncounted:
            _log.log(
                NOTICE,
                "Heartbeat: During the last %d hour(s) %d connection(s) were passed on and NOT COUNTED.",
                int(seconds // HOUR),
                self._formatter.number(uncounted),
            )
        if addresses:
            _log.log(
                NOTICE,
                "Heartbeat: During the last %d hour(s) we saw %d connection(s) from %d unique address(es).",
                int(seconds // HOUR),
                self._formatter.number(connections),
                self._formatter.number(addresses),
            )
