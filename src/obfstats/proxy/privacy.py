"""What the whole process promises: no core dump, and no address in anything it says about its own mistakes.

A traceback, a repr of a socket, a message of asyncio's: each can hold a client's address. So an error that nobody
foresaw is reported as its class and the place in our code where it arose, and nothing else.
"""

from __future__ import annotations

import ctypes
import logging
import resource
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType

    from obfstats.wire.endpoint import Endpoint

SCRUBBED = "[scrubbed]"

_PR_SET_DUMPABLE = 4

_log = logging.getLogger(__name__)


class Show:
    """Writes what concerns clients into a log: as it is, or so that it gives nobody away.

    Attributes:
        safe: whether addresses are scrubbed, and numbers rounded up.
    """

    def __init__(self, *, safe: bool) -> None:
        self.safe = safe

    def __call__(self, endpoint: Endpoint) -> str:
        """Write one address with its port."""
        return SCRUBBED if self.safe else str(endpoint)

    def number(self, number: int) -> int:
        """Round up to the next multiple of 8, as everything that leaves the machine."""
        return -(-number // 8) * 8 if self.safe else number


def forbid_core_dumps() -> None:
    """Keep this process's memory out of files and away from other processes of the same user."""
    # Less than any core's size; and, unlike 0, it also keeps the kernel from handing one to a program (core(5)).
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    most = 1 if hard == resource.RLIM_INFINITY else min(hard, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def scrub_reports(loop: asyncio.AbstractEventLoop) -> None:
    """Send every way that Python reports a mistake through `describe`."""
    warnings.simplefilter("ignore")
    for name in ("asyncio", "concurrent"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    sys.excepthook = lambda _type, error, _trace: report(error)
    sys.unraisablehook = lambda failure: report(failure.exc_value)
    threading.excepthook = lambda failure: report(failure.exc_value)
    loop.set_exception_handler(_report_from_loop)


def describe(error: BaseException | None) -> str:
    """Name an error by its class and the line of ours that it came from; its text stays out.

    Example:
        >>> describe(ValueError("192.0.2.7"))
        'ValueError'
    """
    if error is None:
        return "unknown error"
    place = _place(error.__traceback__)
    return f"{type(error).__name__} at {place}" if place else type(error).__name__


def _place(trace: TracebackType | None) -> str:
    """Give the innermost `module:line` of this package's."""
    place = ""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.startswith("obfstats."):
            place = f"{module}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def report(error: BaseException | None) -> None:
    """Say that there was a mistake of ours, as `describe` has it."""
    _log.error("internal error, please report it: %s", describe(error))


def _report_from_loop(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    # A peer that goes away at the wrong moment is everyday life, not a mistake.
    if not isinstance(error, OSError):
        report(error)
