"""Counting clients without remembering them: the ticket's steps 1 to 6 (ticket 5047), for any transport.

    recorder = Recorder.open(path)
    recorder.record("192.0.2.7", "obfs3")      once for each client whose handshake is done
    recorder.tick()                            about once a minute, so that a quiet day ends too
    recorder.close()

What is kept, and what must never happen:

- An address lives from the call of `record` to its return. What stays is a line with the interval's start, a country
  and a keyed hash; never a time of a connection.
- An interval lasts 24 hours (interval.py). When it ends, S is renewed at once, and its last lines are written later,
  at a moment that is no client's (batches.py). A new S with every interval leaves every published number as it is, and
  nobody can be followed into the next day (decision 2).
- Where somebody set the clock, the label is wrong: the buffer is dropped, S renewed, a new interval begun, as of a
  random moment before: it may have been a client that noticed.
- What is counted for the operator (`seen`) begins anew with every S, and what it is counted by is wiped with it.
- Countries change with the interval, never within it: an address has one country as long as it has one hash.
- `close` writes nothing and wipes S (step 6, decision 6).
- Nothing here raises for what a disk, a clock or an address may be. One thread at a time may call.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections import deque
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING

from obfstats.formats.address import pack_address
from obfstats.record.batches import CLOSING_DELAY, DEFAULT_BUFFER, SOME, Batches
from obfstats.record.clock import Clock, SystemClock
from obfstats.record.columns import COLUMNS, Column, further_columns
from obfstats.record.errors import RecordError
from obfstats.record.interval import INTERVAL, Interval
from obfstats.record.opening import open_parts
from obfstats.record.secret import Secret
from obfstats.record.seen import Finished, Seen
from obfstats.record.sketch import Sketch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from obfstats.record.countries import Countries
    from obfstats.record.store import Store

__all__ = ["ATTENTION", "CLOSING_DELAY", "COLUMNS", "DEFAULT_BUFFER", "INTERVAL", "Column", "Recorder"]

ATTENTION = 60.0
"""Seconds at most between two looks at the clocks and the disk, while there are connections or ticks."""

_log = logging.getLogger(__name__)


class Recorder:
    """The ticket's recorder.

    Attributes:
        store: where batches go.
        countries: who gives an address its country.
        unreadable: how often `record` was given what is no address; those are not counted as clients.
    """

    def __init__(
        self,
        store: Store,
        countries: Countries,
        *,
        secret: Secret | None = None,
        clock: Clock | None = None,
        closing_delay: Callable[[], float] | None = None,
        buffer: int = DEFAULT_BUFFER,
        columns: Sequence[Column] = (),
    ) -> None:
        """Begin the first interval (step 1).

        Args:
            store: where batches go.
            countries: who gives an address its country.
            secret: S; drawn from the kernel if None.
            clock: what tells the time; the machine's own if None.
            closing_delay: draws the seconds that a closing batch waits; the kernel's randomness if None.
            buffer: capacity in lines, at least 1.
            columns: which further columns each line gets.
        """
        self.countries = self._next_countries = countries
        self.unreadable = 0
        self.store = store
        self._country_v4, self._country_v6 = countries.v4, countries.v6
        self._secret = Secret() if secret is None else secret
        self._hash_address = self._secret.hash_address
        self._clock: Clock = SystemClock() if clock is None else clock
        self._boot = self._clock.boot
        self._closing_delay = closing_delay or partial(SystemRandom().uniform, 0.0, CLOSING_DELAY)
        self._columns = frozenset(columns) or None
        self._batches = Batches(store, buffer, self._closing_delay)
        self._buffer = self._batches.buffer
        self._sketch = Sketch()
        self._sketch_bound = self._sketch.bound
        self._ended: Seen | None = None
        self._finishing: deque[Finished] = deque(maxlen=SOME)
        self._clock_was_set = False
        self._unsaid: list[str] = []
        self._open = True
        _living.add(self)
        now = self._boot()
        self._interval = Interval(now, self._clock.wall())
        self._plan(now)

    @classmethod
    def open(
        cls,
        path: str | Path | None,
        *,
        geoip: str | Path | None = None,
        geoip6: str | Path | None = None,
        buffer: int = DEFAULT_BUFFER,
        columns: Sequence[Column] = (),
        make_folder: bool = False,
        clock: Clock | None = None,
    ) -> Recorder:
        """Open a log and begin to count.

        Args:
            path: the statistics log, made with mode 0600 if it is not there; None to count in memory alone.
            geoip: a file in the form of tor's geoip; None for tor's own or the embedded data.
            geoip6: the same for IPv6.
            buffer: lines held before a batch is written, at least 1.
            columns: further columns for each line.
            make_folder: make the log's folder, for its owner alone, if it is not there.
            clock: what tells the time; the machine's own if None.

        Raises:
            RecordError: if the log or a named GeoIP file cannot be used; nothing on disk has changed then.
        """
        parts = open_parts(path, buffer=buffer, geoip=geoip, geoip6=geoip6, make_folder=make_folder)
        further = COLUMNS if path is None else columns
        recorder = cls(parts.store, parts.countries, secret=parts.secret, clock=clock, buffer=buffer, columns=further)
        recorder._unsaid = parts.unsaid
        return recorder

    def record(self, address: str, transport: str | None = None) -> None:
        """Count one client (steps 2 to 5): its handshake is done and its connection was passed on.

        Args:
            address: the client's IP address as text, without port. IPv4-mapped IPv6 counts as IPv4.
            transport: the transport's name, for logs with that column.

        Raises:
            RecordError: after `close`.
        """
        try:
            packed = pack_address(address)
        except ValueError:
            self.unreadable += 1
            return
        self.record_packed(packed, transport)

    def record_packed(self, packed: bytes, transport: str | None = None) -> None:
        """Count one client, as `record` does.

        Args:
            packed: the client's IP address as `pack_address` returns it.
            transport: the transport's name, for logs with that column.

        Raises:
            RecordError: after `close`.
        """
        now = self._boot()
        if now >= self._due:
            self._attend(now)
        country = self._country_v4(packed) if len(packed) == 4 else self._country_v6(packed)
        buffer = self._buffer
        if len(buffer) >= self._room:
            self._batches.make_room(self._interval.label, now)
            self._plan(now)
        digest = self._hash_address(packed).hex()
        if digest < self._sketch_bound:
            self._sketch_bound = self._sketch.add(digest)
        columns = self._columns
        if columns is None:
            buffer.append(f"{country} {digest}")
        else:
            buffer.append(f"{country} {digest}{further_columns(columns, transport, packed)}")

    def tick(self) -> None:
        """End the interval, write the closing batch, try the disk again: whatever is due by now."""
        if not self._open:
            return
        now = self._boot()
        self._attend(now)
        if self._clock_was_set:
            self._clock_was_set = False
            _log.warning("the clock was set: a new interval has begun, and what was in the buffer is dropped")
        self._batches.tick(now)
        # What a client's line has brought to light is said now: its own moment would be in the operator's log.
        while self._unsaid:
            _log.warning("%s", self._unsaid.pop(0))
        self._plan(now)

    def seen(self) -> Seen:
        """Tell what a heartbeat tells: the interval that ended since the last call, if one has; else the running one.

        Of several that ended it is the last that somebody came to look after: a sleep of days counts as one. Lines that
        were dropped because the clock was set are not in it. After `close` all is zero.
        """
        if not self._open:
            return Seen(0.0, 0, 0)
        now = self._boot()
        self._attend(now)
        ended, self._ended = self._ended, None
        return self._counted(now - self._interval.began) if ended is None else ended

    def finished(self) -> list[Finished]:
        """Give the intervals that are over and wholly written, each once."""
        written = [] if self.store.held else self._batches.take_finished(self._boot())
        finished = [each for each in self._finishing if each.label in written]
        for each in finished:
            self._finishing.remove(each)
        return finished

    def unfinished(self) -> list[str]:
        """Give the labels of the intervals that lines may still come for."""
        return [self._interval.label, *(each.label for each in self._finishing)]

    def reopen(self) -> None:
        """Follow a log that was rotated away at once (SIGHUP), instead of with the next tick; S and TS stay."""
        self.store.reopen(self._boot())

    def replace_countries(self, countries: Countries) -> None:
        """Have the next interval's clients looked up elsewhere.

        Args:
            countries: who gives an address its country from then on; `countries` is the one in use.
        """
        self._next_countries = countries

    def close(self) -> None:
        """Stop: wipe S, write nothing (step 6). Calling it again does nothing."""
        if self._open:
            self._open = False
            self._secret.wipe()
            self._sketch.forget()
            self._batches.forget()
            self.store.close()
            self._due = float("-inf")

    def _attend(self, now: float) -> None:
        """See whether the interval is over, or the clock was set."""
        if not self._open:
            raise RecordError("this recorder is closed; open another")
        wall = self._clock.wall()
        if self._interval.clock_was_set(now, wall):
            self._clock_was_set = True
            self._batches.drop_interval()
            self.store.forget(self._interval.label.rstrip())
            self._renew()
            self._interval = Interval(now, wall, ago=self._closing_delay())
        elif self._interval.is_over(now):
            self._end_interval(now)
        self._plan(now)

    def _end_interval(self, now: float) -> None:
        """Step 3: the lines that are left are for later; TS moves on."""
        self._ended = self._counted(INTERVAL)
        self._finishing.append(Finished(self._interval.label, self.countries, self._batches.counted))
        self._batches.end_interval(self._interval.label, now)
        self._renew()
        self._interval.step(now)

    def _renew(self) -> None:
        """Draw a new S. Under it everybody is new: forget who came, and take up the countries that are ready."""
        self._secret.renew()
        self._sketch.forget()
        self._sketch_bound = self._sketch.bound
        self.countries = self._next_countries
        self._country_v4, self._country_v6 = self.countries.v4, self.countries.v6

    def _counted(self, seconds: float) -> Seen:
        """Say what has been counted under this S."""
        connections = self._batches.counted
        return Seen(seconds, connections, min(self._sketch.estimate(), connections))

    def _plan(self, now: float) -> None:
        """Work out when to look up next, and note how much room there is."""
        self._due = min(self._interval.end, now + ATTENTION)
        self._room = self._batches.room


def _close_all() -> None:
    for recorder in list(_living):
        recorder.close()


# A forked child has its parent's buffer and log, and none of its secret: it must neither write nor count.
_living: weakref.WeakSet[Recorder] = weakref.WeakSet()
os.register_at_fork(after_in_child=_close_all)
