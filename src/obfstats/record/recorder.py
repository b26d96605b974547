"""Counting clients without remembering them: the ticket's steps 1 to 6 (ticket 5047), for any transport.

    recorder = Recorder.open(path)
    recorder.record("192.0.2.7", "obfs3")      once for each client whose handshake is done
    recorder.tick()                            about once a minute: writes lines, and ends the interval
    recorder.close()

Rules:

- An address exists from the call of `record` to its return. What stays is a line with the interval's start, a country
  and a hash; never the time of a connection.
- Lines are written by `tick`, never in a client's call, but where the buffer has one line (batches.py).
- An interval lasts 24 hours (clock.py). When it ends, S is renewed at once. Its last lines are written at a random
  moment. A new S with every interval leaves every published number as it is, and no hash links one day to the next
  (decision 2).
- Where the clock was set, the label is wrong: the buffer is dropped, S renewed and a new interval begun. Its start is
  dated back by a random time, because a client's call may have noticed the change.
- The counters for the operator (`pop_counters`) begin anew with every S, and the hashes they were counted from are
  wiped.
- Countries change with the interval, never within it: an address has one country as long as it has one hash.
- A client that has a whole IPv6 network can be 2^64 addresses. tor counts each; with `ipv6_prefix` the rest of the
  address is set to zero before anything is looked up or hashed.
- `close` writes nothing and wipes S (step 6, decision 6).
- Disks, clocks and addresses never make `record` and `tick` raise. One thread at a time may call.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections import deque
from functools import lru_cache, partial
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from obfstats.formats.address import WHOLE_IPV6, Family, pack_address
from obfstats.formats.interval import INTERVAL_SECONDS, Interval
from obfstats.formats.logline import (
    PLAIN_TRANSPORT,
    UNNAMED_TRANSPORT,
    Columns,
    is_transport_name,
    write_columns,
)
from obfstats.record.aggregate import Aggregate
from obfstats.record.batches import CLOSING_DELAY, DEFAULT_BUFFER, MAX_ENDED, Batches
from obfstats.record.clock import Clock, RunningInterval, SystemClock
from obfstats.record.countries import Countries
from obfstats.record.errors import RecordError
from obfstats.record.journal import Journal, make_folder_of
from obfstats.record.secret import Secret
from obfstats.record.sketch import Sketch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

Column: TypeAlias = Literal["transport", "family"]
"""A further column of the log (formats/logline.py)."""

COLUMNS: tuple[Column, ...] = ("transport", "family")
"""All of them, in the order of the line."""

CLOCK_CHECK_SECONDS = 60.0
"""How often `record` and `tick` compare the clocks, at least."""

_log = logging.getLogger(__name__)


class IntervalCounters(NamedTuple):
    """Counters of one interval, for the operator's heartbeat. They are exact: they must never be published like this.

    Attributes:
        seconds: how much of the interval they cover; 86,400 for one that has ended.
        connections: how many were counted.
        addresses: from how many different addresses; from 1,024 on an estimate with an error of some 3 per cent.
        uncounted: how many more were served of which no address is known.
    """

    seconds: float
    connections: int
    addresses: int
    uncounted: int = 0


class EndedInterval(NamedTuple):
    """An interval that has ended.

    Attributes:
        interval: the interval.
        countries: the tables that its addresses were looked up in.
        connections: how many were counted, not rounded. The log may have fewer lines, if the disk refused some.
        uncounted: how many more were served of which no address is known. If there are any, the interval's numbers are
            not those of the bridge.
    """

    interval: Interval
    countries: Countries
    connections: int
    uncounted: int


class Recorder:
    """The ticket's recorder.

    Attributes:
        store: where batches go: a journal, or an aggregate in memory.
        countries: the tables in use.
        ipv6_prefix: bits of an IPv6 address that tell clients apart.
        unreadable: how often `record` was called with text that is no address; those are not counted.
    """

    def __init__(
        self,
        store: Journal | Aggregate,
        countries: Countries,
        *,
        secret: Secret | None = None,
        clock: Clock | None = None,
        draw_delay: Callable[[], float] | None = None,
        random: Random | None = None,
        buffer: int = DEFAULT_BUFFER,
        columns: Sequence[Column] = (),
        ipv6_prefix: int = WHOLE_IPV6,
    ) -> None:
        """Begin the first interval (step 1).

        Args:
            store: where batches go.
            countries: tables of countries.
            secret: S; drawn from the kernel if None.
            clock: the clocks; the machine's own if None.
            draw_delay: draws seconds below CLOSING_DELAY: how long a batch waits, and how far the start of an interval
                is dated back after the clock was set; the kernel's randomness if None.
            random: draws what stays in a full buffer; the kernel's randomness if None.
            buffer: capacity in networks, at least 1.
            columns: the further columns of each line.
            ipv6_prefix: bits of an IPv6 address that tell clients apart, a multiple of 8.
        """
        self.store = store
        self.use_countries(countries)
        self.unreadable = 0
        self._secret = Secret() if secret is None else secret
        self._hash_address = self._secret.hash_address
        self._clock: Clock = SystemClock() if clock is None else clock
        self._boot = self._clock.boot
        self._draw_delay = draw_delay or partial(SystemRandom().uniform, 0.0, CLOSING_DELAY)
        self._columns = frozenset(columns)
        self.ipv6_prefix = ipv6_prefix
        self._prefix_bytes, self._prefix_end = ipv6_prefix // 8, bytes(16 - ipv6_prefix // 8)
        self._batches = Batches(store.append, buffer, self._draw_delay, random or SystemRandom())
        self._entries, self._networks = self._batches.entries, self._batches.networks
        self._max_lines = self._batches.max_lines
        self._sketch = Sketch()
        self._sketch_bound = self._sketch.bound
        self._ended_counters: IntervalCounters | None = None
        self._uncounted = 0
        self._ended_unwritten: deque[EndedInterval] = deque(maxlen=MAX_ENDED)
        self._ended_written: deque[EndedInterval] = deque(maxlen=MAX_ENDED)
        self._clock_was_set = False
        self._warnings: list[str] = []
        self._is_open = True
        _living.add(self)
        now = self._boot()
        self._running = RunningInterval(now, self._clock.wall())
        if isinstance(store, Journal):
            store.begin_marks(self._running.interval)
        self._plan_check(now)

    @classmethod
    def open(
        cls,
        path: str | Path | None,
        *,
        geoip: str | Path | None = None,
        geoip6: str | Path | None = None,
        buffer: int = DEFAULT_BUFFER,
        columns: Sequence[Column] = (),
        ipv6_prefix: int = WHOLE_IPV6,
        make_folder: bool = False,
        clock: Clock | None = None,
        make_tables: bool = True,
    ) -> Recorder:
        """Open a log and begin to count.

        Args:
            path: the statistics log, created with mode 0600 if it does not exist; None to count in memory only.
            geoip: a file in the format of tor's geoip; None for tor's own or the embedded data.
            geoip6: the same for IPv6.
            buffer: of how many networks lines are held before a batch is written, at least 1.
            columns: further columns of each line; in memory all of them are counted.
            ipv6_prefix: bits of an IPv6 address that tell clients apart: a multiple of 8, from 32 to 128.
            make_folder: create the log's folder, for its owner alone, if it does not exist.
            clock: the clocks; the machine's own if None.
            make_tables: make tables of the GeoIP files, which takes a second or more; or look countries up in the files
                themselves, until `countries.reload` and `use_countries`.

        Raises:
            RecordError: if the log or a named GeoIP file cannot be used; nothing on disk has changed then.
        """
        if buffer < 1:
            raise RecordError(f"a buffer for {buffer} networks is too small; give at least 1, better 100 or more")
        open_countries = Countries.open if make_tables else Countries.search
        countries = open_countries(Path(geoip) if geoip else None, Path(geoip6) if geoip6 else None)
        if path is not None and make_folder:
            make_folder_of(Path(path))
        secret = Secret()
        # Logged at the next tick: when a client's call meets trouble, the time of the warning would date the client.
        warnings: list[str] = []
        try:
            store = Aggregate(warn=warnings.append) if path is None else Journal(Path(path), warn=warnings.append)
        except RecordError:
            secret.wipe()
            raise
        if not secret.locked:
            _log.warning("the kernel does not lock memory (ulimit -l, madvise): the secret could reach a disk")
        further = COLUMNS if path is None else columns
        if path is None:
            # Nothing is written, so there is no order to hide: each line is counted soon, and its text freed.
            buffer = 1
        recorder = cls(
            store, countries, secret=secret, clock=clock, buffer=buffer, columns=further, ipv6_prefix=ipv6_prefix
        )
        recorder._warnings = warnings
        return recorder

    def record(self, address: str, transport: str | None = None) -> None:
        """Count one client (steps 2 to 5): its handshake is done and its connection was accepted.

        Args:
            address: the client's IP address as text, without port. IPv4-mapped IPv6 counts as IPv4.
            transport: the transport's name, for logs with that column.

        Raises:
            RecordError: after `close`.
        """
        try:
            packed = pack_address(address)
        except ValueError:
            # The clocks are checked all the same.
            self._check_clocks(self._boot())
            self.unreadable += 1
            return
        self.record_packed(packed, transport)

    def record_packed(self, packed: bytes, transport: str | None = None) -> None:
        """Count one client, as `record` does.

        Args:
            packed: the client's IP address, 4 or 16 bytes (formats/address.py).
            transport: the transport's name, for logs with that column.

        Raises:
            RecordError: after `close`.
        """
        now = self._boot()
        if now >= self._due:
            self._check_clocks(now)
        is_v4 = len(packed) == 4
        if is_v4:
            country = self._country_v4(packed)
        else:
            if self._prefix_end:
                packed = packed[: self._prefix_bytes] + self._prefix_end
            country = self._country_v6(packed)
        entries = self._entries
        if len(entries) >= self._max_lines:
            self._batches.make_space(self._running.interval, now)
        hash_hex = self._hash_address(packed).hex()
        if hash_hex < self._sketch_bound:
            self._sketch_bound = self._sketch.add(hash_hex)
        # An entry (formats/logline.py), put together here because this runs for every connection.
        if self._columns:
            entries.append(f"{country} {hash_hex}{_suffix(self._columns, transport, 'v4' if is_v4 else 'v6')}")
        else:
            entries.append(f"{country} {hash_hex}")
        # Networks are only compared: 16 bits of a keyed hash are enough, and reveal less than the network.
        self._networks.append(hash(packed[: 3 if is_v4 else 6]) & 0xFFFF)

    def record_uncounted(self) -> None:
        """Note a client that was served and whose address is not known: this interval lacks it.

        Raises:
            RecordError: after `close`.
        """
        now = self._boot()
        if now >= self._due:
            self._check_clocks(now)
        self._uncounted += 1

    def tick(self) -> None:
        """Do what is due: end the interval, write batches, follow a rotated log, try the disk again."""
        if not self._is_open:
            return
        now = self._boot()
        self._check_clocks(now)
        if self._clock_was_set:
            self._clock_was_set = False
            _log.warning("the clock was set: a new interval has begun, and what was in the buffer is dropped")
        self._batches.tick(self._running.interval, now)
        if isinstance(self.store, Journal):
            self.store.tick(now)
        self._collect_written(now)
        while self._warnings:
            _log.warning("%s", self._warnings.pop(0))

    def pop_counters(self) -> IntervalCounters:
        """Give the counters of the interval that ended since the last call, if one has; else of the running one.

        If several ended, these are the counters of the last one in which `record`, `tick` or `pop_counters` was called.
        Lines that were dropped because the clock was set are not counted. After `close` all is zero.
        """
        if not self._is_open:
            return IntervalCounters(0.0, 0, 0)
        now = self._boot()
        self._check_clocks(now)
        ended, self._ended_counters = self._ended_counters, None
        return self._read_counters(now - self._running.began) if ended is None else ended

    def pop_written(self) -> list[EndedInterval]:
        """Give the intervals that have ended and of which no more lines will be written, each once, after a tick."""
        popped = list(self._ended_written)
        self._ended_written.clear()
        return popped

    def not_fully_written(self) -> list[Interval]:
        """Give the intervals of which lines may still be written, and those that `pop_written` will give."""
        ended = (*self._ended_written, *self._ended_unwritten)
        return [self._running.interval, *(each.interval for each in ended)]

    def reopen(self) -> None:
        """Follow a rotated log now (SIGHUP), instead of at the next tick; S and TS stay."""
        if isinstance(self.store, Journal):
            self.store.reopen(self._boot())

    def replace_countries(self, countries: Countries) -> None:
        """Use other tables from the next interval on; `countries` is what is in use until then."""
        self._next_countries = countries

    def use_countries(self, countries: Countries) -> None:
        """Use tables of the same files at once; with those of others an address could have two countries."""
        self.countries = self._next_countries = countries
        self._country_v4, self._country_v6 = countries.v4, countries.v6

    def close(self) -> None:
        """Stop: wipe S, write nothing (step 6). Calling it again does nothing."""
        if self._is_open:
            self._is_open = False
            self._secret.wipe()
            self._sketch.wipe()
            self._batches.drop_all()
            self.store.close()
            self._due = float("-inf")

    def _collect_written(self, now: float) -> None:
        """Collect the intervals whose last lines are written, and have them marked as whole."""
        written = [] if self.store.held else self._batches.pop_written(now)
        for each in [each for each in self._ended_unwritten if each.interval in written]:
            self._ended_unwritten.remove(each)
            self._ended_written.append(each)
            if isinstance(self.store, Journal) and not each.uncounted:
                self.store.mark_whole(each.interval, each.connections)

    def _check_clocks(self, now: float) -> None:
        """Begin another interval if this one is over, or the clock was set."""
        if not self._is_open:
            raise RecordError("this recorder is closed; open another")
        wall = self._clock.wall()
        if self._running.clock_was_set(now, wall):
            self._clock_was_set = True
            self._batches.drop_interval()
            if isinstance(self.store, Aggregate):
                self.store.wipe_interval(self._running.interval)
            self._renew()
            # The start is dated back by a random time, so that it does not date the client whose call noticed this.
            self._running = RunningInterval(now, wall, ago=self._draw_delay())
        elif self._running.has_ended(now):
            self._end_interval(now)
        self._plan_check(now)

    def _end_interval(self, now: float) -> None:
        """Step 3: the lines that are left are written later; TS steps on."""
        interval = self._running.interval
        self._ended_counters = self._read_counters(INTERVAL_SECONDS)
        self._ended_unwritten.append(
            EndedInterval(interval, self.countries, self._batches.connections, self._uncounted)
        )
        self._batches.end_interval(interval, now)
        self._renew()
        self._running.step(now)

    def _renew(self) -> None:
        """Draw a new S, begin the counters that depend on it anew, and use the tables of countries that are ready."""
        self._secret.renew()
        self._sketch.wipe()
        self._sketch_bound = self._sketch.bound
        self._uncounted = 0
        self.use_countries(self._next_countries)

    def _read_counters(self, seconds: float) -> IntervalCounters:
        connections = self._batches.connections
        return IntervalCounters(seconds, connections, min(self._sketch.estimate(), connections), self._uncounted)

    def _plan_check(self, now: float) -> None:
        """Work out when the clocks are checked next."""
        self._due = min(self._running.end, now + CLOCK_CHECK_SECONDS)


@lru_cache(maxsize=1000)
def _suffix(columns: frozenset[Column], transport: str | None, family: Family) -> str:
    """Write a line's further columns. No transport is `<OR>`; a name that the log's grammar forbids becomes `<??>`."""
    name = PLAIN_TRANSPORT if transport is None else transport if is_transport_name(transport) else UNNAMED_TRANSPORT
    return write_columns(Columns(name if "transport" in columns else None, family if "family" in columns else None))


def _close_all() -> None:
    for recorder in list(_living):
        recorder.close()


# A forked child has its parent's buffer and log, but not its secret: it must neither write nor count.
_living: weakref.WeakSet[Recorder] = weakref.WeakSet()
os.register_at_fork(after_in_child=_close_all)
