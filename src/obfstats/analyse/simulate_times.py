"""Which part of a simulated bridge's day falls into which 24-hour interval of its statistics.

Rules:

- An interval begins when tor starts and ends 24 hours later; the next one follows it.
- A restart loses the running interval. The next ones end at the second of the restart.
- Requests of a UTC day are shared out by how much of the day's activity lies before and after an interval's end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from obfstats.analyse.days import DAY

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats: TypeAlias = npt.NDArray[np.float64]
    Ints: TypeAlias = npt.NDArray[np.int32]


class ReportTimes:
    """Which part of each instance's day falls into which interval of its statistics; padded by a day on each side.

    Attributes:
        active: share of a day's activity in which the instance ran, [I, D + 2].
        end: second of the day at which a 24-hour interval ended, -1 without one.
        first: probability that a request of the day belongs to the interval that ended on this day.
        last: probability that another request of the day belongs to the interval that ends on the next day.
        seconds: (first, last) second in which the instance ran; both 0 if it did not.
    """

    def __init__(self, born: Ints, gone: Ints, offset: Ints, restart: Ints, swing: float) -> None:
        """Work out the intervals, a day at a time.

        Args:
            born: second at which an instance starts, counted from the start of the padding.
            gone: second at which it stops.
            offset: second of the day at which an interval ends that began before the simulation.
            restart: second of the day of a restart by instance and day, -1 without one.
            swing: of the hours, see `Settings.daily`.
        """
        instances, days = restart.shape
        start, self.end = np.full((2, instances, days), -1, dtype=np.int32)
        starts = np.arange(days, dtype=np.int64) * DAY
        low, high = (np.clip(time[:, np.newaxis] - starts, 0, DAY).astype(np.int32) for time in (born, gone))
        self.seconds = (low, np.maximum(low, high))
        open_since = np.where(born == 0, offset, -1)
        for day in range(days):
            again = restart[:, day]
            until = np.where(again >= 0, again, high[:, day])
            is_over = (open_since >= 0) & (open_since < until)
            self.end[:, day] = np.where(is_over, open_since, -1)
            begins = (born > 0) & (born // DAY == day)
            open_since = np.where(begins, born % DAY, np.where(again >= 0, again, open_since))
            open_since = np.where(gone < starts[day] + DAY, -1, open_since)
            start[:, day] = open_since
        done_low, done_high = (_activity(part, swing) for part in self.seconds)
        done_end = np.where(self.end >= 0, _activity(self.end, swing), done_low)
        done_start = np.where(start >= 0, _activity(start, swing), done_high)
        self.active = done_high - done_low
        self.first = _share(done_end - done_low, self.active)
        self.last = _share(done_high - done_start, done_high - done_end)


def _activity(seconds: Ints, swing: float) -> Floats:
    """Give the share of a day's activity until a second: least at midnight, most at noon."""
    turn = 2 * np.pi * seconds / DAY
    return np.asarray((turn - swing * np.sin(turn)) / (2 * np.pi))


def _share(part: Floats, whole: Floats) -> Floats:
    return np.clip(np.divide(part, whole, out=np.zeros_like(whole), where=whole > 1e-12), 0.0, 1.0)
