"""What both daemons do with their own process: standard streams, private memory, error reports, the log.

Rules:

- No core dump, and no other process of the same user reads this one's memory: the secret and addresses are in it.
- Whatever Python reports about an error by itself goes through `privacy`, which shows no address, and not the moment of
  a client whose connection caused it.
- What an old kernel lacks or a policy forbids (SELinux, seccomp) is done without, and the operator is told (`attempt`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import resource
import stat
import sys
import threading
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from obfstats.bridge import logs
from obfstats.commandline import fail
from obfstats.proxy import privacy
from obfstats.wire import lines

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from obfstats.bridge.options import LogOptions

SWITCH_INTERVAL = 0.0005
"""Seconds a thread may keep the interpreter: obfs2's 100,000 hashes must not delay the relay."""

STDOUT = 1

_PR_SET_DUMPABLE = 4
_M_PERTURB = -6

_NO_METRICS_SAVE = Path("/proc/sys/net/ipv4/tcp_no_metrics_save")

_libc = ctypes.CDLL(None, use_errno=True)

_refusals: dict[str, None] = {}

_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)


def fill_standard_descriptors() -> None:
    """Open /dev/null in place of closed standard streams: no socket may become descriptor 2."""
    while (descriptor := os.open("/dev/null", os.O_RDWR)) <= 2:
        # Standard streams are inherited by a program that is started from here.
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def tell_tor(line: str) -> None:
    """Write a line to tor on standard output (wire/lines.py), whole or not at all; if tor is gone, that is no error."""
    with contextlib.suppress(OSError):
        os.write(STDOUT, encode_line(line))


def encode_line(line: str) -> bytes:
    """Encode a line to tor, and end it."""
    return f"{line}\n".encode("ascii", "backslashreplace")


def refuse_servers(reasons: Mapping[str, str]) -> int:
    """Tell tor why no server's transport is served; return the exit status.

    Args:
        reasons: one for each transport that gets an answer.
    """
    for name, reason in reasons.items():
        tell_tor(lines.smethod_error(name, reason))
    tell_tor(lines.SMETHODS_DONE)
    return 1


def unblock_stdout() -> None:
    """Make sure that from now on a tor that does not read standard output cannot block the program."""
    if stat.S_ISFIFO(os.fstat(STDOUT).st_mode):
        os.set_blocking(STDOUT, False)


def attempt(call: Callable[[], _Result], otherwise: _Result, consequence: str) -> _Result:
    """Make a system call that the program can do without, where the system refuses it.

    Args:
        call: makes it.
        otherwise: what is returned if it is refused.
        consequence: what follows from that, for `log_refusals`.
    """
    try:
        return call()
    except (OSError, ValueError) as error:
        # Python makes a ValueError of setrlimit's EPERM.
        reason = error.strerror if isinstance(error, OSError) else os.strerror(errno.EPERM)
        _refusals.setdefault(f"{consequence}: {reason}")
        return otherwise


def fail_without(program: str, error: OSError) -> int:
    """Tell the operator that the system refuses a call that the program needs; return the exit status."""
    return fail(program, f"the system refuses what this program needs: {error.strerror}")


def log_refusals() -> None:
    """Log what the system has refused, once: at the start there is no log yet."""
    for sentence in _refusals:
        _log.warning("%s", sentence)
    _refusals.clear()


def prctl(option: int, argument: int) -> None:
    """Change how the kernel treats this process (prctl(2)).

    Raises:
        OSError: if the kernel refuses.
    """
    if _libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def set_up(options: LogOptions, *, has_terminal: bool) -> None:
    """Make this process's memory private and open the log that the operator wants.

    Args:
        options: about the log.
        has_terminal: whether the operator reads standard error, rather than tor standard output.

    Raises:
        LockedFileError: if the log's file cannot be used.
    """
    forbid_core_dumps()
    overwrite_freed_memory()
    sys.setswitchinterval(SWITCH_INTERVAL)
    logs.set_up(options.severity)
    if not options.enabled:
        return
    if options.file is not None:
        logs.log_to_file(options.file)
    elif has_terminal:
        logs.log_to_stream(sys.stderr)


def forbid_core_dumps() -> None:
    """Keep this process's memory out of core files and away from other processes of the same user."""
    attempt(_limit_core, None, "core dumps could not be turned off")
    attempt(partial(prctl, _PR_SET_DUMPABLE, 0), None, "other programs of this user can read this one's memory")


def _limit_core() -> None:
    # 1 byte is less than any core, and unlike 0 it also keeps the kernel from piping one to a program (core(5)).
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    most = 1 if hard == resource.RLIM_INFINITY else min(hard, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def overwrite_freed_memory() -> None:
    """Have the C library overwrite memory when it is freed (mallopt(3)), because uvloop's connections embed addresses.

    Only glibc can do that. Python's small objects have another allocator, which does not overwrite their memory.
    """
    with contextlib.suppress(AttributeError):
        _libc.mallopt(_M_PERTURB, 0xFF)


def warn_of_tcp_metrics() -> None:
    """Warn where the kernel keeps the address of every client that has left, for any local user to read (tcp(7))."""
    with contextlib.suppress(OSError):
        if _NO_METRICS_SAVE.read_bytes().strip() == b"0":
            _log.warning(
                "the kernel keeps clients' addresses (ip tcp_metrics): set the sysctl net.ipv4.tcp_no_metrics_save to "
                "1, see docs/operators.md"
            )


def scrub_error_reports(loop: asyncio.AbstractEventLoop) -> None:
    """Send every way in which Python reports an error through `privacy`."""
    warnings.simplefilter("ignore")
    for name in ("asyncio", "concurrent"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    sys.excepthook = _report_last
    sys.unraisablehook = lambda failure: privacy.report_error(failure.exc_value)
    threading.excepthook = lambda failure: privacy.report_error(failure.exc_value)
    loop.set_exception_handler(_report_from_loop)


def _report_last(_type: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Report the error that ends the program."""
    privacy.report_error(error)
    privacy.log_errors()


def _report_from_loop(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    # A peer that disconnects at the wrong moment is normal.
    if not isinstance(error, OSError):
        privacy.report_error(error)
