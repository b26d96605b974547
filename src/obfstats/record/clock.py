"""The two clocks that an interval needs, behind one small shape so that a test can move them.

Intervals are measured on boot time, which runs through a suspend and which nobody sets; they are labelled with wall
time in UTC (design, decision 5).
"""

from __future__ import annotations

import time
from functools import partial
from typing import Protocol


class Clock(Protocol):
    """What tells the time. Both are seconds as floats."""

    def boot(self) -> float:
        """Seconds since boot, suspended time included; never goes back."""

    def wall(self) -> float:
        """Seconds since 1970 in UTC; somebody may set it at any moment."""


class SystemClock:
    """The machine's own clocks."""

    # Bound without a frame of Python in between: the recorder reads this one for every connection.
    boot = staticmethod(partial(time.clock_gettime, time.CLOCK_BOOTTIME))
    wall = staticmethod(time.time)
