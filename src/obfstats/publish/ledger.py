"""The ledger: which intervals have been released, so that none is released twice.

    2012-02-10 09:22:04 (86400 s) over (files: 1)                             run to its end, not released yet
    2012-02-10 09:22:04 (86400 s) released rounded
    2012-02-11 09:22:04 (86400 s) released discrete-laplace epsilon=0.5
    2012-02-12 09:22:04 (86400 s) given up                                    never to be released: lines are missing

Noise hides a client once. Who sees the same number twice, with fresh noise each time, sees more, and the mean of many
releases is the number itself. So what has been released is remembered where a restart does not forget it, before it is
released. A bridge that publishes by itself knows by the same file what it still has to publish.

Rules:

- A line is on the disk when `release` returns. Killed after that, and before the document is out, an interval is lost;
  none is ever released twice.
- What cannot be read cannot refuse: with one damaged line a ledger is of no use before somebody has put it right, and
  it is left as it is. A torn last line is another matter: it never reached the disk whole, so nothing was released by
  it, and it is cut off; a bridge must start after a power failure. So are the NULs that some filesystems leave where a
  line had no time to be. One that only lacks its newline counts, and gets it.
- The file is its owner's alone, one program at a time has it, and lines are only ever added (ownfile.py). If the disk
  does not take one whole, it is cut off again, and the file is read anew before the next.
- A ledger that was moved or deleted while it was open takes nothing more.

Starts that differ are different intervals, also where they overlap. A bridge that was restarted begins a new interval
within 24 hours of the last; to refuse it would cost a day for every restart. No connection is in both, but a client may
have connected in both and spends epsilon in each, as on two days. What a ledger cannot see is the same connections
under another start: an old log that is read again with another offset from UTC, or without its first lines, is cut into
other intervals. So read an old log once. Nor can it see a second ledger: keep one for each bridge.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Self

from obfstats.ownfile import OwnFileError, check, leads_to, lock, open_or_make, sync_folder
from obfstats.publish.ledger_line import GIVEN_UP, LedgerLine, is_torn, parse_line, write_line

if TYPE_CHECKING:
    from pathlib import Path

MAX_LEDGER_LENGTH = 1 << 24
"""Bytes: several hundred years of days."""


class LedgerError(Exception):
    """A ledger cannot be used. Its text is one sentence for the operator: what is wrong and what to do."""


class AlreadyReleasedError(LedgerError):
    """This interval has been released before."""


class Ledger:
    """An open ledger; `with` closes it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Take an open file that is locked, and read it; `open` does both.

        Raises:
            LedgerError: if a line is damaged.
            OSError: if it cannot be read.
        """
        self._path = path
        self._descriptor = descriptor
        self._is_in_doubt = False
        self._over: dict[str, int] = {}
        self._released: set[str] = set()
        self._given_up: set[str] = set()
        self._read()

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """Open a ledger, or make it.

        Args:
            path: the file; its folder must be there.

        Raises:
            LedgerError: if it cannot be used, or another program is using it.
        """
        try:
            descriptor, is_new = open_or_make(path)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise LedgerError(f"{path} is a symbolic link; name the ledger itself") from None
            raise LedgerError(f"cannot open the ledger {path}: {error.strerror}; name another place for it") from None
        try:
            if is_new:
                sync_folder(path.parent)
            _take(path, descriptor)
            return cls(path, descriptor)
        except OSError as error:
            os.close(descriptor)
            raise LedgerError(f"cannot use the ledger {path}: {error.strerror}; name another place for it") from None
        except LedgerError:
            os.close(descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file and its lock back. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def is_released(self, start: str) -> bool:
        """Tell whether the interval with this start has been released."""
        return start in self._released

    def check(self) -> None:
        """See that the ledger is still there, before anything is made that it has to know of.

        Raises:
            LedgerError: if it was moved or deleted, or cannot be read.
        """
        self._settle()

    def over(self) -> dict[str, int]:
        """Give those that are over, neither released nor given up: their starts, in order, and how many files."""
        ended = self._released | self._given_up
        return {start: files for start, files in sorted(self._over.items()) if start not in ended}

    def mark_over(self, start: str, seconds: int, files: int) -> None:
        """Remember that an interval is over and has to be released. For one that is known nothing happens.

        Args:
            start: start of the interval, `YYYY-MM-DD HH:MM:SS`, UTC.
            seconds: its length.
            files: how many files have lines of it.

        Raises:
            LedgerError: if it could not be written.
            ValueError: if there is no such start or length.
        """
        line = write_line(LedgerLine(start, seconds, None, files))
        self._settle()
        if start not in self._over and start not in self._released:
            self._append(line)
            self._over[start] = files

    def give_up(self, start: str, seconds: int) -> None:
        """Remember that an interval will never be released, so that nobody tries again.

        Args:
            start: start of the interval, `YYYY-MM-DD HH:MM:SS`, UTC.
            seconds: its length.

        Raises:
            LedgerError: if it could not be written.
            ValueError: if there is no such start or length.
        """
        line = write_line(LedgerLine(start, seconds, GIVEN_UP))
        self._settle()
        self._append(line)
        self._given_up.add(start)

    def release(self, start: str, seconds: int, how: str) -> None:
        """Remember that an interval is released. Release it only after this has returned.

        Args:
            start: start of the interval, `YYYY-MM-DD HH:MM:SS`, UTC.
            seconds: its length.
            how: `rounded`, or `discrete-laplace epsilon=` and epsilon.

        Raises:
            AlreadyReleasedError: if it has been released before.
            LedgerError: if it could not be written; the interval is not to be released then, and may be tried again.
            ValueError: if there is no such start, length or way.
        """
        line = write_line(LedgerLine(start, seconds, how))
        self._settle()
        if start in self._released:
            raise AlreadyReleasedError(
                f"the ledger {self._path} says that the interval from {start} has been released before; leave it out"
            )
        self._append(line)
        self._released.add(start)

    def _settle(self) -> None:
        """See that the file is still there, and what is in it if the last writing failed."""
        if self._descriptor < 0:
            raise LedgerError(f"the ledger {self._path} is closed; open it again")
        try:
            if not leads_to(self._path, self._descriptor):
                raise LedgerError(f"the ledger {self._path} was moved or deleted; move it back, or start again")
            if self._is_in_doubt:
                self._read()
        except OSError as error:
            raise LedgerError(f"cannot read the ledger {self._path}: {error.strerror}; start again") from None

    def _append(self, line: bytes) -> None:
        """Add a line and see it to the disk; if that fails, what is in the file is in doubt."""
        self._is_in_doubt = True
        try:
            _write_through(self._descriptor, line)
        except OSError as error:
            raise LedgerError(
                f"cannot write the ledger {self._path}: {error.strerror}; nothing is released before it can be written"
            ) from None
        self._is_in_doubt = False

    def _read(self) -> None:
        """Take in every line; end the last one if it is whole, cut it off if it is torn."""
        *lines, last = _read_whole(self._path, self._descriptor).split(b"\n")
        nuls = len(last) - len(last := last.rstrip(b"\0"))
        over: dict[str, int] = {}
        released: set[str] = set()
        given_up: set[str] = set()
        for number, line in enumerate([*lines, last] if last and not is_torn(last) else lines, 1):
            try:
                known = parse_line(line)
            except ValueError:
                raise LedgerError(
                    f"line {number} of the ledger {self._path} is damaged, so that nobody can tell what has been"
                    " released; write that line anew, or remove it if its interval was never published"
                ) from None
            if known.files is not None:
                over[known.start] = known.files
            else:
                (given_up if known.how == GIVEN_UP else released).add(known.start)
        cut = nuls + (len(last) if is_torn(last) else 0)
        if cut:
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - cut)
        if last and not is_torn(last):
            _write_through(self._descriptor, b"\n")
        self._over, self._released, self._given_up = over, released, given_up
        self._is_in_doubt = False


def _take(path: Path, descriptor: int) -> None:
    """See that the file is for this program alone."""
    try:
        check(path, descriptor)
    except OwnFileError as error:
        raise LedgerError(str(error)) from None
    if not lock(descriptor):
        raise LedgerError(f"the ledger {path} is in use by another program; wait until that has ended")


def _read_whole(path: Path, descriptor: int) -> bytes:
    if os.fstat(descriptor).st_size > MAX_LEDGER_LENGTH:
        raise LedgerError(f"{path} is far too long for a ledger; name another file")
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()


def _write_through(descriptor: int, data: bytes) -> None:
    """Append all of it, down to the disk.

    Raises:
        OSError: if the disk did not take all; what it took has been cut off again, if it allowed that.
    """
    size = os.fstat(descriptor).st_size
    try:
        written = os.write(descriptor, data)
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise
    if written < len(data):
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
