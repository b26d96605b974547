"""The two clocks, and the 24-hour interval that runs on them (ticket 5047, steps 1 and 3).

- The running interval is measured on boot time, which includes suspends and cannot be set, and labelled with wall time
  in UTC (design, decision 5).
- At its end it steps `while now - TS >= 24 h`: after a suspend of days to the interval that contains now, without empty
  ones, and at exactly 24 hours by one step. (By the ticket's own words it would step at every connection then.)
- Where wall and boot time differ by ten minutes more than at the start, the clock was set. Then the label is wrong, and
  so would be every line under it: such an interval is dropped for a new one. So a clock that is set can neither freeze
  an interval nor end it early.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from obfstats.formats.interval import INTERVAL_SECONDS, Interval

CLOCK_TOLERANCE = 600.0
"""Seconds that wall and boot time may drift apart before the clock counts as set."""

# Wall clocks outside of this are taken for its ends: an interval's start must be a date that can be written.
_MIN_WALL, _MAX_WALL = 86_400, 253_402_300_799


class Clock(Protocol):
    """Gives the time, in seconds."""

    def boot(self) -> float:
        """Seconds since boot, suspended time included; never goes back."""

    def wall(self) -> float:
        """Seconds since 1970 in UTC; may be set at any moment."""


class SystemClock:
    """The machine's own clocks."""

    # Without a Python frame in between: the recorder reads this one for every connection.
    boot = staticmethod(partial(time.clock_gettime, time.CLOCK_BOOTTIME))
    wall = staticmethod(time.time)


class RunningInterval:
    """The interval that contains the present. Pure: it is told what the clocks read, in seconds.

    Attributes:
        began: boot time of its start.
        interval: its start in UTC, and its length.
    """

    def __init__(self, boot: float, wall: float, *, ago: float = 0.0) -> None:
        """Begin (step 1).

        Args:
            boot: boot time now.
            wall: wall time now.
            ago: how many seconds before now it began.
        """
        self._difference = _clamped(wall) - boot
        self.began = boot - ago
        self._start = int(self.began + self._difference)
        self.interval = _interval_from(self._start)

    @property
    def end(self) -> float:
        """Boot time of its end."""
        return self.began + INTERVAL_SECONDS

    def clock_was_set(self, boot: float, wall: float) -> bool:
        """Tell by what the clocks read now whether the interval's start in UTC is wrong."""
        return abs(_clamped(wall) - boot - self._difference) > CLOCK_TOLERANCE or boot < self.began

    def has_ended(self, boot: float) -> bool:
        """Tell whether its 24 hours have passed."""
        return boot - self.began >= INTERVAL_SECONDS

    def step(self, boot: float) -> None:
        """Step by whole intervals to the one that contains now (step 3)."""
        while self.has_ended(boot):
            self.began += INTERVAL_SECONDS
            self._start += INTERVAL_SECONDS
        self.interval = _interval_from(self._start)


def _clamped(wall: float) -> float:
    return min(max(wall, _MIN_WALL), _MAX_WALL)


def _interval_from(start: int) -> Interval:
    return Interval(datetime.fromtimestamp(min(start, _MAX_WALL), UTC))
