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
- If a line cannot be written it is dropped. A log never disturbs a connection.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from obfstats.commandline import one_line
from obfstats.lockedfile import LockedFileError, make_private
from obfstats.wire import lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import TextIOWrapper


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
    is_stored = any(isinstance(handler, logging.StreamHandler) for handler in _root.handlers)
    if is_stored and _root.isEnabledFor(logging.INFO):
        _root.warning("the log contains the time of each connection (--log-min-severity)")
    _warn_of_corrections()


def reopen() -> None:
    """Reopen a log file that was rotated, and see that only its owner can read it (SIGHUP, each tick)."""
    for handler in _root.handlers:
        if isinstance(handler, _LogFile):
            handler.reopen()
    _warn_of_corrections()


def _warn_of_corrections() -> None:
    for handler in _root.handlers:
        if isinstance(handler, _LogFile):
            handler.warn_of_correction()


def _add(handler: logging.Handler) -> None:
    handler.setFormatter(_Formatter())
    _root.addHandler(handler)


class _Formatter(logging.Formatter):
    """One line for each message; no traceback, no stack."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        return f"{stamp} [{_WORDS.get(record.levelno, 'info')}] {one_line(record.getMessage())}"


class _LogFile(WatchedFileHandler):
    """A log that only its owner may read; when it is rotated, the new file is used."""

    def __init__(self, path: Path) -> None:
        self._correction = self._obstacle = ""
        super().__init__(path, mode="a", encoding="utf-8", errors="backslashreplace")

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, errors=self.errors, opener=self._open_private)

    def _open_private(self, path: str, flags: int) -> int:
        # Non-blocking: opening a pipe that has no reader would block the program.
        more = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(path, flags | more, 0o600)
        try:
            self._make_private(descriptor)
        except (OSError, LockedFileError):
            os.close(descriptor)
            raise
        return descriptor

    def _make_private(self, descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            self._correction = make_private(descriptor, Path(self.baseFilename)) or self._correction

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; drop it if the file cannot even be opened any more."""
        try:
            super().emit(record)
        except (OSError, LockedFileError):
            self.stream = None

    def reopen(self) -> None:
        """Open the path again if it leads to another file, or to none; take access from others."""
        try:
            self.reopenIfNeeded()
            if self.stream is not None:
                self._make_private(self.stream.fileno())
        except OSError:
            self.stream = None
        except LockedFileError as error:
            self.close()
            self._warn_once(f"nothing is logged to a file: {error}")
        else:
            self._obstacle = ""

    def warn_of_correction(self) -> None:
        """Log that others had access to the file. Not while a client's line is written: that would date it to tor."""
        correction, self._correction = self._correction, ""
        if correction:
            _root.warning("%s", correction)

    def _warn_once(self, obstacle: str) -> None:
        if obstacle != self._obstacle:
            self._obstacle = obstacle
            _root.warning("%s", obstacle)


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
