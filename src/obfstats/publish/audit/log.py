"""The audit of a statistics log (docs/statistics-log.md): what it tells whoever takes the disk.

It must not leave the machine whatever is found; the findings say how much is at stake, and whether something is wrong
with it beyond that. Memory is that of the hashes, each once.
"""

from __future__ import annotations

from binascii import unhexlify
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from obfstats.formats.interval import INTERVAL_SECONDS
from obfstats.formats.logline import MAX_LINE_LENGTH
from obfstats.publish.audit.findings import Finding, numbered
from obfstats.publish.audit.intervals import Country, Interval
from obfstats.publish.audit.strangers import has_address
from obfstats.publish.simple import HEX_DIGITS, OVER_AFTER, further_columns, is_date_time_country

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_START = slice(0, 19)
_BEGIN = slice(0, 23)
_HASH = slice(23, 63)
_END = slice(63, None)

_FEW = 7
"""Intervals that are named one by one."""

_SORTED = 4
"""Lines that follow each other in order, on average, where batches are sorted; in a random order they are two."""

_TICKETS_BATCH = 100


def audit_log(lines: Iterable[bytes], now: datetime, mode: int | None) -> list[Finding]:
    """Say what a log gives away.

    Args:
        lines: the file's, with their ends.
        now: the time, UTC.
        mode: the file's permissions; None where it has none.
    """
    log = _Log()
    for line in lines:
        log.take(line)
    starts = sorted(log.intervals)
    return [
        Finding(
            "Every line has a client's hash. A log must never leave the machine, whatever is in it.", is_alarm=True
        ),
        *_mode(mode),
        *_reuse(log),
        *_size(log),
        *_singles(log),
        *_batches(log, now),
        *_unfinished(starts, now),
        *_cut_short(starts),
    ]


class _Log:
    """What has been read of a log."""

    def __init__(self) -> None:
        self.lines = 0
        self.damaged = 0
        self.addresses = 0
        self.intervals: dict[str, Interval] = {}
        self.hashes: dict[bytes, Interval] = {}
        self.reused: set[bytes] = set()
        self._countries: dict[bytes, tuple[Interval, Country]] = {}
        self._latest: Interval | None = None

    def take(self, line: bytes) -> None:
        """Take one line, as simple.py reads it."""
        self.lines += 1
        begin, scrambled = line[_BEGIN], line[_HASH]
        known = self._countries.get(begin)
        if (
            len(line) > MAX_LINE_LENGTH
            or len(scrambled) < 40
            or scrambled.translate(None, HEX_DIGITS)
            or further_columns(line[_END]) is None
            or (known is None and not is_date_time_country(begin))
        ):
            self.damaged += 1
            self.addresses += has_address(line)
            return
        interval, country = known or self._add(begin)
        client = unhexlify(scrambled)
        country.take(client)
        interval.take(line, is_next=interval is self._latest)
        self._latest = interval
        if self.hashes.setdefault(client, interval) is not interval:
            self.reused.add(client)

    def _add(self, begin: bytes) -> tuple[Interval, Country]:
        """Begin a country of an interval."""
        interval = self.intervals.setdefault(begin[_START].decode(), Interval())
        country = Country()
        interval.countries.append(country)
        self._countries[begin] = interval, country
        return interval, country


def _mode(mode: int | None) -> Iterator[Finding]:
    if mode is not None and mode & 0o077:
        yield Finding(
            f"Its permissions are {mode & 0o777:04o}: others on this machine may open it. Run chmod 600 on it.",
            is_alarm=True,
        )


def _reuse(log: _Log) -> Iterator[Finding]:
    if log.reused:
        yield Finding(
            f"{numbered(len(log.reused), 'hash is', 'hashes are')} in more than one interval: the secret was not "
            "changed, and these clients can be followed from day to day. Delete the log as soon as it is converted.",
            is_alarm=True,
        )
    if log.addresses:
        yield Finding(
            f"{numbered(log.addresses, 'damaged line holds', 'damaged lines hold')} what looks like an IP address.",
            is_alarm=True,
        )


def _size(log: _Log) -> Iterator[Finding]:
    intervals = log.intervals
    least, most = (choice(interval.lines for interval in intervals.values()) for choice in (min, max))
    size = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    yield Finding(
        f"{numbered(log.lines, 'line')} in {numbered(len(intervals), 'interval')}, {size} in each: so many connections "
        "there were, exactly."
    )
    if len(intervals) <= _FEW:
        for start, interval in sorted(intervals.items()):
            countries = numbered(len(interval.countries), "country", "countries")
            yield Finding(f"The interval from {start}: {numbered(interval.lines, 'line')} of {countries}.")
    if log.damaged:
        yield Finding(
            f"{numbered(log.damaged, 'line is', 'lines are')} damaged; `obfstats convert` leaves such lines out."
        )


def _singles(log: _Log) -> Iterator[Finding]:
    countries = [country for interval in log.intervals.values() for country in interval.countries]
    singles = [country.lines for country in countries if country.is_single]
    if singles:
        yield Finding(
            f"{len(singles):,} of {numbered(len(countries), 'country-day')} ({len(singles) * 100 // len(countries)} %) "
            f"{'has' if len(singles) == 1 else 'have'} a single client: how often that one came can be seen, "
            f"{'once' if max(singles) == 1 else f'{max(singles):,} times'} at most."
        )


def _batches(log: _Log, now: datetime) -> Iterator[Finding]:
    """Say how closely a line can be dated by the batch that it was written with."""
    lengths = _lengths(log, now)
    lines = sum(interval.lines for interval in log.intervals.values())
    runs = sum(interval.runs for interval in log.intervals.values())
    if runs * _SORTED > lines and runs > len(log.intervals):
        start, batches = max(
            ((start, -(-interval.lines // _TICKETS_BATCH)) for start, interval in log.intervals.items()),
            key=lambda one: one[1] / lengths[one[0]],
        )
        yield Finding(
            "The lines are in no order that shows batches: they were shuffled, or written a few at a time, or stand as "
            f"the clients came. In shuffled batches of {_TICKETS_BATCH} (ticket 5047) a line of the interval from "
            f"{start} can be dated to {_minutes(lengths[start], batches)}, else to less."
        )
    elif runs > len(log.intervals):
        start, worst = max(log.intervals.items(), key=lambda one: one[1].runs / lengths[one[0]])
        yield Finding(
            f"The interval from {start} was written in {numbered(worst.runs, 'batch', 'batches')}, mostly of "
            f"{numbered(worst.usual_run, 'line')}: a line in it can be dated to {_minutes(lengths[start], worst.runs)} "
            "on average, in busy hours to less. A larger --stats-buffer hides more."
        )
    else:
        yield Finding("Each interval is sorted as a whole: the order of lines dates no client within it.")


def _lengths(log: _Log, now: datetime) -> dict[str, int]:
    """Give the seconds of each interval as far as it went."""
    starts = sorted(log.intervals)
    ends = [*map(_moment, starts[1:]), now]
    return {
        start: min(INTERVAL_SECONDS, max(1, int((end - _moment(start)).total_seconds())))
        for start, end in zip(starts, ends, strict=True)
    }


def _minutes(seconds: int, batches: int) -> str:
    minutes = round(seconds / batches / 60)
    return numbered(minutes, "minute") if minutes else "less than a minute"


def _unfinished(starts: list[str], now: datetime) -> Iterator[Finding]:
    early = [start for start in starts if now - _moment(start) < OVER_AFTER]
    if early:
        yield Finding(
            f"{numbered(len(early), 'interval is', 'intervals are')} not over yet, the last one began at {early[-1]}: "
            "`obfstats convert` leaves it out. While it lasts the secret is in memory, and whoever takes the running "
            "machine can turn its hashes back into addresses."
        )


def _cut_short(starts: list[str]) -> Iterator[Finding]:
    day = timedelta(seconds=INTERVAL_SECONDS)
    short = sum(_moment(later) - _moment(earlier) < day for earlier, later in pairwise(starts))
    if short:
        yield Finding(
            f"{numbered(short, 'interval was', 'intervals were')} cut short by a restart, whose moment shows; "
            "documents leave such a day out."
        )


def _moment(start: str) -> datetime:
    return datetime.fromisoformat(start).replace(tzinfo=UTC)
