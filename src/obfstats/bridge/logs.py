"""The program's own log: to a file, to standard error, to tor; in the format and words of the old programs.

    2012-03-06 07:22:24 [info] [scrubbed] (obfs2): Successful outbound connection to '[scrubbed]'.

Rules:

- Times are UTC. Severities are those of the C program: error, warn, notice, info, debug. Nothing below notice is logged
  unless the operator asks for it, because a client's line contains the time of its connection.
- Every address, with its port, is `[scrubbed]` unless the operator turns safe logging off. A listener's own address is
  shown: it is not a client's, and the operator needs its port.
- Tor gets notices and worse, as LOG lines (pt-spec), so tor's log never mentions a client, whatever the operator asks.
- If a line cannot be written it is dropped. A log never disturbs a connection.
"""

from __future__ import annotations

import logging
import os
import time
from logging.handlers import WatchedFileHandler
from typing import TYPE_CHECKING, TextIO

from obfstats.commandline import one_line
from obfstats.wire import lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import TextIOWrapper
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
    """Append to a file, which is made with mode 0600.

    Raises:
        OSError: if it cannot be opened.
    """
    _add(_LogFile(path))


def log_to_tor(tell_tor: Callable[[str], None]) -> None:
    """Log notices and worse to tor.

    Args:
        tell_tor: writes a line to standard output.
    """
    handler = _TorHandler(tell_tor)
    handler.setLevel(NOTICE)
    _root.addHandler(handler)


def warn_of_content(*, safe: bool) -> None:
    """Warn of a log that contains more than it needs to.

    Args:
        safe: whether addresses are scrubbed.
    """
    if not safe:
        _root.warning("safe logging is off: addresses and exact numbers may be logged (--no-safe-logging)")
    is_stored = any(isinstance(handler, logging.StreamHandler) for handler in _root.handlers)
    if is_stored and _root.isEnabledFor(logging.INFO):
        _root.warning("the log contains the time of each connection (--log-min-severity)")


def reopen() -> None:
    """Reopen a log file that was rotated (SIGHUP)."""
    for handler in _root.handlers:
        if isinstance(handler, _LogFile):
            handler.reopen()


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
        super().__init__(path, mode="a", encoding="utf-8", errors="backslashreplace")

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, errors=self.errors, opener=_open_private)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; drop it if the file cannot even be opened any more."""
        try:
            super().emit(record)
        except OSError:
            self.stream = None

    def reopen(self) -> None:
        """Open the path again if it leads to another file, or to none."""
        try:
            self.reopenIfNeeded()
        except OSError:
            self.stream = None


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


def _open_private(path: str, flags: int) -> int:
    # Non-blocking: opening a pipe that has no reader would block the program.
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o600)
