"""Counting clients without remembering them: the ticket's steps 1 to 6 (ticket 5047), for any transport.

    recorder = Recorder.open(path)
    recorder.record("192.0.2.7", "obfs3")      once for each client whose handshake is done
    recorder.tick()                            about once a minute, so that a quiet day ends too
    recorder.close()

What is kept, and what must never happen:

- An address lives from the call of `record` to its return. What stays is a line with the interval's start, a country
  and a keyed hash; never a time of a connection.
- An interval lasts 24 hours of boot time. When it ends, S is renewed at once and the interval's last lines become the
  closing batch. A tick writes it after a random delay; a client's call never does, unless closing batch and buffer
  are full together. So its moment says nothing of a client. A new S with every interval leaves every published number
  as it is, and nobody can be followed into the next day (decision 2).
- Every batch but the closing one has exactly `buffer` lines: no client is written alone.
- Closing batch and buffer together hold at most `buffer` lines: that is what a crash can lose.
- Where wall and boot time part by more than ten minutes, somebody set the clock and the label is wrong: the buffer is
  dropped, S renewed, a new interval begun, as of a random moment before: it may have been a client that noticed.
- `close` writes nothing and wipes S (step 6, decision 6).
- Nothing here raises for what a disk, a clock or an address may be. One thread at a time may call.
"""

from __future__ import annotations

import logging
import os
import time
import weakref
from functools import partial
from hashlib import blake2b
from pathlib import Path
from random import SystemRandom
from socket import AF_INET, inet_pton
from typing import TYPE_CHECKING, Literal, TypeAlias

from obfstats.formats.logline import is_transport_name
from obfstats.record.clock import Clock, SystemClock
from obfstats.record.countries import Countries, pack_address
from obfstats.record.errors import RecordError
from obfstats.record.journal import Journal
from obfstats.record.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Column: TypeAlias = Literal["transport", "family"]
"""A further column of the log."""

COLUMNS: tuple[Column, ...] = ("transport", "family")
"""All of them, in the order of the line."""

INTERVAL = 86_400
"""Seconds: Tor's interval, and the ticket's."""

DEFAULT_BUFFER = 100
"""Lines: the ticket's. Higher numbers hide more."""

CLOSING_DELAY = 600.0
"""Seconds after an interval's end within which its last lines are written."""

CLOCK_TOLERANCE = 600.0
"""Seconds that wall and boot time may part before the label is taken for wrong."""

ATTENTION = 60.0
"""Seconds at most between two looks at the clocks and the disk, while there are connections or ticks."""

_HASH_SIZE = 20
# Wall clocks outside of this are taken for its ends: an interval's start must be a date that can be written.
_FIRST_WALL, _LAST_WALL = 86_400, 253_402_300_799

_log = logging.getLogger(__name__)


class Recorder:
    """The ticket's recorder.

    Attributes:
        countries: who gives an address its country.
        unreadable: how often `record` was given what is no address; those are not counted as clients.
    """

    def __init__(
        self,
        journal: Journal,
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
            journal: where batches go.
            countries: who gives an address its country.
            secret: S; drawn from the kernel if None.
            clock: what tells the time; the machine's own if None.
            closing_delay: draws the seconds that a closing batch waits; the kernel's randomness if None.
            buffer: capacity in lines, at least 1.
            columns: which further columns each line gets.
        """
        self.countries = countries
        self.unreadable = 0
        self._journal = journal
        self._country_v4, self._country_v6 = countries.v4, countries.v6
        self._secret = Secret() if secret is None else secret
        self._hash = partial(blake2b, digest_size=_HASH_SIZE, key=self._secret.key)
        self._clock: Clock = SystemClock() if clock is None else clock
        self._boot = self._clock.boot
        self._closing_delay = closing_delay or partial(SystemRandom().uniform, 0.0, CLOSING_DELAY)
        self._columns = frozenset(columns)
        self._capacity = buffer
        self._buffer: list[str] = []
        self._closing: list[str] = []
        self._closing_label = ""
        self._closing_due = 0.0
        self._clock_was_set = False
        self._open = True
        _living.add(self)
        now = self._boot()
        self._begin(now, now)
        self._plan(now)

    @classmethod
    def open(
        cls,
        path: str | Path,
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
            path: the statistics log; made with mode 0600 if it is not there.
            geoip: a file in the form of tor's geoip; None for tor's own or the embedded data.
            geoip6: the same for IPv6.
            buffer: lines held before a batch is written, at least 1.
            columns: further columns for each line.
            make_folder: make the log's folder, for its owner alone, if it is not there.
            clock: what tells the time; the machine's own if None.

        Raises:
            RecordError: if the log or a named GeoIP file cannot be used; nothing on disk has changed then.
        """
        if buffer < 1:
            raise RecordError(f"a buffer of {buffer} lines holds none; give at least 1, better 100 or more")
        countries = Countries.open(Path(geoip) if geoip else None, Path(geoip6) if geoip6 else None)
        path = Path(path)
        if make_folder:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise RecordError(f"cannot make {path.parent}: {error.strerror}; name another folder") from None
        secret = Secret()
        try:
            journal = Journal(path, warn=_log.warning)
        except RecordError:
            secret.forget()
            raise
        if not secret.locked:
            _log.warning("the kernel does not lock memory (ulimit -l): the secret could reach a swap file")
        return cls(journal, countries, secret=secret, clock=clock, buffer=buffer, columns=columns)

    def record(self, address: str, transport: str | None = None) -> None:
        """Count one client (steps 2 to 5): its handshake is done and its connection was passed on.

        Args:
            address: the client's IP address as text, without port. IPv4-mapped IPv6 counts as IPv4.
            transport: the transport's name, for logs with that column.

        Raises:
            RecordError: after `close`.
        """
        now = self._boot()
        if now >= self._due:
            self._attend(now)
        try:
            packed = inet_pton(AF_INET, address)
            country = self._country_v4(packed)
        except (OSError, ValueError):
            try:
                packed = pack_address(address)
            except ValueError:
                self.unreadable += 1
                return
            country = self._country_v4(packed) if len(packed) == 4 else self._country_v6(packed)
        buffer = self._buffer
        if len(buffer) >= self._room:
            self._flush(now)
        further = self._further(transport, packed) if self._columns else ""
        buffer.append(f"{country} {self._hash(packed).hexdigest()}{further}")

    def tick(self) -> None:
        """End the interval, write the closing batch, try the disk again: whatever is due by now."""
        if not self._open:
            return
        now = self._boot()
        self._attend(now)
        if self._clock_was_set:
            self._clock_was_set = False
            _log.warning("the clock was set: a new interval has begun, and what was in the buffer is dropped")
        if self._closing and now >= self._closing_due:
            self._write_closing(now)
            self._plan(now)
        self._journal.retry(now)

    def close(self) -> None:
        """Stop: wipe S, write nothing (step 6). Calling it again does nothing."""
        if self._open:
            self._open = False
            self._secret.forget()
            self._buffer.clear()
            self._closing.clear()
            self._journal.close()
            self._due = float("-inf")

    def _begin(self, now: float, began: float) -> None:
        """Note TS, for an interval that began at that boot time."""
        self._clocks_apart = self._wall() - now
        self._began, self._start = began, int(began + self._clocks_apart)
        self._enter()

    def _wall(self) -> float:
        """Read the wall clock, within what can be written."""
        return min(max(self._clock.wall(), _FIRST_WALL), _LAST_WALL)

    def _enter(self) -> None:
        """Make what every line of the interval begins with."""
        self._label = time.strftime("%Y-%m-%d %H:%M:%S ", time.gmtime(min(self._start, _LAST_WALL)))

    def _attend(self, now: float) -> None:
        """See whether the interval is over, or the clock was set."""
        if not self._open:
            raise RecordError("this recorder is closed; open another")
        apart = self._wall() - now - self._clocks_apart
        if abs(apart) > CLOCK_TOLERANCE or now < self._began:
            self._clock_was_set = True
            self._buffer.clear()
            self._secret.renew()
            self._begin(now, now - self._closing_delay())
        elif now - self._began >= INTERVAL:
            self._end_interval(now)
        self._plan(now)

    def _end_interval(self, now: float) -> None:
        """Step 3: TS moves on in whole intervals; S is renewed; the lines that are left become the closing batch."""
        while now - self._began >= INTERVAL:
            self._began += INTERVAL
            self._start += INTERVAL
        if self._closing:
            self._write_closing(now)
        self._closing, self._buffer = self._buffer, []
        self._closing_label, self._closing_due = self._label, now + self._closing_delay()
        self._secret.renew()
        self._enter()

    def _plan(self, now: float) -> None:
        """Work out when to look up next, and how much room the closing batch leaves."""
        self._due = min(self._began + INTERVAL, now + ATTENTION)
        self._room = self._capacity - len(self._closing)

    def _flush(self, now: float) -> None:
        """Step 4: no room for another message. What is full goes: the closing batch by itself, or else the buffer."""
        if self._closing:
            self._write_closing(now)
        else:
            self._journal.append(self._label, self._buffer, now)
            self._buffer.clear()
        self._plan(now)

    def _write_closing(self, now: float) -> None:
        self._journal.append(self._closing_label, self._closing, now)
        self._closing.clear()

    def _further(self, transport: str | None, packed: bytes) -> str:
        """Make a line's further columns."""
        columns = ""
        if "transport" in self._columns:
            columns = " <OR>" if transport is None else f" {transport}" if is_transport_name(transport) else " <??>"
        if "family" in self._columns:
            columns += " v4" if len(packed) == 4 else " v6"
        return columns


def _close_all() -> None:
    for recorder in list(_living):
        recorder.close()


# A forked child has its parent's buffer and log, and none of its secret: it must neither write nor count.
_living: weakref.WeakSet[Recorder] = weakref.WeakSet()
os.register_at_fork(after_in_child=_close_all)
