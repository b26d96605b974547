"""What may be written about clients and about errors.

A client's address is `[scrubbed]` in every log unless the operator turns safe logging off. An unexpected error is
logged as its class and the line of this package that it came from: its text, a traceback and the repr of a socket can
each hold a client's address, and never reach a log. It is not logged at once, because that would date a client, but
with the reports of what was refused.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from obfstats.formats.address import ClientAddress
from obfstats.formats.counts import round_up

if TYPE_CHECKING:
    from types import TracebackType

    from obfstats.wire.endpoint import Endpoint

SCRUBBED = "[scrubbed]"

_errors: dict[str, None] = {}

_log = logging.getLogger(__name__)


class LogFormatter:
    """Formats addresses and numbers for a log, so that they identify no client unless the operator asks for that.

    Attributes:
        safe: whether addresses are scrubbed and numbers rounded up.
    """

    def __init__(self, *, safe: bool) -> None:
        self.safe = safe

    def address(self, address: ClientAddress | Endpoint) -> str:
        """Format an address with its port."""
        if self.safe:
            return SCRUBBED
        return address.host_and_port if isinstance(address, ClientAddress) else str(address)

    def number(self, number: int) -> int:
        """Round up to the next multiple of 8, as in everything that leaves the machine."""
        return round_up(number) if self.safe else number


def describe_error(error: BaseException | None) -> str:
    """Name an error by its class and the innermost line of this package; its text stays out.

    Example:
        >>> describe_error(ValueError("192.0.2.7"))
        'ValueError'
    """
    if error is None:
        return "unknown error"
    line = _innermost_line(error.__traceback__)
    return f"{type(error).__name__} at {line}" if line else type(error).__name__


def report_error(error: BaseException | None) -> None:
    """Keep an error that should not have happened for `log_errors`, as `describe_error` names it."""
    _errors[describe_error(error)] = None


def log_errors() -> None:
    """Log the errors since the last call, each once."""
    for description in list(_errors):
        del _errors[description]
        _log.error("internal error, please report it: %s", description)


def _innermost_line(trace: TracebackType | None) -> str:
    """Return the innermost `module:line` of this package, or an empty text."""
    line = ""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.startswith("obfstats."):
            line = f"{module}:{trace.tb_lineno}"
        trace = trace.tb_next
    return line
