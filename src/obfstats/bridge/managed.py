"""The program as tor starts it (pt-spec, version 1): tor's environment says what to do, standard output answers.

The order of the answers: VERSION, then for a client PROXY, then a line for each transport, then DONE; LOG lines may
come between them, and after DONE only LOG and STATUS lines come. An environment that cannot be used is answered with
the specification's error line and exit status 1. A transport that nobody here knows is passed over without a word; one
that is known, but cannot be served, gets an error line of its own, which tor writes into its log, and the others go on.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats import __version__
from obfstats.bridge import answers, logs
from obfstats.bridge.serving import Entrance, Program, find_limits, make_context, run
from obfstats.bridge.statistics import open_statistics
from obfstats.proxy import privacy
from obfstats.proxy.client import SocksClient
from obfstats.proxy.listener import bound, listen
from obfstats.proxy.orport import OrPortTarget
from obfstats.proxy.outbound import Direct, LocalAddresses, Proxied
from obfstats.proxy.server import BridgeService
from obfstats.record import RecordError
from obfstats.wire import lines
from obfstats.wire.endpoint import Endpoint
from obfstats.wire.pluggable import PluggableError, ServerEnvironment, negotiate_version, read_environment
from obfstats.wire.transports import RETIRED, TRANSPORTS, TransportError, make_transport_with
from obfstats.wire.upstream import UpstreamError, parse_upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from obfstats.bridge.commands import ObfsproxyOptions
    from obfstats.proxy.service import Context, Service
    from obfstats.record import Recorder
    from obfstats.record.clock import Clock
    from obfstats.wire.pluggable import ClientEnvironment, ServerTransport

_LOOPBACK = Endpoint("127.0.0.1", 0)


def run_managed(options: ObfsproxyOptions, clock: Clock) -> int:
    """Serve until tor ends it.

    Args:
        options: the command line.
        clock: what tells the time.

    Returns:
        the exit status: 0 after a signal or the end of standard input, 1 where it could not start.
    """
    try:
        answers.say(negotiate_version(os.environ))
        environment = read_environment(os.environ)
    except PluggableError as error:
        answers.say(error.line)
        return 1
    if options.log.enabled:
        logs.to_tor(answers.say)
    logs.say_what_it_holds(safe=options.log.safe)
    if isinstance(environment, ServerEnvironment):
        return _run_server(options, environment, clock)
    return _run_client(options, environment, clock)


def _run_server(options: ObfsproxyOptions, environment: ServerEnvironment, clock: Clock) -> int:
    names = [transport.name for transport in environment.transports]
    statistics = None
    try:
        if options.statistics.enabled and any(name in TRANSPORTS for name in names):
            # Two lines of torrc with different commands are two programs with one folder.
            statistics = open_statistics(options.statistics, Path(environment.state), clock, "-".join(sorted(names)))
    except RecordError as error:
        return _refuse_all(names, lines.smethod_error, lines.SMETHODS_DONE, str(error))
    context = make_context(find_limits(options.limits, networks=True), privacy.Show(safe=options.log.safe))
    destination, cookie_file = environment.orports.choose()
    orport = OrPortTarget([destination], None if cookie_file is None else Path(cookie_file), context.random)
    recorder = None if statistics is None else statistics.recorder
    entrances = []
    with contextlib.ExitStack() as sockets:
        for wanted in environment.transports:
            make = partial(_make_server, context, wanted, orport, destination, recorder)
            entrance = _open(wanted.name, wanted.bind, make, lines.smethod_error)
            if entrance is not None:
                sockets.callback(entrance.listening.close)
                answers.say(lines.smethod(wanted.name, bound(entrance.listening)))
                entrances.append(entrance)
        answers.say(lines.SMETHODS_DONE)
        program = Program(
            "obfsproxy", context, clock, statistics, beats=True, ends_with_stdin=environment.exit_on_stdin_close
        )
        return _run(program, entrances)


def _run_client(options: ObfsproxyOptions, environment: ClientEnvironment, clock: Clock) -> int:
    local = LocalAddresses(environment.outbound_v4, environment.outbound_v6)
    way: Direct | Proxied = Direct(local)
    if environment.proxy is not None:
        try:
            way = Proxied(parse_upstream(environment.proxy), local)
        except UpstreamError as error:
            answers.say(lines.proxy_error(str(error)))
            return 1
        answers.say(lines.PROXY_DONE)
    elif options.proxy is not None:
        way = Proxied(options.proxy, local)
    context = make_context(find_limits(options.limits, networks=False), privacy.Show(safe=options.log.safe))
    entrances = []
    with contextlib.ExitStack() as sockets:
        for wanted in environment.transports:
            make = partial(SocksClient, context, wanted, way, {})
            entrance = _open(wanted, _LOOPBACK, make, lines.cmethod_error)
            if entrance is not None:
                sockets.callback(entrance.listening.close)
                answers.say(lines.cmethod(wanted, bound(entrance.listening)))
                entrances.append(entrance)
        answers.say(lines.CMETHODS_DONE)
        program = Program(
            "obfsproxy", context, clock, None, beats=False, ends_with_stdin=environment.exit_on_stdin_close
        )
        return _run(program, entrances)


def _run(program: Program, entrances: list[Entrance]) -> int:
    """Serve, unless there is nothing to serve."""
    if not entrances:
        if program.statistics is not None:
            program.statistics.recorder.close()
        return 1
    answers.never_wait()
    answers.say(lines.status_version(__version__, "obfstats"))
    run(program, entrances)
    return 0


def _open(
    name: str, endpoint: Endpoint, make: Callable[[], Service], complain: Callable[[str, str], str]
) -> Entrance | None:
    """Open the listener of one transport; None where it cannot be served, which is said as far as it has to be."""
    if name in RETIRED:
        answers.say(complain(name, RETIRED[name]))
        return None
    if name not in TRANSPORTS:
        return None
    try:
        service = make()
    except TransportError as error:
        answers.say(complain(name, str(error)))
        return None
    try:
        return Entrance(listen(endpoint), service)
    except OSError as error:
        answers.say(complain(name, f"cannot listen on {endpoint}: {error.strerror}"))
        return None


def _make_server(
    context: Context,
    wanted: ServerTransport,
    orport: OrPortTarget,
    destination: Endpoint,
    recorder: Recorder | None,
) -> BridgeService:
    """Make one transport's service.

    Raises:
        TransportError: if it does not take torrc's options.
    """
    return BridgeService(context, make_transport_with(wanted.name, wanted.options), orport, destination, recorder)


def _refuse_all(names: Iterable[str], complain: Callable[[str, str], str], done: str, reason: str) -> int:
    """Say for every transport that is ours why it is not served."""
    for name in names:
        if name in TRANSPORTS or name in RETIRED:
            answers.say(complain(name, RETIRED.get(name, reason)))
    answers.say(done)
    return 1
