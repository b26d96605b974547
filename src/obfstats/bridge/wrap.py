"""The command `obfstats wrap`: runs another transport's program between tor and itself, and counts its clients.

    tor  ->  obfstats wrap  ->  PROGRAM              starts
    client  ->  PROGRAM  ->  obfstats wrap  ->  tor  sends bytes to

For the transport, the wrap is tor's extended ORPort; for tor, it is the transport. That is how it learns the clients'
addresses. For transports that do not use the extended ORPort the wrap is tor's plain one, too: it does not count their
clients, but it says so. In everything else the transport runs as under tor: its environment differs by three variables.

The transport needs a cookie to connect to the wrap:

    STATE/wrap-XXXXXXXX/      0700, locked as long as the wrap runs
        cookie                0600, 64 bytes in tor's format; its access time is years ahead

The transport reads the cookie for each client, and the access time would be a client's moment. Linux's default
(relatime) changes one that is past the other times only when it is a day old, so one that lies ahead never changes.

A wrap that is killed cannot remove its folder. The next one removes every such folder that is not locked.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.bridge import logs, process
from obfstats.bridge.child import StdoutMux, TransportProcess
from obfstats.bridge.commands import read_wrap
from obfstats.bridge.daemon import SIGNALS, Daemon, ListeningService, make_context
from obfstats.bridge.options import DaemonOptions
from obfstats.bridge.resources import descriptors_left, find_limits
from obfstats.bridge.scrapes import MetricsError, open_metrics
from obfstats.bridge.statistics import open_statistics
from obfstats.bridge.threads import JobThread
from obfstats.commandline import UsageError, fail
from obfstats.lockedfile import LockedFileError, make_folder
from obfstats.proxy import privacy
from obfstats.proxy.listener import bound, listen
from obfstats.proxy.orport import OrPortTarget
from obfstats.proxy.wrap.carriers import Carriers, can_splice
from obfstats.proxy.wrap.service import WrapService
from obfstats.proxy.wrap.session import set_loopback_options
from obfstats.record import RecordError
from obfstats.record.clock import SystemClock
from obfstats.wire.endpoint import Endpoint
from obfstats.wire.extorport import COOKIE_LENGTH, write_cookie
from obfstats.wire.pluggable import (
    COOKIE_FILE,
    EXTENDED_PORT,
    ORPORT,
    PluggableError,
    negotiate_version,
    read_orports,
    read_servers,
    read_state,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from obfstats.bridge.options import DaemonOptions
    from obfstats.bridge.statistics import Statistics

NAME = "obfstats wrap"

COOKIE_NAME = "cookie"

ACCESS_TIME_AHEAD = 10 * 365 * 86_400
"""Seconds from the start of a wrap to the access time of its cookie."""

_FOLDER_PREFIX = "wrap-"
_FOLDER_ATTEMPTS = 10

_SHORTAGES = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}

_LOOPBACK = Endpoint("127.0.0.1", 0)

_DESCRIPTORS = 3
"""Descriptors per connection: 2 sockets, plus on average 1 for pipes (a connection blocked in both directions holds 4;
one in four is allowed for)."""


@dataclass(frozen=True, slots=True)
class _TorSettings:
    """What tor's environment says.

    Attributes:
        names: the transports that tor asks for.
        state: the folder that may be written to.
        orports: by the variable that names it to the transport, where the clients of each ORPort of the wrap's are
            forwarded.
        variables: the whole environment.
    """

    names: Sequence[str]
    state: Path
    orports: Mapping[str, OrPortTarget]
    variables: Mapping[str, str]


def run_command(given: argparse.Namespace) -> int:
    """Run the command.

    Args:
        given: the options of commands.py.

    Returns:
        The transport's exit status; 1 if tor's environment or the statistics log is wrong, 2 if the program cannot be
        started. If tor asks for no server this does not return, because the program replaces this one.

    Raises:
        UsageError: if options do not go together.
    """
    try:
        options = read_wrap(given)
    except ValueError as error:
        raise UsageError(str(error)) from None
    program: Sequence[str] = given.program
    try:
        names = read_servers(os.environ)
        if not names:
            return _exec(program)
        orports = read_orports(os.environ)
        orport, cookie_file = orports.choose()
        cookie = None if cookie_file is None else Path(cookie_file)
        targets = {EXTENDED_PORT: OrPortTarget([orport], cookie, os.urandom)}
        if orports.orport is not None:
            targets[ORPORT] = OrPortTarget([orports.orport], None, os.urandom)
        tor = _TorSettings(names, Path(read_state(os.environ)), targets, _inherited_variables())
    except PluggableError as error:
        process.tell_tor(error.line)
        return 1
    # Signals wait until the loop runs: a wrap that ends halfway would leave its folder and the transport.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    process.fill_standard_descriptors()
    try:
        process.set_up(options.log, has_terminal=False)
    except LockedFileError as error:
        return fail(NAME, str(error))
    stdout = StdoutMux()
    if options.log.enabled:
        logs.log_to_tor(stdout.write_line)
    logs.warn_of_content(safe=options.log.safe)
    try:
        return _open_statistics_and_serve(program, options, tor, stdout)
    except OSError as error:
        return process.fail_without(NAME, error)


def _open_statistics_and_serve(
    program: Sequence[str], options: DaemonOptions, tor: _TorSettings, stdout: StdoutMux
) -> int:
    """Open the statistics, then serve; return the exit status."""
    statistics = None
    try:
        if options.statistics.enabled:
            # Two lines of torrc with different commands are two wraps with one folder.
            name = "-".join(sorted(tor.names))
            statistics = open_statistics(options.statistics, tor.state, SystemClock(), name)
    except RecordError as error:
        return _refuse_all(tor.names, str(error))
    with contextlib.ExitStack() as stack:
        if statistics is not None:
            stack.callback(statistics.recorder.close)
        return _start_transport_and_serve(program, options, tor, stdout, statistics)


def _start_transport_and_serve(
    program: Sequence[str], options: DaemonOptions, tor: _TorSettings, stdout: StdoutMux, statistics: Statistics | None
) -> int:
    """Start the transport's program and serve it until it ends; return its exit status."""
    cookie = os.urandom(COOKIE_LENGTH)
    with contextlib.ExitStack() as stack:
        try:
            listening = {variable: stack.enter_context(listen(_LOOPBACK)) for variable in tor.orports}
            for each in listening.values():
                set_loopback_options(each)
        except OSError as error:
            return _refuse_all(tor.names, f"cannot listen on {_LOOPBACK.host}: {error.strerror}")
        try:
            metrics = open_metrics(options.metrics)
        except MetricsError as error:
            return _refuse_all(tor.names, str(error))
        try:
            file = stack.enter_context(cookie_file(cookie, tor.state))
        except OSError as error:
            return _refuse_all(tor.names, f"cannot keep a cookie in {tor.state}: {error.strerror}")
        places = {variable: str(bound(each)) for variable, each in listening.items()}
        variables = {**tor.variables, **places, COOKIE_FILE: str(file)}
        try:
            transport = TransportProcess(program, variables, stdout)
        except OSError as error:
            return _cannot_start(program, error)
        stack.callback(transport.kill)
        process.unblock_stdout()
        # After the program was started, which keeps the limits that tor has set.
        limits = find_limits(options.limits, descriptors=_DESCRIPTORS)
        context = make_context(limits, privacy.LogFormatter(safe=options.log.safe))
        carriers = Carriers(descriptors_left(limits) // 2 if can_splice() else 0, context.totals)
        recorder = None if statistics is None else statistics.recorder
        services = []
        for variable, target in tor.orports.items():
            known = cookie if variable == EXTENDED_PORT else None
            service = WrapService(context, known, target, recorder, carriers, max_unfinished=limits.handshakes)
            services.append(ListeningService(listening[variable], service))
        daemon = Daemon(NAME, context, SystemClock(), statistics, has_heartbeat=True, child=transport, metrics=metrics)
        daemon.run(services)
        return transport.status


def _exec(command: Sequence[str]) -> int:
    """Replace this program by another, as if that had been started itself."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        # Python ignores them, and ignored signals are inherited.
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), _inherited_variables())  # noqa: S606 - the operator's own words
    except OSError as error:
        return _cannot_start(command, error)


def _inherited_variables() -> dict[str, str]:
    """Return this process's variables as they were before Python started: in the C locale it adds one (PEP 538)."""
    variables = dict(os.environ)
    with contextlib.suppress(OSError):
        if b"\0LC_CTYPE=" not in b"\0" + Path("/proc/self/environ").read_bytes():
            variables.pop("LC_CTYPE", None)
    return variables


def _refuse_all(names: Sequence[str], reason: str) -> int:
    """Tell tor, in place of the program, why no transport is served; return the exit status."""
    try:
        process.tell_tor(negotiate_version(os.environ))
    except PluggableError as error:
        process.tell_tor(error.line)
        return 1
    return process.refuse_servers(dict.fromkeys(names, reason))


def _cannot_start(command: Sequence[str], error: OSError) -> int:
    advice = "" if error.errno in _SHORTAGES else "; name a transport's program after --"
    return fail(NAME, f"cannot start {command[0]}: {error.strerror}{advice}")


@contextlib.contextmanager
def cookie_file(cookie: bytes, state: Path) -> Iterator[Path]:
    """Keep a cookie in a file until the block ends, and remove the folders of killed wraps.

    Args:
        cookie: 32 bytes.
        state: the folder that tor lets us write to; it is made if it does not exist.

    Yields:
        The file.

    Raises:
        OSError: if it cannot be made.
    """
    make_folder(state, 0o700)
    for left_over in state.glob(f"{_FOLDER_PREFIX}*"):
        _remove_unlocked(left_over)
    folder, lock = _make_folder(state)
    try:
        path = folder / COOKIE_NAME
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            os.write(descriptor, write_cookie(cookie))
            now = time.time()
            os.utime(descriptor, (now + ACCESS_TIME_AHEAD, now))
        finally:
            os.close(descriptor)
        yield path
    finally:
        # A disk that does not answer must not keep the program from ending. The next wrap removes what stays.
        with contextlib.suppress(OSError):
            JobThread("cookie").run(partial(_remove_folder, folder))
        os.close(lock)


def _make_folder(state: Path) -> tuple[Path, int]:
    """Make a folder and lock it; return it, and the descriptor that holds the lock."""
    for _ in range(_FOLDER_ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=state))
        # Another wrap that starts at this moment may think that it is left over, and remove it.
        with contextlib.suppress(FileNotFoundError):
            lock = _lock_folder(folder)
            if lock is not None and folder.exists():
                return folder, lock
            if lock is not None:
                os.close(lock)
    raise FileExistsError(0, "other programs remove it", str(state))


def _remove_unlocked(folder: Path) -> None:
    """Remove a folder, if no wrap has locked it."""
    with contextlib.suppress(OSError):
        lock = _lock_folder(folder)
        if lock is not None:
            _remove_folder(folder)
            os.close(lock)


def _lock_folder(folder: Path) -> int | None:
    """Lock a folder; None if another program has locked it.

    Raises:
        OSError: if it is not a folder, or does not exist.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / COOKIE_NAME).unlink(missing_ok=True)
        folder.rmdir()
