"""The heartbeat (ticket 5083): once an hour the old programs' two lines, so that an operator sees that all is well.

    Heartbeat: obfsproxy's uptime is 0 day(s), 1 hour(s), and 0 minute(s).
    Heartbeat: During the last 1 hour(s) we saw 8 connection(s) from 8 unique address(es).

Rules:

- The second line speaks of the running interval, from its beginning on; the first beat after an interval has ended
  speaks of that whole one, once. It is left out where nobody came.
- Both numbers are rounded up to multiples of 8, unless safe logging is off: an exact number that grows by one dates a
  client's visit to the hour.
- Beats follow boot time. However long a machine slept, there is one beat when it wakes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from obfstats.bridge.logs import NOTICE

if TYPE_CHECKING:
    from obfstats.proxy.privacy import Show
    from obfstats.record import Recorder

HOUR = 3600.0

_log = logging.getLogger(__name__)


class Heartbeat:
    """Beats for one program."""

    def __init__(self, name: str, now: float, recorder: Recorder | None, show: Show) -> None:
        """Start the uptime.

        Args:
            name: the program's name.
            now: boot time in seconds.
            recorder: knows the numbers; None if nothing is counted.
            show: rounds the numbers, or does not.
        """
        self._name = name
        self._began = self._last = now
        self._recorder = recorder
        self._show = show

    def tick(self, now: float) -> None:
        """Beat, if an hour has passed since the last one was due.

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
        seconds, connections, addresses = self._recorder.seen()
        if addresses:
            _log.log(
                NOTICE,
                "Heartbeat: During the last %d hour(s) we saw %d connection(s) from %d unique address(es).",
                int(seconds // HOUR),
                self._show.number(connections),
                self._show.number(addresses),
            )
