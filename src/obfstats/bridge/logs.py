"""The program's own log: to a file, to standard error, to tor; in the format and words of the old programs.

    2012-03-06 07:22:24 [info] [scrubbed] (obfs2): Successful outbound connection to '[scrubbed]'.

Rules:

- Times are UTC. Severities are those of the C program: error, warn, notice, info, debug. Nothing below notice is logged
  unless the operator asks for it, because a client's line contains the time of its connection.
- Every address, with its port, is `[scrubbed]` unless the operator turns safe logging off. A listener's own address is
  shown: it is not a client's, and the operator needs its port.
- Tor gets notices and worse, as LOG lines (pt-spec), so tor's log never mentions a client, whatever the operator asks.
- A log file is its owner's alone, as the statistics log is: access that others have is taken from them, and a link or
  another user's file is refused. Devices and pipes are used as they are.
- If a line cannot be written it is dropped. A log never disturbs a connection: while the disk of its file does not
  answer, a thread waits for that, and MAX_WAITING lines at most.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import time
from functools import partial
from typing import TYPE_CHECKING, TextIO

from obfstats.bridge.threads import JobThread
from obfstats.commandline import one_line
from obfstats.lockedfile import LockedFile, LockedFileError
from obfstats.wire import lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


NOTICE = 25
"""Between logging's INFO and WARNING, as in tor."""

SEVERITIES = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "notice": NOTICE,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
"""The words of both old programs."""

_WORDS = {
    logging.CRITICAL: "error",
    logging.ERROR: "error",
    logging.WARNING: "warn",
    NOTICE: "notice",
    logging.INFO: "info",
    logging.DEBUG: "debug",
}

MAX_WAITING = 1000
"""Lines that wait for the disk of a log file; further ones are dropped."""

_root = logging.getLogger("obfstats")


def parse_severity(text: str) -> int:
    """Read a severity, in any case.

    Raises:
        ValueError: if there is no such severity.
    """
    severity = SEVERITIES.get(text.lower())
    if severity is None:
        raise ValueError(f"{text!r} is no severity; there are {', '.join(SEVERITIES)}")
    return severity


def set_up(severity: int) -> None:
    """Set the severity, and log to nowhere yet; the messages of other libraries are never logged.

    Args:
        severity: the lowest that is logged, one of SEVERITIES' values.
    """
    # A handler that fails would print a traceback, and a library's warning may have an address in it.
    logging.raiseExceptions = False
    logging.lastResort = None
    _root.setLevel(severity)
    _root.propagate = False
    for handler in list(_root.handlers):
        _root.removeHandler(handler)
        handler.close()
    _root.addHandler(logging.NullHandler())


def log_to_stream(stream: TextIO | None) -> None:
    """Log to a stream, unless it is closed."""
    if stream is not None:
        _add(logging.StreamHandler(stream))


def log_to_file(path: Path) -> None:
    """Append to a file, which only its owner can read.

    Raises:
        LockedFileError: if it cannot be used.
    """
    try:
        handler = _LogFile(path)
    except OSError as error:
        reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise LockedFileError(f"cannot open the log {path}: {reason}; name another with --log-file") from None
    _add(handler)


def log_to_tor(tell_tor: Callable[[str], None]) -> None:
    """Log notices and worse to tor.

    Args:
        tell_tor: writes a line to standard output.
    """
    handler = _TorHandler(tell_tor)
    handler.setLevel(NOTICE)
    _root.addHandler(handler)


def warn_of_content(*, safe: bool) -> None:
    """Warn of a log that contains more than it needs to, and of one that others could read.

    Args:
        safe: whether addresses are scrubbed.
    """
    if not safe:
        _root.warning("safe logging is off: addresses and exact numbers may be logged (--no-safe-logging)")
    is_stored = any(isinstance(handler, (_LogFile, logging.StreamHandler)) for handler in _root.handlers)
    if is_stored and _root.isEnabledFor(logging.INFO):
        _root.warning("the log contains the time of each connection (--log-min-severity)")
    check_files()


def start_threads() -> None:
    """Have a log file written on a thread of its own from now on: its disk may not answer.

    Raises:
        OSError: if no thread can be started.
    """
    for handler in _log_files():
        handler.start_thread()


def check_files() -> None:
    """Reopen a log file that was rotated, and see that only its owner can read it (SIGHUP, each tick)."""
    for handler in _log_files():
        handler.check()


def _log_files() -> list[_LogFile]:
    return [handler for handler in _root.handlers if isinstance(handler, _LogFile)]


def _add(handler: logging.Handler) -> None:
    handler.setFormatter(_Formatter())
    _root.addHandler(handler)


class _Formatter(logging.Formatter):
    """One line for each message; no traceback, no stack."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        return f"{stamp} [{_WORDS.get(record.levelno, 'info')}] {one_line(record.getMessage())}"


class _LogFile(logging.Handler):
    """A log that only its owner may read; when it is rotated, the new file is used."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = _PrivateFile(path)
        self._thread: JobThread | None = None
        self._told: set[str] = set()

    def start_thread(self) -> None:
        """Have the file written on a thread of its own from now on.

        Raises:
            OSError: if no thread can be started.
        """
        self._thread = JobThread("log-file")

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; drop it if the file cannot even be opened any more, or the disk does not answer."""
        self._run(partial(self._file.write, f"{self.format(record)}\n".encode("utf-8", "backslashreplace")))

    def check(self) -> None:
        """Open the path again if it leads to another file, or to none; take access from others, and log that.

        Not while a client's line is written: tor's log would have that client's moment.
        """
        self._run(self._file.check)
        notes, self._file.notes = self._file.notes, set()
        for note in notes - self._told:
            _root.warning("%s", note)
        self._told = notes

    def _run(self, job: Callable[[], None]) -> None:
        if self._thread is None:
            job()
        elif self._thread.waiting < MAX_WAITING:
            self._thread.run(job)


class _PrivateFile:
    """The file of a log, or a device or a pipe, which are used as they are.

    Attributes:
        notes: what the operator should know about it.
    """

    def __init__(self, path: Path) -> None:
        self.notes: set[str] = set()
        self._path = path
        self._file = LockedFile(path, -1)
        self._follow()

    def write(self, line: bytes) -> None:
        """Append a line, whole or not at all."""
        with contextlib.suppress(OSError, LockedFileError):
            self._follow()
            self._file.append(line)

    def check(self) -> None:
        """Open the path again if it leads to another file, or to none; take access from others."""
        try:
            self._follow()
            self._make_private()
        except OSError:
            self._file.close()
        except LockedFileError as error:
            self._file.close()
            self.notes.add(f"nothing is logged to a file: {error}")

    def _follow(self) -> None:
        if self._file.descriptor >= 0 and self._file.is_in_place():
            return
        self._file.close()
        # Non-blocking: opening a pipe that has no reader would block the program.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        self._file = LockedFile(self._path, os.open(self._path, flags, 0o600))
        try:
            self._make_private()
        except (OSError, LockedFileError):
            self._file.close()
            raise

    def _make_private(self) -> None:
        if stat.S_ISREG(os.fstat(self._file.descriptor).st_mode):
            correction = self._file.make_private()
            if correction:
                self.notes.add(correction)


class _TorHandler(logging.Handler):
    def __init__(self, tell_tor: Callable[[str], None]) -> None:
        super().__init__()
        self._tell_tor = tell_tor

    def emit(self, record: logging.LogRecord) -> None:
        """Write a LOG line."""
        severity: lines.Severity = "notice"
        if record.levelno >= logging.WARNING:
            severity = "error" if record.levelno >= logging.ERROR else "warning"
        self._tell_tor(lines.log(severity, record.getMessage()))
