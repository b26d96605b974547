"""The statistics log: whole batches are appended to it, and nothing else ever happens to it.

Rules, each of which answers a fault that has been observed:

- Only its owner can read it and one program writes it (lockedfile.py). A file that contains anything but a log is
  refused. A tick checks the file again: it takes back access that others were given, and writes nothing while the file
  has a second name or another owner.
- A batch is one write. If the disk accepts only part of it, that part is removed again, so that a reader sees whole
  lines. What could not be written is held in memory, up to a bound, and tried again later. Beyond the bound whole
  batches are dropped and counted; dropping some lines of a sorted batch would favour some countries.
- Where that part cannot be removed (an append-only file on a full disk), its whole lines count as written, and the line
  that it tears is ended as below and written again.
- A last line that a killed program left torn is ended with a newline at the next open, so that nothing is appended to
  it; readers count it as damaged.
- A log that was rotated away is followed at a tick or at `reopen`: the path is opened anew if it leads to another file,
  or to none. That never happens in a client's call, because a file keeps the time of its creation; until then batches
  are held. The old file's times are set to that moment, or they would tell for good when a client filled a batch.
- An interval has a bounded number of lines, or one client that connects all the time would fill the disk. Beyond it
  whole batches are dropped. Then the recorder has counted more connections than there are lines, so the interval is not
  taken for a whole one.
- What a disk does can be given to a thread of its own (`run_job`): then no call here waits for a disk that does not
  answer. Meanwhile lines are held as where it fails.

A batch is written sorted: its bytes depend on the set of its lines alone (design, decision 4).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from obfstats.formats.interval import Interval
from obfstats.formats.logline import MAX_LINE_LENGTH, SUFFIX_OFFSET, is_line, is_torn, write_lines
from obfstats.lockedfile import (
    FileInUseError,
    LockedFile,
    LockedFileError,
    PartlyWrittenError,
    make_folder,
)
from obfstats.record.backoff import Backoff
from obfstats.record.errors import LogInUseError, RecordError
from obfstats.record.marks import MarksFile
from obfstats.record.rewriting import Rewriting, remove_copy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HELD_LINES = 20_000
"""Lines kept in memory, some 2 MB, while the disk accepts none."""

MAX_INTERVAL_LINES = 10_000_000
"""Lines of one interval that are written at most: 640 MB, or up to 1 GB with further columns. That is 115 connections a
second for 24 hours."""

_HEAD_SIZE = 1 << 16
# A shorter beginning of a line could be that of any text.
_MIN_TORN_LENGTH = len("2012-")


class Journal:
    """The open log.

    Attributes:
        path: where it is.
        held: lines that wait for the disk.
        dropped: lines that were lost because the disk did not accept them for too long.
        run_job: runs a job for the disk, one after the other: at once, or on a thread, on which a job may not be done
            when `run_job` returns.
    """

    def __init__(self, path: Path, *, warn: Callable[[str], None]) -> None:
        """Open the log, or create it.

        Args:
            path: the file; its folder must exist.
            warn: called with one sentence when writing fails, with one when it works again, and with one when others
                had access to the file; also on the thread of `run_job`.

        Raises:
            RecordError: if the file cannot be used; it is then as it was.
        """
        self.dropped = 0
        self.path = path
        self.run_job: Callable[[Callable[[], None]], None] = _run_at_once
        self._warn = warn
        self._held: list[bytes] = []
        self.held = 0
        self._interval_lines = Counter[Interval]()
        self._backoff = Backoff()
        self._job: _Job | None = None
        self._is_open = True
        # The thread of `run_job` uses the file, and one that rewrites the log.
        self._disk = Lock()
        self._marks = MarksFile(path, warn)
        self._file = _open(path, warn)
        remove_copy(path)

    @property
    def is_failing(self) -> bool:
        """Whether the disk has refused lines, which are held until it accepts them."""
        return bool(self._backoff.reason)

    def append(self, interval: Interval, entries: list[str], now: float) -> None:
        """Write a batch, or hold it until it can be written. Never raises for what a disk may do.

        Args:
            interval: the interval of its lines. A batch that exceeds MAX_INTERVAL_LINES is dropped.
            entries: its lines without their labels (formats/logline.py), in any order.
            now: boot time in seconds, for the next try if this one fails.
        """
        lines_before = self._interval_lines[interval]
        self._interval_lines[interval] += len(entries)
        if self._interval_lines[interval] > MAX_INTERVAL_LINES:
            if lines_before <= MAX_INTERVAL_LINES:
                self._warn(
                    f"the interval from {interval.label} has more than {MAX_INTERVAL_LINES} connections: further ones"
                    " are counted, but not written to the log, so the interval cannot be published"
                )
            return
        if self.held + len(entries) > HELD_LINES and not self._backoff.reason:
            # The log was rotated away, and more than HELD_LINES connections arrived since: creating the new file now
            # identifies no client.
            self._write_held(now, follows=True)
        if self.held and self.held + len(entries) > HELD_LINES:
            self.dropped += len(entries)
        else:
            self._held.append(write_lines(interval.label, entries))
            self.held += len(entries)
        if self._backoff.is_due(now):
            # This may be a client's call: a file that is created now would keep the time of its arrival.
            self._write_held(now, follows=False)

    def tick(self, now: float) -> None:
        """Do what must not happen in a client's call: follow a rotated log, keep it private, write what is held.

        The file's times are set, which hides when the last batch was filled.

        Args:
            now: boot time in seconds. Nothing is tried where the last failure was too recent.
        """
        self._collect(now)
        if self._job is not None:
            self._fail("the disk does not answer", now)
            return
        if self._backoff.is_due(now):
            self._write_held(now, follows=True, touches=True)
        else:
            self.run_job(self._touch)
        # While the disk refuses the log, it would refuse marks too, and warn twice.
        if self._marks.has_waiting and not self._backoff.reason:
            self.run_job(self._marks.write)

    def begin_marks(self, interval: Interval) -> None:
        """Have the next tick write down that this and later intervals are marked when they are whole."""
        self._marks.begin(interval)

    def mark_whole(self, interval: Interval, connections: int) -> None:
        """Mark an interval as whole. Not in a client's call.

        Args:
            interval: an interval that was recorded from beginning to end, and whose last lines are written.
            connections: how many were counted in it.
        """
        self._marks.add(interval, connections)
        self.run_job(self._marks.write)

    def remove_marks(self, keep: Callable[[str], bool]) -> None:
        """Remove the marks of intervals whose lines were removed. Any thread may call this.

        Args:
            keep: tells by an interval's label whether its lines stay.

        Raises:
            OSError: if the disk does not allow it.
        """
        self._marks.remove(keep)

    def reopen(self, now: float) -> None:
        """Follow a rotated log and write what is held now, however recent the last failure was.

        Args:
            now: boot time in seconds, for the next try if this one fails.
        """
        if self._is_open:
            self._write_held(now, follows=True)

    def read_head(self) -> bytes:
        """Give the first 64 KiB of the log; nothing if it was rotated away.

        Raises:
            OSError: if it cannot be read.
        """
        with self._disk:
            return self._file.read(_HEAD_SIZE) if self._file.is_in_place() else b""

    def begin_rewriting(self) -> Rewriting:
        """Begin to remove old intervals from the log; `finish_rewriting` completes it. Any thread may call both.

        Raises:
            OSError: if a new file cannot be created beside the log.
        """
        with self._disk:
            return Rewriting(self._file)

    def finish_rewriting(self, rewriting: Rewriting) -> None:
        """Replace the log by the rewritten one, with all that was appended meanwhile.

        Raises:
            OSError: if that fails; the log is as it was then.
        """
        with self._disk:
            self._file = rewriting.replace(self._file)

    def close(self) -> None:
        """Close the file, which releases its lock. What is held is not written (step 6). May be called twice."""
        self._held.clear()
        self.held = 0
        if self._is_open:
            self._is_open = False
            self.run_job(self._close_file)

    def _write_held(self, now: float, *, follows: bool, touches: bool = False) -> None:
        """Begin to write what is held, unless the disk is still busy with that; see how it went if it is done."""
        self._collect(now)
        if self._job is None:
            job = _Job(b"".join(self._held), len(self._held), bool(self._backoff.reason), follows, touches)
            self._job = job
            self.run_job(partial(self._carry_out, job))
            self._collect(now)

    def _collect(self, now: float) -> None:
        """See how the last job went, if it is done; if it has failed, plan the next try."""
        job = self._job
        if job is None or not job.is_done:
            return
        self._job = None
        rest = job.lines[job.written :]
        self._held[: job.batches] = [rest] if rest else []
        self.held -= job.lines.count(b"\n", 0, job.written)
        if job.reason:
            self._fail(job.reason, now)
        elif job.has_tried and self._backoff.reason:
            self._backoff.succeed()
            self._warn(f"{self.path} is written again; lines lost so far: {self.dropped}")

    def _fail(self, reason: str, now: float) -> None:
        if not self._backoff.reason:
            self._warn(
                f"cannot write {self.path} ({reason}): free disk space or correct the file; "
                f"up to {HELD_LINES} lines are kept in memory and tried again"
            )
        self._backoff.fail(reason, now)

    # From here on: the disk's part.

    def _carry_out(self, job: _Job) -> None:
        try:
            with self._disk:
                self._write(job)
        except (OSError, RecordError) as error:
            job.reason = str(error.strerror if isinstance(error, OSError) else error)
        if job.touches:
            self._touch()
        job.is_done = True

    def _write(self, job: _Job) -> None:
        """Follow the path, or do nothing if that must not be; append the lines."""
        if not self._file.is_in_place():
            if not job.follows:
                return
            self._follow()
        job.has_tried = True
        _make_private(self._file, self._warn)
        if job.ends_torn_line:
            _end_torn_line(self._file)
        if job.lines:
            try:
                self._file.append(job.lines)
            except PartlyWrittenError as error:
                job.written = _end_of_written(job.lines, error.written)
                raise
            job.written = len(job.lines)

    def _follow(self) -> None:
        """Open the path anew."""
        file = _open(self.path, self._warn)
        self._file.touch()
        self._file.close()
        self._file = file

    def _touch(self) -> None:
        with self._disk:
            self._file.touch()

    def _close_file(self) -> None:
        with self._disk:
            self._file.touch()
            self._file.close()


@dataclass(slots=True)
class _Job:
    """What the disk is to do.

    Attributes:
        lines: all lines that are held.
        batches: in how many pieces they are held.
        ends_torn_line: whether the last try may have left a torn line.
        follows: whether the path is opened anew if it no longer leads to the open file.
        touches: whether the file's times are set.
        written: so many bytes of the lines are in the file.
        has_tried: whether there was a file to write to.
        reason: why it failed; empty if it did not.
        is_done: whether it has ended.
    """

    lines: bytes
    batches: int
    ends_torn_line: bool
    follows: bool
    touches: bool
    written: int = 0
    has_tried: bool = False
    reason: str = ""
    is_done: bool = False


def _run_at_once(job: Callable[[], None]) -> None:
    job()


def make_folder_of(path: Path) -> None:
    """Create a log's folder, for its owner alone, if it does not exist.

    Raises:
        RecordError: if it cannot be created.
    """
    try:
        make_folder(path.parent, 0o700)
    except OSError as error:
        raise RecordError(f"cannot create {path.parent}: {error.strerror}; name another folder") from None


def _open(path: Path, warn: Callable[[str], None]) -> LockedFile:
    """Open a log, check what is in it, make it private, and end a torn last line."""
    try:
        file = LockedFile.open(path, "log", "name another with --stats-log")
    except FileInUseError:
        raise LogInUseError(f"{path} is in use by another program; give each its own with --stats-log") from None
    except LockedFileError as error:
        raise RecordError(str(error)) from None
    try:
        _check_content(file)
        _make_private(file, warn)
        _end_torn_line(file)
    except OSError as error:
        file.close()
        raise RecordError(f"cannot use the log {path}: {error.strerror}; name another with --stats-log") from None
    except RecordError:
        file.close()
        raise
    return file


def _make_private(file: LockedFile, warn: Callable[[str], None]) -> None:
    try:
        correction = file.make_private()
    except LockedFileError as error:
        raise RecordError(str(error)) from None
    if correction:
        warn(correction)


def _check_content(file: LockedFile) -> None:
    """Refuse a file whose first 64 KiB contain neither a whole line nor only torn beginnings of lines."""
    head = file.read(_HEAD_SIZE)
    lines = [line for line in head.split(b"\n") if line]
    are_torn = all(is_torn(line) for line in lines) and max(map(len, lines), default=0) >= _MIN_TORN_LENGTH
    if head and not are_torn and not any(is_line(line) for line in lines):
        raise RecordError(f"{file.path} is not a statistics log; name another file")


def _end_torn_line(file: LockedFile) -> None:
    """End a torn last line with a newline, so that the next batch begins a line of its own."""
    last = file.read(MAX_LINE_LENGTH, max(0, file.size - MAX_LINE_LENGTH)).rpartition(b"\n")[2]
    if last:
        file.append(_end_of_torn(last))


def _end_of_torn(line: bytes) -> bytes:
    """Give the bytes that end a torn line."""
    # A line torn within a transport's name would be a whole line with another name: make it invalid.
    is_ambiguous = len(line) > SUFFIX_OFFSET and not line.endswith((b" v4", b" v6"))
    return b"~\n" if is_ambiguous else b"\n"


def _end_of_written(lines: bytes, written: int) -> int:
    """Tell up to where a reader will have lines of which so many bytes are in the file, once the last one is ended."""
    torn = lines[lines.rfind(b"\n", 0, written) + 1 : written]
    if torn and is_line(torn + _end_of_torn(torn)):
        return lines.index(b"\n", written) + 1
    return written - len(torn)
