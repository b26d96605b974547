"""Divides the events of old logs into intervals.

- An interval begins with the line of a start, or with the first client if there is none. It lasts 86,400 s, and the
  next one follows it.
- It is complete when a later line shows that its time has passed. A stop or a new start before that drops it, and the
  end of the logs completes nothing.
- After a stop no client is counted until the next start.
- A run in client mode has no interval, not even an empty one.
- A start long after the last line, without a stop in between, completes that line's interval, and the operator is told.
  Whether the program ran in the meantime is unknown, so the time up to the start has no empty intervals.
- Backward steps of up to 2 h (summer time) are clamped to the latest time seen. After a larger one the running interval
  is dropped, and so is a completed one that the clock went back into; the next client begins a new interval.
- An interval that overlaps with one that was counted before is left out.
- The heartbeat of an interval is the one whose time lies most in it, usually the last. The one of 24 hours may be
  logged just after the interval's end. It gives the number of addresses if all of them are scrubbed; their country is
  `??`.

All times are seconds on the logs' clock.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from obfstats.formats.counts import ClientClass
from obfstats.formats.interval import INTERVAL_SECONDS, Interval
from obfstats.formats.logline import UNKNOWN_COUNTRY, Columns
from obfstats.formats.oldlog import (
    ClientConnected,
    ClientFailed,
    DestinationRefused,
    HeartbeatTotals,
    OldLogEvent,
    ProgramStarted,
    ProgramStopped,
    RunMode,
)
from obfstats.publish.oldlogs.clients import CountingContext, IntervalClients
from obfstats.publish.oldlogs.notes import IntervalNote, Notes

if TYPE_CHECKING:
    from obfstats.formats.counts import Counts

MAX_CLAMPED_STEP = 7200
"""Seconds by which summer time, or a correction, may set a clock back: two hours in the widest zone."""

_UNKNOWN_CLIENTS = ClientClass(UNKNOWN_COUNTRY, frozenset({Columns(None, None)}))


@dataclass(slots=True)
class _LogInterval:
    """An interval on the logs' clock, its numbers once it is complete, and the heartbeat that fits it best."""

    start: int
    counts: Counts | None = None
    is_partly_scrubbed: bool = False
    heartbeat: HeartbeatTotals | None = None
    fit: int = 0

    @property
    def end(self) -> int:
        return self.start + INTERVAL_SECONDS

    def compare_heartbeat(self, seconds: int, heartbeat: HeartbeatTotals) -> None:
        """Keep a heartbeat if more of its time lies in this interval than of the one before."""
        length = heartbeat.hours * 3600
        inside = min(seconds, self.end) - max(seconds - length, self.start)
        fit = 2 * inside - length
        if fit > self.fit or (fit == self.fit > 0 and self.counts is None):
            self.heartbeat, self.fit = heartbeat, fit


class OldLogIntervals:
    """Counts the events of all logs.

    Args:
        context: countries and hashes.
        notes: what the operator is told.
        utc_offset: how far the logs' clock was ahead of UTC.
        empty: whether intervals without a client are counted.
    """

    def __init__(self, context: CountingContext, notes: Notes, *, utc_offset: timedelta, empty: bool) -> None:
        self._context = context
        self._notes = notes
        self._epoch = datetime.fromtimestamp(0, UTC) - utc_offset
        self._empty = empty
        self._latest = 0
        self._is_stopped = False
        self._clients = IntervalClients(context)
        self._running: _LogInterval | None = None
        self._previous: _LogInterval | None = None
        self._complete: list[_LogInterval] = []
        self._starts: list[int] = []

    def count(self, seconds: int, event: OldLogEvent | None) -> None:
        """Count one line; lines are counted in order.

        Args:
            seconds: its time.
            event: what happened, if the line has a meaning here.
        """
        if seconds < self._latest - MAX_CLAMPED_STEP:
            self._drop_set_back(seconds)
            self._latest = seconds
        elif seconds > self._latest:
            self._latest = seconds
        if isinstance(event, ProgramStarted):
            self._begin_at_start_line()
            return
        if self._running is not None and self._latest >= self._running.end:
            self._complete_passed(self._running)
        if event is None:
            return
        if isinstance(event, ClientConnected):
            self._count_connection(event)
        elif isinstance(event, ClientFailed):
            self._clients.revoke_failed(event)
        elif isinstance(event, DestinationRefused):
            self._clients.revoke_refused(event)
        elif isinstance(event, HeartbeatTotals):
            self._count_heartbeat(event)
        elif isinstance(event, RunMode) and event.is_client and not self._clients.connections:
            self._running = None
        elif isinstance(event, ProgramStopped):
            self._drop_running(IntervalNote.CUT_SHORT)
            self._is_stopped = True

    def finish(self) -> list[Counts]:
        """Give the complete intervals, sorted by start, at the end of the logs."""
        self._drop_running(IntervalNote.UNFINISHED)
        complete = sorted(self._complete, key=lambda interval: interval.start)
        return [self._final_counts(interval, interval.counts) for interval in complete if interval.counts is not None]

    def _count_connection(self, event: ClientConnected) -> None:
        if self._is_stopped:
            self._notes.after_stop += 1
            return
        if self._running is None:
            self._running = _LogInterval(self._latest)
        self._notes.connections += 1
        self._clients.count(event)

    def _count_heartbeat(self, event: HeartbeatTotals) -> None:
        self._notes.heartbeats += 1
        for interval in (self._previous, self._running):
            if interval is not None:
                interval.compare_heartbeat(self._latest, event)

    def _begin_at_start_line(self) -> None:
        running = self._running
        if running is not None and self._latest >= running.end:
            if self._clients.connections:
                self._notes.add_interval(self._utc(running), IntervalNote.UNSURE)
                self._add_complete(running)
            self._renew_clients()
            self._running = None
        self._drop_running(IntervalNote.CUT_SHORT)
        self._running = _LogInterval(self._latest)
        self._is_stopped = False

    def _drop_set_back(self, seconds: int) -> None:
        """Drop the running interval, and one that the clock went back into: it was not complete after all."""
        self._drop_running(IntervalNote.SET_BACK)
        self._previous = None
        for interval in [one for one in self._complete if one.start <= seconds < one.end]:
            self._notes.add_interval(self._utc(interval), IntervalNote.SET_BACK)
            self._complete.remove(interval)
            self._starts.remove(interval.start)

    def _complete_passed(self, running: _LogInterval) -> None:
        """Complete the running interval and those after it, up to the one that the latest time is in."""
        self._add_complete(running)
        self._renew_clients()
        passed = (self._latest - running.start) // INTERVAL_SECONDS
        following = [_LogInterval(running.start + number * INTERVAL_SECONDS) for number in range(1, passed + 1)]
        self._running = following.pop()
        if self._empty:
            for interval in following:
                self._add_complete(interval)
        self._previous = following[-1] if following else running

    def _add_complete(self, interval: _LogInterval) -> None:
        clients = self._clients
        interval.counts = clients.counts(self._utc(interval))
        interval.is_partly_scrubbed = 0 < clients.scrubbed_connections < clients.connections
        self._previous = interval
        if not clients.connections and not self._empty:
            return
        later = bisect_left(self._starts, interval.start - INTERVAL_SECONDS + 1)
        if later < len(self._starts) and self._starts[later] < interval.end:
            self._notes.add_interval(self._utc(interval), IntervalNote.OVERLAPPING)
            return
        insort(self._starts, interval.start)
        self._complete.append(interval)

    def _drop_running(self, note: IntervalNote) -> None:
        """Drop the running interval, with a note if that loses clients."""
        if self._running is not None:
            if self._empty or self._clients.connections:
                self._notes.add_interval(self._utc(self._running), note)
            self._renew_clients()
            self._running = None

    def _renew_clients(self) -> None:
        """Drop all clients and the secret of their hashes."""
        self._clients = IntervalClients(self._context)
        self._context.renew_secret()

    def _final_counts(self, interval: _LogInterval, counts: Counts) -> Counts:
        """Give an interval's numbers, with a note on what cannot be known of them."""
        if interval.is_partly_scrubbed:
            self._notes.add_interval(counts.interval, IntervalNote.PARTLY_SCRUBBED)
        if counts.clients is not None:
            return counts
        if interval.heartbeat is None:
            self._notes.add_interval(counts.interval, IntervalNote.NO_HEARTBEAT)
            return counts
        return replace(counts, clients={_UNKNOWN_CLIENTS: interval.heartbeat.addresses})

    def _utc(self, interval: _LogInterval) -> Interval:
        return Interval(self._epoch + timedelta(seconds=interval.start))
