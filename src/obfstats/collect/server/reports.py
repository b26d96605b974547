"""What the service writes about itself: lines on standard error, none of which may have a client's address.

uvicorn's lines about requests are off. An unexpected error is reported as its class and the line of this package that
it came from: its text, or a traceback, could hold what a client has sent.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obfstats.commandline import one_line

if TYPE_CHECKING:
    import asyncio

_PACKAGE = Path(__file__).parents[2]

_log = logging.getLogger(__name__)


def describe_error(error: BaseException) -> str:
    """Name an error by its class and the innermost line of this package; its text stays out.

    Example:
        >>> describe_error(ValueError("192.0.2.7"))
        'ValueError'
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(_PACKAGE):
            return f"{type(error).__name__} at {path.relative_to(_PACKAGE)}:{frame.lineno}"
    return type(error).__name__


def report_error(error: BaseException) -> None:
    """Log an unexpected error."""
    _log.error("internal error: %s", describe_error(error))


def log_problem(sentence: str) -> None:
    """Log what the operator should know."""
    _log.warning("%s", one_line(sentence))


def log_to_standard_error() -> None:
    """Have warnings and errors of all libraries written as one line each, without what would show a client."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", datefmt="%F %T"
    )
    # uvicorn reports requests and exceptions of its own accord, asyncio the representations of connections.
    for name in ("uvicorn.access", "uvicorn.error", "asyncio", "concurrent"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    threading.excepthook = lambda failure: report_error(failure.exc_value or RuntimeError())
    sys.unraisablehook = lambda failure: report_error(failure.exc_value or RuntimeError())


def report_from_loop(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle what an event loop reports. A peer that disconnects at the wrong moment is normal."""
    error = context.get("exception")
    if error is not None and not isinstance(error, OSError):
        report_error(error)
