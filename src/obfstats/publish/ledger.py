"""The ledger: which intervals have been released, so that none is released twice.

    2012-02-10 09:22:04 (86400 s) over (files: 1)                             complete, not released yet
    2012-02-10 09:22:04 (86400 s) released rounded                            published by the bridge (`--publish`)
    2012-02-11 09:22:04 (86400 s) released discrete-laplace epsilon=0.5
    2012-02-12 09:22:04 (86400 s) converted rounded tables                    printed by `obfstats convert`
    2012-02-12 09:22:04 (86400 s) given up                                    never to be released: lines are missing

Noise hides a client once. Anyone who sees the same number twice, with fresh noise each time, learns more, and the mean
of many releases is the number itself. Rounded numbers in two forms can be subtracted from each other. So a release is
written down, where a restart does not lose it, before it is made. A bridge that publishes by itself knows from the same
file what it still has to publish.

A log's ledger is beside it (formats/lognames.py), for the bridge and for `obfstats convert`.

Rules:

- A line is on the disk when `release` returns. Killed after that, and before the document is published, an interval is
  lost; none is ever released twice.
- A ledger with one damaged line is refused and left as it is, because the damaged line may be a release. A torn last
  line is different: it was never written completely, so nothing was released by it. It is cut off, for a bridge must
  start after a power failure; so are the NULs that some filesystems leave in place of a line. A last line that lacks
  only its newline counts, and gets it.
- What was released with noise is never released again. What was released rounded may be released again in the same
  form only, because that reveals nothing new.
- The file is its owner's alone and only appended to (lockedfile.py). Access that others have is taken from them,
  without a warning: it contains nothing about clients.
- `obfstats convert` keeps it locked until that has written down what it prints, a bridge locks it for each write. A
  bridge first reads what others have written since.
- After a failed write the file is read again before the next, so a line that is in it all the same is not written
  twice.
- A ledger that was moved or deleted while it was open accepts nothing more.

The first field of a line is the interval's start, UTC, as in the log. Of a complete interval, the number of files with
its lines is kept: the log, and the files that it was rotated into. So a later program notices when a file has
gone, and the ledger does not tell how many lines there were. The grammar is strict and the same in both directions:
`parse_line` takes what `write_line` gives, and `write_line` gives back what `parse_line` takes.

Different starts are different intervals, even where they overlap. A bridge that was restarted begins a new interval
within 24 hours of the last; to refuse it would cost a day for every restart. No connection is in both, but a client may
have connected in both and spends epsilon in each, as on two days. A ledger cannot notice the same connections under
another start: an old log that is read again with another offset from UTC, or without its first lines, is cut into other
intervals. So read an old log once. Nor can it know of a second ledger: a log that is copied away or renamed gets one
of its own.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Self

from obfstats.formats.document import NOISE_METHOD
from obfstats.formats.interval import TIME_PATTERN, Interval
from obfstats.lockedfile import FileInUseError, LockedFile, LockedFileError, sync_folder
from obfstats.publish.noise import parse_epsilon, write_epsilon

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

MAX_LEDGER_SIZE = 1 << 24
"""Bytes: several hundred years of days."""

ROUNDED = "rounded"
"""How an interval was released: as a document with numbers that are rounded up to multiples of 8."""

ROUNDED_EXTENDED, ROUNDED_TABLES, ROUNDED_TOR = "rounded extended", "rounded tables", "rounded tor"
"""The same, with the document's further lines; as the ticket's tables; as tor's lines."""

GIVEN_UP = "given up"
"""In place of a method: the interval will never be released."""

_LINE = re.compile(
    rb"(" + TIME_PATTERN.encode() + rb") \(([1-9][0-9]{0,8}) s\) "
    rb"(?:over \(files: (0|[1-9][0-9]{0,4})\)|(given up)|(released|converted) ([ -~]+))"
)
_ROUNDED_FORMS = frozenset({ROUNDED, ROUNDED_EXTENDED, ROUNDED_TABLES, ROUNDED_TOR})
# Each line begins like this, with any digits; what follows is short.
_BEGINNING = b"0000-00-00 00:00:00 ("
_MAX_LINE_LENGTH = 100


class LedgerError(Exception):
    """A ledger cannot be used. Its text is one sentence for the operator: what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One line.

    Attributes:
        interval: the interval.
        method: what `write_method` gives, ROUNDED_TABLES or ROUNDED_TOR; GIVEN_UP; None for a complete interval that is
            not released yet.
        files: how many files have lines of a complete interval that is not released yet; else None.
        is_converted: whether `obfstats convert` printed it; False if a bridge published it.
    """

    interval: Interval
    method: str | None
    files: int | None = None
    is_converted: bool = False


def parse_line(line: bytes) -> LedgerLine:
    """Parse one line, without its newline.

    Raises:
        ValueError: if it is not of the grammar.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("not a line of a ledger")
    interval = Interval.parse(match[1].decode("ascii"), int(match[2]))
    _check_end(interval)
    if match[3] is not None:
        return LedgerLine(interval, None, int(match[3]))
    if match[4] is not None:
        return LedgerLine(interval, GIVEN_UP)
    method = match[6].decode("ascii")
    if method.startswith(NOISE_METHOD):
        parse_epsilon(method.removeprefix(NOISE_METHOD))
    elif method not in _ROUNDED_FORMS:
        raise ValueError("unknown method to release an interval")
    return LedgerLine(interval, method, is_converted=match[5] == b"converted")


def write_line(line: LedgerLine) -> bytes:
    """Write one line with its newline.

    Raises:
        ValueError: if a field is not of the grammar; nothing that cannot be read again is ever written.
    """
    release = f"{'converted' if line.is_converted else 'released'} {line.method}"
    state = {None: f"over (files: {line.files})", GIVEN_UP: GIVEN_UP}.get(line.method, release)
    text = f"{line.interval.label} ({line.interval.seconds} s) {state}".encode("utf-8", "surrogatepass")
    if parse_line(text) != line:
        raise ValueError("a field contains another field's text")
    return text + b"\n"


def write_method(epsilon: Fraction | None, *, extended: bool) -> str:
    """Write how a document is released: rounded if epsilon is None, else with noise.

    Args:
        epsilon: bound on what noise reveals.
        extended: whether a rounded document has the further lines.
    """
    if epsilon is not None:
        return f"{NOISE_METHOD}{write_epsilon(epsilon)}"
    return ROUNDED_EXTENDED if extended else ROUNDED


class Ledger:
    """An open ledger; `with` closes it.

    Attributes:
        path: where it is.
    """

    def __init__(self, file: LockedFile, *, shared: bool = False) -> None:
        """Read an open file; `open` opens one.

        Args:
            file: the file, which is locked.
            shared: whether it is locked from now on only while something is written.

        Raises:
            LedgerError: if a line is damaged.
            OSError: if it cannot be read.
        """
        self._file = file
        self.path = file.path
        self._has_failed = False
        self._complete: dict[Interval, int] = {}
        self._released: dict[datetime, set[str]] = {}
        self._published: set[datetime] = set()
        self._given_up: set[datetime] = set()
        self._size = 0
        self._read()
        self._is_shared = shared
        if shared:
            file.unlock()

    @classmethod
    def open(cls, path: Path, *, shared: bool = False) -> Ledger:
        """Open a ledger, or create it.

        Args:
            path: the file; its folder must exist.
            shared: whether it is locked only while something is written, and not until it is closed.

        Raises:
            LedgerError: if it cannot be used, or another program is using it.
        """
        try:
            file = LockedFile.open(path, "ledger", "name another file for it")
        except FileInUseError:
            raise LedgerError(f"the ledger {path} is in use by another program; wait until that has ended") from None
        except LockedFileError as error:
            raise LedgerError(str(error)) from None
        try:
            if file.is_new:
                sync_folder(path.parent)
            ledger = cls(file, shared=shared)
            file.make_private()
        except LockedFileError as error:
            file.close()
            raise LedgerError(str(error)) from None
        except OSError as error:
            file.close()
            raise LedgerError(f"cannot use the ledger {path}: {error.strerror}; name another file for it") from None
        except LedgerError:
            file.close()
            raise
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, which releases its lock. May be called twice."""
        self._file.close()

    def is_released(self, interval: Interval) -> bool:
        """Tell whether an interval with this start has been released, whatever its length, as far as is known."""
        return interval.start in self._released

    def is_published(self, interval: Interval) -> bool:
        """Tell the same of releases by a bridge, and not by `obfstats convert`."""
        return interval.start in self._published

    def is_released_with_noise(self, interval: Interval) -> bool:
        """Tell the same of releases with noise."""
        return bool(self._released.get(interval.start, set()) - _ROUNDED_FORMS)

    def spent_epsilon(self) -> dict[datetime, Fraction]:
        """Give the epsilon of each interval that was released with noise, by its start.

        Raises:
            LedgerError: if the ledger cannot be used.
        """
        self.check()
        return {
            start: sum((parse_epsilon(method.removeprefix(NOISE_METHOD)) for method in noisy), Fraction())
            for start, methods in self._released.items()
            if (noisy := methods - _ROUNDED_FORMS)
        }

    def allows(self, interval: Interval, method: str) -> bool:
        """Tell whether an interval may be released: if it never was, or only rounded and in the same form."""
        before = self._released.get(interval.start)
        return not before or (method in _ROUNDED_FORMS and before == {method})

    def check(self) -> None:
        """See that the ledger can be used, and read what others have written.

        Raises:
            LedgerError: if it is closed, was moved or deleted, is locked, cannot be read, or is not this user's alone.
        """
        with self._locked():
            pass

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the ledger, if it is not, and see that it can be used."""
        if self._is_shared and self._file.descriptor >= 0:
            try:
                self._file.lock()
            except OSError:
                raise LedgerError(f"the ledger {self.path} is in use by another program; try again") from None
        try:
            self._check()
            yield
        finally:
            if self._is_shared and self._file.descriptor >= 0:
                self._file.unlock()

    def _check(self) -> None:
        """Do what `check` does, of a ledger that is locked. After a failed write, read it again in any case."""
        if self._file.descriptor < 0:
            raise LedgerError(f"the ledger {self.path} is closed; open it again")
        try:
            if not self._file.is_in_place():
                raise LedgerError(f"the ledger {self.path} was moved or deleted; move it back, or start again")
            self._file.make_private()
            if self._has_failed or self._file.size != self._size:
                self._read()
        except LockedFileError as error:
            raise LedgerError(str(error)) from None
        except OSError as error:
            raise LedgerError(f"cannot read the ledger {self.path}: {error.strerror}; start again") from None

    def unreleased(self) -> dict[Interval, int]:
        """Give the complete intervals that are neither released nor given up, in order, and their numbers of files."""
        settled = self._released.keys() | self._given_up
        return {interval: files for interval, files in sorted(self._complete.items()) if interval.start not in settled}

    def mark_complete(self, interval: Interval, files: int) -> None:
        """Write down that an interval is complete and has to be released, unless that is known.

        Args:
            interval: the interval.
            files: how many files have lines of it.

        Raises:
            LedgerError: if it could not be written.
            ValueError: if it could not be read again.
        """
        line = write_line(LedgerLine(interval, None, files))
        with self._locked():
            if interval not in self._complete and interval.start not in self._released:
                self._append(line)
                self._complete[interval] = files

    def give_up(self, interval: Interval) -> None:
        """Write down that an interval will never be released, so that no later program tries.

        Raises:
            LedgerError: if it could not be written.
            ValueError: if it could not be read again.
        """
        line = write_line(LedgerLine(interval, GIVEN_UP))
        with self._locked():
            if interval.start in self._given_up:
                return
            self._append(line)
            self._given_up.add(interval.start)

    def release(self, interval: Interval, method: str) -> None:
        """Write down that a bridge releases an interval. Release it only after this has returned.

        Args:
            interval: the interval.
            method: what `write_method` gives.

        Raises:
            LedgerError: if it has been released before, or could not be written. The interval must not be released
                then; after a failed write it may be tried again.
            ValueError: if it could not be read again.
        """
        line = write_line(LedgerLine(interval, method))
        with self._locked():
            if self.is_released(interval):
                raise LedgerError(
                    f"the ledger {self.path} records that the interval from {interval.label} was released before;"
                    " leave it out"
                )
            self._append(line)
            self._released[interval.start] = {method}
            self._published.add(interval.start)

    def convert(self, intervals: Iterable[Interval], method: str) -> None:
        """Write down that `obfstats convert` prints intervals. Print them only after this has returned.

        Args:
            intervals: those that `allows` has allowed.
            method: how they are printed.

        Raises:
            LedgerError: if it could not be written.
            ValueError: if it could not be read again.
        """
        new = [interval for interval in intervals if not self.is_released(interval)]
        lines = [write_line(LedgerLine(interval, method, is_converted=True)) for interval in new]
        with self._locked():
            if lines:
                self._append(b"".join(lines))
            self._released |= {interval.start: {method} for interval in new}

    def _append(self, lines: bytes) -> None:
        """Append lines and wait until they are on the disk; if that fails, the file may have them all the same."""
        self._has_failed = True
        try:
            self._file.append(lines, sync=True)
            self._size = self._file.size
        except OSError as error:
            raise LedgerError(
                f"cannot write the ledger {self.path}: {error.strerror}; nothing is released before it can be written"
            ) from None
        self._has_failed = False

    def _read(self) -> None:
        """Read every line; end the last one if it is whole, cut it off if it is torn."""
        size = self._file.size
        if size > MAX_LEDGER_SIZE:
            raise LedgerError(f"{self.path} is too long for a ledger; name another file")
        *lines, last = self._file.read(size).split(b"\n")
        nuls = len(last) - len(last := last.rstrip(b"\0"))
        complete: dict[Interval, int] = {}
        released: dict[datetime, set[str]] = {}
        published: set[datetime] = set()
        given_up: set[datetime] = set()
        for number, line in enumerate([*lines, last] if last and not _is_torn(last) else lines, 1):
            try:
                known = parse_line(line)
            except ValueError:
                raise LedgerError(
                    f"line {number} of the ledger {self.path} is damaged, so it cannot be told what has been"
                    " released; correct that line, or remove it if its interval was never published"
                ) from None
            start = known.interval.start
            if known.method is None:
                complete[known.interval] = known.files or 0
            elif known.method == GIVEN_UP:
                given_up.add(start)
            else:
                released.setdefault(start, set()).add(known.method)
                if not known.is_converted:
                    published.add(start)
        cut = nuls + (len(last) if _is_torn(last) else 0)
        if cut:
            try:
                self._file.truncate(size - cut)
            except OSError as error:
                raise LedgerError(
                    f"the torn last line of the ledger {self.path} cannot be removed: {error.strerror}; if the file is"
                    f" append-only, run: chattr -a {self.path}"
                ) from None
        if last and not _is_torn(last):
            self._file.append(b"\n", sync=True)
        self._complete, self._released, self._published, self._given_up = complete, released, published, given_up
        self._size = self._file.size
        self._has_failed = False


def _is_torn(line: bytes) -> bool:
    """Tell whether these bytes, without a newline, are the beginning of a line whose rest was never written."""
    begins = all(
        character == byte or (character == ord("0") and byte in b"0123456789")
        for character, byte in zip(_BEGINNING, line, strict=False)
    )
    if not line or not begins:
        return False
    try:
        parse_line(line)
    except ValueError:
        return len(line) <= _MAX_LINE_LENGTH and line.isascii() and line.decode("ascii").isprintable()
    return False


def _check_end(interval: Interval) -> None:
    """Raise ValueError if the interval ends after the calendar does."""
    try:
        _ = interval.end
    except OverflowError:
        raise ValueError("an interval must end before the year 10000") from None
