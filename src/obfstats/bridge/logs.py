"""What the program says: to a file, to standard error, to tor; in the wording and form of the old programs.

    2012-03-06 07:22:24 [info] [scrubbed] (obfs2): Successful outbound connection to '[scrubbed]'.

Rules:

- Times are UTC. Severities are the C program's: error, warn, notice, info, debug; nothing below notice is said unless
  it is asked for, because the line of a client dates that client's visit.
- Every address, with its port, is `[scrubbed]` unless the operator turns safe logging off. A listener's own address
  is shown: it is no client's, and the operator needs its port.
- Tor gets notices and worse, as LOG lines (pt-spec), so a client is never in tor's log, whatever the operator asks for.
- A log that cannot be written is dropped line by line. It never disturbs a connection.
"""

from __future__ import annotations

import logging
import os
import time
from logging.handlers import WatchedFileHandler
from typing import TYPE_CHECKING, TextIO

from obfstats.commandline import one_line, print_error
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
"""Both old programs' words."""

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


def begin(severity: int) -> None:
    """Begin with no place to say anything; what comes from other libraries is not said at all.

    Args:
        severity: the lowest that is said, one of SEVERITIES' values.
    """
    # A handler that fails would print a traceback, and a library that warns an address.
    logging.raiseExceptions = False
    logging.lastResort = None
    _root.setLevel(severity)
    _root.propagate = False
    for handler in list(_root.handlers):
        _root.removeHandler(handler)
        handler.close()
    _root.addHandler(logging.NullHandler())


def to_stream(stream: TextIO | None) -> None:
    """Say it on a stream; nothing happens where the stream is closed."""
    if stream is not None:
        _add(logging.StreamHandler(stream))


def to_file(path: Path) -> None:
    """Append it to a file, which is made with mode 0600.

    Raises:
        OSError: if it cannot be opened.
    """
    _add(_LogFile(path))


def to_tor(say: Callable[[str], None]) -> None:
    """Say notices and worse to tor.

    Args:
        say: writes a line to tor's end of standard output.
    """
    handler = _ToTor(say)
    handler.setLevel(NOTICE)
    _root.addHandler(handler)


def say_what_it_holds(*, safe: bool) -> None:
    """Warn of a log that holds more than it needs to.

    Args:
        safe: whether addresses are scrubbed.
    """
    if not safe:
        _root.warning("safe logging is off: addresses and exact numbers may be logged (--no-safe-logging)")
    is_kept = any(isinstance(handler, logging.StreamHandler) for handler in _root.handlers)
    if is_kept and _root.isEnabledFor(logging.INFO):
        _root.warning("the log says when each connection came (--log-min-severity)")


def reopen() -> None:
    """Follow a log file that was rotated away (SIGHUP)."""
    for handler in _root.handlers:
        if isinstance(handler, _LogFile):
            handler.follow()


def _add(handler: logging.Handler) -> None:
    handler.setFormatter(_Form())
    _root.addHandler(handler)


class _Form(logging.Formatter):
    """One line for each record; no traceback, no stack."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        return f"{stamp} [{_WORDS.get(record.levelno, 'info')}] {one_line(record.getMessage())}"


class _LogFile(WatchedFileHandler):
    """The operator's log, for its owner alone, followed when it is rotated."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="a", encoding="utf-8", errors="backslashreplace")

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, errors=self.errors, opener=_private)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; where the file cannot even be opened any more, leave it."""
        try:
            super().emit(record)
        except OSError:
            self.stream = None

    def follow(self) -> None:
        """Open the file anew if another one, or none, stands in its place."""
        try:
            self.reopenIfNeeded()
        except OSError:
            self.stream = None


class _ToTor(logging.Handler):
    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Say it as a LOG line."""
        severity: lines.Severity = "notice"
        if record.levelno >= logging.WARNING:
            severity = "error" if record.levelno >= logging.ERROR else "warning"
        self._say(lines.log(severity, record.getMessage()))


def refuse(reason: str, who: str = "obfsproxy") -> int:
    """Say on standard error why a program cannot start, in one line, and give its exit status."""
    print_error(who, reason)
    return 2


def _private(path: str, flags: int) -> int:
    # Not waiting: a pipe that nobody reads would hold the program up for ever.
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o600)
