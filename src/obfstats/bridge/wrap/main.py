"""The program `obfstats wrap`: starts a transport as tor would, and stands between it and tor's ORPort.

    tor  ->  obfstats wrap  ->  PROGRAM              who starts whom
    client  ->  PROGRAM  ->  obfstats wrap  ->  tor  the way of the bytes

To the transport the wrap is tor's extended ORPort, to tor it is the transport; that is where it learns who comes. In
everything else the transport has tor's own words: its environment differs by two variables.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.bridge import answers, logs, process
from obfstats.bridge.commands import LimitOptions, WrapOptions, read_log, read_statistics
from obfstats.bridge.serving import SIGNALS, Entrance, descriptors_left, find_limits, make_context, run
from obfstats.bridge.serving import Program as Serving
from obfstats.bridge.statistics import open_statistics
from obfstats.bridge.wrap import cookie
from obfstats.bridge.wrap.program import Program
from obfstats.bridge.wrap.speech import Speech
from obfstats.commandline import UsageError
from obfstats.proxy import privacy
from obfstats.proxy.listener import bound, listen
from obfstats.proxy.orport import OrPortTarget
from obfstats.proxy.wrap.service import WrapService
from obfstats.proxy.wrap.session import set_loopback_options
from obfstats.record import RecordError
from obfstats.record.clock import SystemClock
from obfstats.wire import lines
from obfstats.wire.endpoint import Endpoint
from obfstats.wire.extorport import COOKIE_LENGTH
from obfstats.wire.pluggable import (
    COOKIE_FILE,
    EXTENDED_PORT,
    PluggableError,
    negotiate_version,
    read_orports,
    read_servers,
    read_state,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from obfstats.bridge.statistics import Statistics
    from obfstats.record.clock import Clock

NAME = "obfstats wrap"
"""What the program calls itself."""

_LOOPBACK = Endpoint("127.0.0.1", 0)

_DESCRIPTORS = 3
"""Of a connection: two sockets, and for one in four that is held up both ways two pipes."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What tor says.

    Attributes:
        names: the transports that it asks for.
        state: the folder that may be written to.
        target: where clients are forwarded.
        variables: the whole environment.
    """

    names: Sequence[str]
    state: Path
    target: OrPortTarget
    variables: Mapping[str, str]


def run_command(given: argparse.Namespace) -> int:
    """Run the command.

    Args:
        given: the options of commands.py.

    Returns:
        The exit status.

    Raises:
        UsageError: if options do not go together.
    """
    try:
        statistics = read_statistics(given)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return run_wrap(WrapOptions(given.program, read_log(given), statistics, LimitOptions(given.max_connections)))


def run_wrap(options: WrapOptions, clock: Clock | None = None) -> int:
    """Run a transport's program, and count its clients.

    Args:
        options: the command line.
        clock: what tells the time; the machine's own if None.

    Returns:
        the transport's exit status; 1 where tor's environment or the statistics log is to blame, 2 where the program
        cannot be started. Where tor asks for no server this does not return: the program takes this one's place.
    """
    try:
        names = read_servers(os.environ)
        if not names:
            return _become(options.program)
        orport, cookie_file = read_orports(os.environ).choose()
        target = OrPortTarget([orport], None if cookie_file is None else Path(cookie_file), os.urandom)
        told = _Told(names, Path(read_state(os.environ)), target, _inherited())
    except PluggableError as error:
        answers.say(error.line)
        return 1
    # What comes before the loop runs waits until it does: a wrap that is ended halfway would leave things behind.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    process.fill_standard_descriptors()
    try:
        process.begin(options.log, has_terminal=False)
    except OSError as error:
        file = options.log.file
        return logs.refuse(f"cannot open the log {file}: {error.strerror}; name another with --log-file", NAME)
    speech = Speech()
    if options.log.enabled:
        logs.to_tor(speech.say)
    logs.say_what_it_holds(safe=options.log.safe)
    return _count(options, told, speech, clock or SystemClock())


def _count(options: WrapOptions, told: _Told, speech: Speech, clock: Clock) -> int:
    """Open the statistics, and serve; give the exit status."""
    statistics = None
    try:
        if options.statistics.enabled:
            # Two lines of torrc with different commands are two wraps with one folder.
            statistics = open_statistics(options.statistics, told.state, clock, "-".join(sorted(told.names)))
    except RecordError as error:
        return _refuse(told.names, str(error))
    with contextlib.ExitStack() as stack:
        if statistics is not None:
            stack.callback(statistics.recorder.close)
        return _serve(options, told, speech, statistics, clock)


def _serve(options: WrapOptions, told: _Told, speech: Speech, statistics: Statistics | None, clock: Clock) -> int:
    """Start the program and stand between it and tor until it ends; give its exit status."""
    known = os.urandom(COOKIE_LENGTH)
    with contextlib.ExitStack() as stack:
        try:
            listening = stack.enter_context(listen(_LOOPBACK))
            set_loopback_options(listening)
        except OSError as error:
            return _refuse(told.names, f"cannot listen on {_LOOPBACK.host}: {error.strerror}")
        try:
            file = stack.enter_context(cookie.kept(known, told.state))
        except OSError as error:
            return _refuse(told.names, f"cannot keep a cookie in {told.state}: {error.strerror}")
        variables = {**told.variables, EXTENDED_PORT: str(bound(listening)), COOKIE_FILE: str(file)}
        try:
            program = Program(options.program, variables, speech)
        except OSError as error:
            return _cannot_start(options.program, error)
        stack.callback(program.kill)
        answers.never_wait()
        # After the program has been started: it keeps the limits that tor has set.
        limits = find_limits(options.limits, networks=False, descriptors=_DESCRIPTORS)
        pipes = descriptors_left(limits) // 2
        context = make_context(limits, privacy.Show(safe=options.log.safe))
        recorder = None if statistics is None else statistics.recorder
        service = WrapService(context, known, told.target, recorder, max_unfinished=limits.handshakes, max_pipes=pipes)
        serving = Serving(NAME, context, clock, statistics, beats=True, ends_with_stdin=False, companion=program)
        run(serving, [Entrance(listening, service)])
        return program.status


def _become(command: Sequence[str]) -> int:
    """Let the program take this one's place, as if it had been started itself."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        # Python ignores them, and a program inherits what is ignored.
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), _inherited())  # noqa: S606 - the operator's own words
    except OSError as error:
        return _cannot_start(command, error)


def _inherited() -> dict[str, str]:
    """Give this process's variables as they were before Python began: in the C locale it adds one (PEP 538)."""
    variables = dict(os.environ)
    with contextlib.suppress(OSError):
        if b"\0LC_CTYPE=" not in b"\0" + Path("/proc/self/environ").read_bytes():
            variables.pop("LC_CTYPE", None)
    return variables


def _refuse(names: Sequence[str], reason: str) -> int:
    """Say for every transport why it is not served."""
    try:
        answers.say(negotiate_version(os.environ))
    except PluggableError as error:
        answers.say(error.line)
        return 1
    for name in names:
        answers.say(lines.smethod_error(name, reason))
    answers.say(lines.SMETHODS_DONE)
    return 1


def _cannot_start(command: Sequence[str], error: OSError) -> int:
    """Say to tor and to people that there is no such program."""
    reason = f"cannot start {command[0]}: {error.strerror}; name a transport's program behind --"
    answers.say(lines.env_error(reason))
    return logs.refuse(reason, NAME)
