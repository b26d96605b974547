"""An interval of 24 hours: when it began, what its lines begin with, when it is over (ticket 5047, steps 1 and 3).

- It is measured on boot time, which runs through a suspend and which nobody sets, and labelled with wall time in UTC
  (design, decision 5).
- At its end it steps on `while now - TS >= 24 h`: after a sleep of days to the interval that now lies in, without empty
  ones, and at exactly 24 hours by one step, once. (The ticket's own words would step at every connection then.)
- Where wall and boot time part by more than ten minutes, somebody set the clock: the label is wrong, and so would
  be every line under it. Such an interval is given up for a new one; a clock that is set can neither freeze it nor end
  it early.
- Pure: it is told what the clocks read, in seconds, and says what follows.
"""

from __future__ import annotations

import time

INTERVAL = 86_400
"""Seconds: Tor's interval, and the ticket's."""

CLOCK_TOLERANCE = 600.0
"""Seconds that wall and boot time may part before the label is taken for wrong."""

# Wall clocks outside of this are taken for its ends: an interval's start must be a date that can be written.
_FIRST_WALL, _LAST_WALL = 86_400, 253_402_300_799


class Interval:
    """TS, the start of the interval, on both clocks.

    Attributes:
        began: boot time of its start.
        label: what its lines begin with: the start in UTC and a blank.
    """

    def __init__(self, boot: float, wall: float, *, ago: float = 0.0) -> None:
        """Begin (step 1).

        Args:
            boot: boot time now.
            wall: wall time now.
            ago: how long ago it began, in seconds; else now.
        """
        self._apart = _writable(wall) - boot
        self.began = boot - ago
        self._start = int(self.began + self._apart)
        self.label = _label(self._start)

    @property
    def end(self) -> float:
        """Boot time of its end."""
        return self.began + INTERVAL

    def clock_was_set(self, boot: float, wall: float) -> bool:
        """Tell whether the label is wrong by what the clocks read now."""
        return abs(_writable(wall) - boot - self._apart) > CLOCK_TOLERANCE or boot < self.began

    def is_over(self, boot: float) -> bool:
        """Tell whether its 24 hours have passed."""
        return boot - self.began >= INTERVAL

    def step(self, boot: float) -> None:
        """Step on in whole intervals, to the one that now lies in (step 3)."""
        while self.is_over(boot):
            self.began += INTERVAL
            self._start += INTERVAL
        self.label = _label(self._start)


def _writable(wall: float) -> float:
    """Give a wall time, within what can be written."""
    return min(max(wall, _FIRST_WALL), _LAST_WALL)


def _label(start: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S ", time.gmtime(min(start, _LAST_WALL)))
