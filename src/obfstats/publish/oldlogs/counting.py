"""Which interval a client belongs to, and which intervals are whole.

- An interval begins with the line of a start, or with the first client where there is none. It lasts 86,400 s, and the
  next one follows on it.
- It is whole when a later line shows that its time has passed. A stop or a new start before that drops it, and the end
  of the logs closes nothing.
- After a stop nobody is counted until the next start.
- A start long after the last line, with no stop between, closes the interval of that line, which is said; whether the
  program ran in the meantime is not known, so no empty interval is made of it.
- A clock that goes back by as much as summer time does shows the latest time it has shown until it is there again.
  One that goes back by more was set: the interval is dropped, so is one that it goes back into, and the next client
  begins a new one.
- An interval that overlaps with one that has been counted is left out.
- The heartbeat of an interval is the one whose time lies most in it: mostly the last. The one of 24 hours may come
  just after the interval has ended.
- Connections are taken back in their own interval only: its secret is gone with it.

All times are seconds on the logs' clock.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

from obfstats.formats.interval import INTERVAL_SECONDS
from obfstats.formats.oldlog import Connection, Event, Failed, Heartbeat, Refused, Started, Stopped
from obfstats.publish.oldlogs.clients import SCRUBBED, Clients
from obfstats.publish.oldlogs.failing import Failing
from obfstats.publish.oldlogs.notes import About, Notes

if TYPE_CHECKING:
    from obfstats.formats.counts import Counts
    from obfstats.publish.oldlogs.clients import Surroundings
    from obfstats.publish.oldlogs.failing import Taken
    from obfstats.publish.oldlogs.sums import Sum

STEP_BACK = 7200
"""Seconds by which summer time, or a correction, may set a clock back: two hours in the widest zone."""

_LONG_AGO = -(1 << 62)


@dataclass(slots=True)
class _Interval:
    """An interval, and the heartbeat that speaks of it best."""

    start: int
    sum: Sum | None = None
    heartbeat: Heartbeat | None = None
    fit: int = 0

    @property
    def end(self) -> int:
        return self.start + INTERVAL_SECONDS

    def hear(self, seconds: int, heartbeat: Heartbeat) -> None:
        """Take a heartbeat if more of its time lies in here than of the one before."""
        length = heartbeat.hours * 3600
        inside = min(seconds, self.end) - max(seconds - length, self.start)
        fit = 2 * inside - length
        if fit > self.fit or (fit == self.fit > 0 and self.sum is None):
            self.heartbeat, self.fit = heartbeat, fit


class Counting:
    """Counts the events of all logs, in their order.

    Args:
        around: countries and hashes.
        notes: takes what there is to say.
        empty: whether intervals without a client are intervals.

    Attributes:
        latest: the latest time of any line.
        clients: those of the running interval.
        failing: those of them that may still be taken back.
    """

    def __init__(self, around: Surroundings, notes: Notes, *, empty: bool) -> None:
        self.latest = _LONG_AGO
        self.clients = Clients(around)
        self.failing = Failing()
        self._around = around
        self._notes = notes
        self._empty = empty
        self._is_stopped = False
        self._running: _Interval | None = None
        self._before: _Interval | None = None
        self._counted: list[_Interval] = []
        self._starts: list[int] = []

    @property
    def is_stopped(self) -> bool:
        """Whether nobody is counted until the next start."""
        return self._is_stopped

    @property
    def end(self) -> int | None:
        """When the running interval ends; None where none is running."""
        return None if self._running is None else self._running.end

    def take(self, seconds: int, event: Event | None) -> None:
        """Take one line.

        Args:
            seconds: its time, as it stands there.
            event: what happened, if it matters.
        """
        if seconds < self.latest - STEP_BACK:
            self._set_back(seconds)
            self.latest = seconds
        self.latest = max(self.latest, seconds)
        if isinstance(event, Started):
            self._start()
            return
        self._pass()
        if isinstance(event, Connection):
            self._connect(event)
        elif isinstance(event, Stopped):
            self._stop()
        else:
            self.take_aside(self.latest, event)

    def take_aside(self, seconds: int, event: Event | None) -> None:
        """Take what neither begins an interval nor ends one, nor is a client.

        Args:
            seconds: its time; not later than the latest, and within the running interval if there is one.
            event: what happened, if it matters.
        """
        if isinstance(event, Heartbeat):
            self._notes.heartbeats += 1
            for interval in (self._before, self._running):
                if interval is not None:
                    interval.hear(seconds, event)
        elif isinstance(event, Failed):
            number = SCRUBBED if event.address is None else self.clients.known(event.address)
            if number is not None:
                self._take_back(self.failing.take((number, event.port)))
        elif isinstance(event, Refused):
            self._take_back(self.failing.take_refused(event.destination))

    def finish(self) -> list[Counts]:
        """End with the logs; give the intervals that are whole, sorted by start."""
        self._drop(About.UNFINISHED)
        return [self._counts(interval) for interval in sorted(self._counted, key=lambda interval: interval.start)]

    def connect(self, event: Connection) -> None:
        """Count a client into the running interval."""
        number = SCRUBBED if event.address is None else self.clients.number(event.address)
        self.clients.come(number, event.transport)
        self.failing.add((number, event.port), event.transport, event.destination)
        self.count(1)

    def count(self, connections: int) -> None:
        """Take note of connections that somebody else has counted into the running interval."""
        self._notes.connections += connections

    def miss(self, connections: int) -> None:
        """Take note of connections after a stop."""
        self._notes.after_stop += connections

    def _connect(self, event: Connection) -> None:
        if self._is_stopped:
            self.miss(1)
            return
        if self._running is None:
            self._running = _Interval(self.latest)
        self.connect(event)

    def _take_back(self, taken: Taken | None) -> None:
        if taken is not None:
            number, transport = taken
            self.clients.come(number, transport, -1)

    def _start(self) -> None:
        """Begin an interval with the line of a start."""
        running = self._running
        if running is not None and self.latest >= running.end:
            if self.clients.connections:
                self._notes.interval(running.start, About.UNSURE)
                self._close(running)
            self._forget()
            self._running = None
        self._drop(About.CUT_SHORT)
        self._running = _Interval(self.latest)
        self._is_stopped = False

    def _stop(self) -> None:
        self._drop(About.CUT_SHORT)
        self._is_stopped = True

    def _set_back(self, seconds: int) -> None:
        """Drop the running interval, and one that the clock has now gone back into: it never was whole."""
        self._drop(About.SET_BACK)
        self._before = None
        for interval in [one for one in self._counted if one.start <= seconds < one.end]:
            self._notes.interval(interval.start, About.SET_BACK)
            self._counted.remove(interval)
            self._starts.remove(interval.start)

    def _pass(self) -> None:
        """Let time pass: close the intervals that are over."""
        running = self._running
        if running is None or self.latest < running.end:
            return
        self._close(running)
        self._forget()
        over = (self.latest - running.start) // INTERVAL_SECONDS
        following = [_Interval(running.start + number * INTERVAL_SECONDS) for number in range(1, over + 1)]
        self._running = following.pop()
        if self._empty:
            for interval in following:
                self._close(interval)
        self._before = following[-1] if following else running

    def _close(self, interval: _Interval) -> None:
        """Keep the numbers of an interval that is whole."""
        interval.sum = self.clients.sum_up()
        self._before = interval
        if not interval.sum.requests and not self._empty:
            return
        place = bisect_left(self._starts, interval.start - INTERVAL_SECONDS + 1)
        if place < len(self._starts) and self._starts[place] < interval.end:
            self._notes.interval(interval.start, About.OVERLAPPING)
            return
        insort(self._starts, interval.start)
        self._counted.append(interval)

    def _drop(self, about: About) -> None:
        """Drop the running interval, and say so if anything is lost by it."""
        if self._running is not None:
            if self._empty or self.clients.connections:
                self._notes.interval(self._running.start, about)
            self._forget()
            self._running = None

    def _forget(self) -> None:
        """Forget everybody, and the secret."""
        self.clients = Clients(self._around)
        self.failing = Failing()
        self._around.renew()

    def _counts(self, interval: _Interval) -> Counts:
        """Give the numbers of an interval, and say what cannot be known of them."""
        if interval.sum is None:
            raise AssertionError("an interval was kept before it was over")
        if interval.sum.is_scrubbed and interval.heartbeat is None:
            self._notes.interval(interval.start, About.NO_HEARTBEAT)
        elif interval.sum.scrubbed and not interval.sum.is_scrubbed:
            self._notes.interval(interval.start, About.PARTLY_SCRUBBED)
        return interval.sum.counts(self._notes.utc(interval.start), interval.heartbeat)
