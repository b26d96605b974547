"""Where a publisher gets the numbers of an interval from: the bridge's own log, or memory (`--aggregate`).

The log:

    clients.log              the log
    clients.log.1            what it was rotated into (formats/lognames.py), compressed or not

- A file that cannot be read is left out and reported. It matters only if lines of the interval are missing.
- Hashes are held in memory that is wiped, one interval at a time. Lines of other intervals are not kept.
- Counting, syncing and removing run on a thread, because a disk may hang. Removing lines from the log does not stop
  the recorder (record/rewriting.py).
- Of an interval that this program has recorded, the number of connections is known. Of one that an earlier program has
  recorded, only the number of files with lines of it is known, from the ledger.

Memory: what was counted is wiped as soon as it has been handed over.
"""

from __future__ import annotations

import io
import logging
import os
import stat
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from obfstats.bridge import threads
from obfstats.bridge.logs import NOTICE
from obfstats.formats.interval import INTERVAL_SECONDS, LABEL_LENGTH, Interval, format_time, parse_time
from obfstats.formats.logline import ENTRY_OFFSET, is_line
from obfstats.formats.lognames import ledger_of, log_of
from obfstats.lockedfile import sync_folder
from obfstats.publish.logfiles import LogFileError, find
from obfstats.publish.logreader import read_blocks
from obfstats.record.aggregate import Aggregate
from obfstats.record.clock import CLOCK_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from obfstats.formats.counts import Counts
    from obfstats.record.clock import Clock
    from obfstats.record.journal import Journal

MAX_WAITING = 3
"""Intervals that are kept in memory while the folder accepts no documents."""

MAX_WAIT_SECONDS = 7.0 * INTERVAL_SECONDS
"""How long an interval in the log may wait for its document."""

BLOCK_SIZE = 1 << 16
"""Bytes of the log that are counted at once: a bridge may be a small machine."""

_COMPRESSED = frozenset({".gz", ".xz", ".zst"})

_log = logging.getLogger(__name__)


class IntervalLostError(Exception):
    """An interval's numbers are not those of the whole interval, and never will be. The text says why."""


class WholeIntervalCounts(NamedTuple):
    """The numbers of an interval, all lines of which were found.

    Attributes:
        counts: the numbers.
        files: in how many files its lines are; None if it is in none.
    """

    counts: Counts
    files: int | None


class IntervalSource(Protocol):
    """Counts intervals that are over.

    Attributes:
        is_durable: whether intervals are still there after a restart.
        ledger: where the ledger is that others use as well; None if there is none.
    """

    is_durable: bool
    ledger: Path | None

    async def count_interval(
        self, interval: Interval, connections: int | None, files: int | None
    ) -> WholeIntervalCounts:
        """Count an interval.

        Args:
            interval: an interval that is over.
            connections: how many connections it had, if this program has recorded it.
            files: in how many files its lines were, if an earlier program has recorded it.

        Raises:
            IntervalLostError: if the interval has to be given up.
            LogFileError: if the log cannot be counted now.
            OSError: the same.
        """

    def drop_overdue(self, waiting: Mapping[Interval, float], now: float) -> list[Interval]:
        """Drop the intervals that have waited too long for their documents. What is in memory is wiped.

        Args:
            waiting: the boot time since when each interval has waited, in the order in which they ended.
            now: boot time in seconds.

        Returns:
            The dropped intervals. They cannot be counted any more.
        """

    async def remove_old_lines(self, needed: Collection[Interval]) -> None:
        """Remove old lines from the log, or wipe what was counted in memory.

        Args:
            needed: the intervals that stay, whatever their age.

        Raises:
            OSError: if that cannot be done now.
        """


class MemorySource:
    """An aggregate, which has counted each connection at once."""

    is_durable = False
    ledger: Path | None = None

    def __init__(self, aggregate: Aggregate) -> None:
        self._aggregate = aggregate

    async def count_interval(
        self,
        interval: Interval,
        connections: int | None,  # noqa: ARG002
        files: int | None,  # noqa: ARG002
    ) -> WholeIntervalCounts:
        """Return the numbers, and wipe the hashes that they were counted with."""
        counts = self._aggregate.counts(interval)
        self._aggregate.wipe_interval(interval)
        return WholeIntervalCounts(counts, None)

    def drop_overdue(self, waiting: Mapping[Interval, float], now: float) -> list[Interval]:  # noqa: ARG002
        """Wipe all but the intervals that ended last, whatever their labels: the clock may have been set."""
        overdue = list(waiting)[:-MAX_WAITING]
        for interval in overdue:
            self._aggregate.wipe_interval(interval)
        return overdue

    async def remove_old_lines(self, needed: Collection[Interval]) -> None:
        """Wipe the intervals that are not needed."""
        self._aggregate.wipe_all_but(needed)


class LogSource:
    """The bridge's own log, and the files that it was rotated into."""

    is_durable = True

    def __init__(self, journal: Journal, clock: Clock, forget_after: timedelta) -> None:
        """Use an open log.

        Args:
            journal: the log.
            clock: the clocks.
            forget_after: how long after the end of an interval its lines are removed.
        """
        self.ledger: Path | None = ledger_of(journal.path)
        self._journal = journal
        self._clock = clock
        self._max_age = timedelta(seconds=INTERVAL_SECONDS) + forget_after
        self._needed: Collection[Interval] | None = None

    async def count_interval(
        self, interval: Interval, connections: int | None, files: int | None
    ) -> WholeIntervalCounts:
        """Count an interval on a thread, and sync its lines to the disk."""
        return await threads.run_in_thread("publish", partial(self._count, interval, connections, files or 0))

    def drop_overdue(self, waiting: Mapping[Interval, float], now: float) -> list[Interval]:
        """Return what has waited for a week; `remove_old_lines` may then remove its lines."""
        return [interval for interval, since in waiting.items() if now - since > MAX_WAIT_SECONDS]

    async def remove_old_lines(self, needed: Collection[Interval]) -> None:
        """Remove the lines of old intervals from the log.

        Every line is read only if other intervals are needed than the last time. Otherwise the log's first line tells
        whether any is old: lines are in the order of time, unless the clock was set.

        Raises:
            OSError: if the log cannot be rewritten; it is as it was then.
        """
        newest = format_time(datetime.fromtimestamp(self._clock.wall(), UTC) - self._max_age)
        labels = {interval.label for interval in needed}

        def keep(label: str) -> bool:
            # Damaged lines stay: the operator has to look at them.
            return label in labels or label > newest or not _is_label(label)

        if await threads.run_in_thread(
            "remove-lines", partial(self._remove_lines, keep, reads_all=needed != self._needed)
        ):
            _log.log(NOTICE, "lines of intervals up to %s are removed from the log", newest)
        self._needed = needed

    def _remove_lines(self, keep: Callable[[str], bool], *, reads_all: bool) -> bool:
        """Remove the lines that do not stay; tell whether there were any."""
        if not reads_all and keep(_first_label(self._journal.read_head())):
            return False
        rewriting = self._journal.begin_rewriting()
        try:
            rewriting.copy(keep)
        except Exception:
            rewriting.abandon()
            raise
        if not rewriting.removed:
            rewriting.abandon()
            return False
        self._journal.finish_rewriting(rewriting)
        self._journal.remove_marks(keep)
        # Until the new name is on the disk, the old lines are.
        sync_folder(self._journal.path.parent)
        return True

    def _count(self, interval: Interval, connections: int | None, files: int) -> WholeIntervalCounts:
        counts, files_found, error = count_in_files(self._journal.path, interval)
        missing = files - files_found if connections is None else connections - sum(counts.requests.values())
        if missing == 0 and (error is None or connections is not None):
            _sync(self._journal.path, interval)
            return WholeIntervalCounts(counts, files_found)
        if missing >= 0 and error is not None:
            raise error
        if missing < 0 and files_found > 1:
            raise LogFileError(
                f"lines from {interval.label} are there twice, in the log and in a copy beside it: move the copy away"
            )
        if missing > 0:
            raise IntervalLostError("lines of it are missing from the log and the files beside it")
        raise IntervalLostError("the log has more lines of it than were counted")


class FileCounts(NamedTuple):
    """What the log and the files beside it have of an interval.

    Attributes:
        counts: its numbers.
        files: how many files have lines of it.
        error: why a file was not read, or not to its end; None if all were.
    """

    counts: Counts
    files: int
    error: LogFileError | None


def count_in_files(log: Path, interval: Interval) -> FileCounts:
    """Count one interval in the log and in the files that it was rotated into; damaged lines are left out.

    Raises:
        IntervalLostError: if its numbers would not be exact.
        OSError: if the log's folder cannot be read.
    """
    aggregate = Aggregate(max_clients=None)
    found, error = 0, None
    files = _find_files(log, interval)
    try:
        for path in files:
            before = aggregate.connections(interval)
            try:
                _count_file(path, interval, aggregate)
            except LogFileError as unreadable:
                error = error or unreadable
            found += aggregate.connections(interval) > before
        if error is None and _find_files(log, interval) != files:
            error = LogFileError(f"{log} was rotated while it was counted; count it again")
        if aggregate.is_full:
            raise IntervalLostError("its clients used too many combinations of transports")
        return FileCounts(aggregate.counts(interval), found, error)
    finally:
        aggregate.close()


def _count_file(path: Path, interval: Interval, aggregate: Aggregate) -> None:
    label_prefix = interval.label.encode("ascii") + b" "
    # A log's name may contain * or ?; find prefers a file of exactly that name.
    for log in find([str(path.absolute())]):
        with closing(read_blocks(log, BLOCK_SIZE)) as blocks:
            for block in blocks:
                lines = [line for line in io.BytesIO(block) if line.startswith(label_prefix) and is_line(line)]
                entries = [line[ENTRY_OFFSET:].removesuffix(b"\n").decode("ascii") for line in lines]
                aggregate.append(interval, entries)


def _sync(log: Path, interval: Interval) -> None:
    """Make sure that the lines that were counted survive a power failure.

    Raises:
        OSError: if the disk does not accept it.
    """
    for path in _find_files(log, interval):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            # What cannot be opened was not counted.
            continue
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(log.parent)


def _find_files(log: Path, interval: Interval) -> dict[Path, int]:
    """Find the files that may have lines of an interval, with their inodes: the log, and what was rotated since.

    Another user who may write into the folder could put a pipe or a link there; neither is opened.
    """
    files = {}
    # The wall clock may lag the label by up to CLOCK_TOLERANCE without counting as set. Twice that, because a file too
    # many does no harm.
    since = interval.start.timestamp() - 2 * CLOCK_TOLERANCE
    for path in sorted(log.parent.iterdir()):
        is_rotated = path != log and log_of(path) == log
        if path != log and not is_rotated:
            continue
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        # While a file is being compressed both are there for a moment, and the uncompressed one is whole.
        if is_rotated and path.suffix in _COMPRESSED and path.with_suffix("").exists():
            continue
        # If the log itself was rotated away, the next tick creates it again.
        if stat.S_ISREG(status.st_mode) and (path == log or status.st_mtime >= since):
            files[path] = status.st_ino
    return files


def _first_label(head: bytes) -> str:
    """Return the label of a log's first line that has one; empty if there is none."""
    labels = (line[:LABEL_LENGTH] for line in head.decode("ascii", "replace").split("\n"))
    return next((label for label in labels if _is_label(label)), "")


def _is_label(text: str) -> bool:
    try:
        parse_time(text)
    except ValueError:
        return False
    return True
