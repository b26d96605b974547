"""The program `obfsproxy`, started by tor (managed mode) or by hand (external mode).

Managed mode (pt-spec, version 1): tor's environment says what to do, standard output answers. The order of the answers
is VERSION, then for a client PROXY, then a line for each transport, then DONE. LOG lines may be between them, and after
DONE there are only LOG and STATUS lines. A command line or an environment that cannot be used is answered with the
specification's error line instead of VERSION, or tor would not log it; the exit status is 2 or 1. A transport that is
not known here gets no answer. One that is known but cannot be served gets an error line, which tor writes into its log,
and the others are served.

External mode: one listener, and the command line says what to do.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from obfstats import __version__
from obfstats.bridge import logs, process
from obfstats.bridge.commands import parse_obfsproxy
from obfstats.bridge.daemon import Daemon, ListeningService, make_context
from obfstats.bridge.resources import connector_to_tor, find_limits
from obfstats.bridge.scrapes import MetricsError, open_metrics
from obfstats.bridge.statistics import open_statistics
from obfstats.commandline import fail
from obfstats.lockedfile import LockedFileError
from obfstats.proxy import privacy
from obfstats.proxy.client import Forwarder, SocksClient
from obfstats.proxy.listener import bound, listen
from obfstats.proxy.orport import OrPortTarget
from obfstats.proxy.outbound import Direct, LocalAddresses, Proxied
from obfstats.proxy.server import BridgeService
from obfstats.record import RecordError
from obfstats.record.clock import SystemClock
from obfstats.wire import lines
from obfstats.wire.endpoint import Endpoint
from obfstats.wire.pluggable import PluggableError, ServerEnvironment, negotiate_version, read_environment
from obfstats.wire.transport_names import RETIRED
from obfstats.wire.transports import TRANSPORTS, TransportError, make_transport, make_transport_with
from obfstats.wire.upstream import UpstreamError, parse_upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from obfstats.bridge.options import ExternalOptions, ObfsproxyOptions
    from obfstats.bridge.statistics import Statistics
    from obfstats.proxy.outbound import Connector
    from obfstats.proxy.service import Context, Service
    from obfstats.record import Recorder
    from obfstats.record.clock import Clock
    from obfstats.wire.handshake import Transport
    from obfstats.wire.pluggable import ClientEnvironment, ServerTransport

NAME = "obfsproxy"

_LOOPBACK = Endpoint("127.0.0.1", 0)

# By name, because as a program this module is __main__.
_log = logging.getLogger("obfstats.bridge.obfsproxy")


def main(arguments: Sequence[str] | None = None, clock: Clock | None = None) -> int:
    """Run the program.

    Args:
        arguments: the command line after the program's name; this process's own if None.
        clock: the clocks; the machine's own if None.

    Returns:
        The exit status: 0 after a signal, 2 if it could not start, 1 if tor's environment was wrong.
    """
    # Until the loop runs, ^C ends the program like any other signal: there is nothing to undo yet.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A log that is rotated while the program starts must not end it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process.fill_standard_descriptors()
    options = parse_obfsproxy(arguments)
    try:
        process.set_up(options.log, has_terminal=options.external is not None)
    except LockedFileError as error:
        return fail(NAME, str(error))
    try:
        if options.external is None:
            return run_managed(options, clock or SystemClock())
        return run_external(options, options.external, clock or SystemClock())
    except OSError as error:
        return process.fail_without(NAME, error)


def run_external(options: ObfsproxyOptions, external: ExternalOptions, clock: Clock) -> int:
    """Serve until a signal arrives.

    Args:
        options: the whole command line.
        external: its part about this mode.
        clock: the clocks.

    Returns:
        The exit status: 0 after a signal, 2 if it could not start.
    """
    try:
        transport = make_transport(external.transport, shared_secret=external.shared_secret)
        addresses = () if external.destination is None else _resolve(external.destination)
    except TransportError as error:
        return fail(NAME, str(error).rstrip("."))
    except (OSError, UnicodeError) as error:
        host = "" if external.destination is None else external.destination.host
        return fail(NAME, f"no such host as {host}: {_reason(error)}; give --dest another")
    try:
        listening = listen(external.listen)
    except (OSError, UnicodeError) as error:
        return fail(NAME, f"cannot listen on {external.listen}: {_reason(error)}; choose another LISTEN:PORT")
    statistics = None
    logs.warn_of_content(safe=options.log.safe)
    with contextlib.closing(listening):
        try:
            metrics = open_metrics(options.metrics if external.is_server else None)
            if external.is_server and options.statistics.enabled:
                statistics = open_statistics(options.statistics, None, clock)
        except (MetricsError, RecordError) as error:
            return fail(NAME, str(error))
        limits = find_limits(options.limits)
        context = make_context(limits, privacy.LogFormatter(safe=options.log.safe))
        to_tor = connector_to_tor(limits)
        connector = to_tor if options.proxy is None else Proxied(options.proxy)
        orport = OrPortTarget(addresses, external.cookie_file, context.random, to_tor)
        service = _external_service(external, transport, context, connector, orport=orport, statistics=statistics)
        _log.log(logs.NOTICE, "listening on %s for %s", bound(listening), transport.name)
        daemon = Daemon(NAME, context, clock, statistics, has_heartbeat=external.is_server, metrics=metrics)
        daemon.run([ListeningService(listening, service)])
    return 0


def _external_service(
    external: ExternalOptions,
    transport: Transport,
    context: Context,
    connector: Connector,
    *,
    orport: OrPortTarget,
    statistics: Statistics | None,
) -> Service:
    """Make the service that the role needs."""
    if external.destination is None:
        secret = {} if external.shared_secret is None else {"shared-secret": external.shared_secret}
        return SocksClient(context, external.transport, connector, secret)
    if external.role == "client":
        return Forwarder(context, transport, connector, external.destination, orport.addresses)
    recorder = None if statistics is None else statistics.recorder
    return BridgeService(context, transport, orport, external.destination, recorder)


def _resolve(destination: Endpoint) -> tuple[Endpoint, ...]:
    """Resolve a host once: for each connection it would take time, and it would delay the end of the program.

    Raises:
        OSError: if there is no such host.
        UnicodeError: if it cannot be the name of a host.
    """
    found = socket.getaddrinfo(*destination, type=socket.SOCK_STREAM)
    return tuple(Endpoint(str(sockaddr[0]), destination.port) for *_, sockaddr in found)


def _reason(error: OSError | UnicodeError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else "not a host's name"


class _TorAnswers(NamedTuple):
    """Tor's lines for servers, or for clients.

    Attributes:
        served: says where a transport listens.
        failed: says why a transport is not served.
        done: ends the answers.
    """

    served: Callable[[str, Endpoint], str]
    failed: Callable[[str, str], str]
    done: str


_SERVER_ANSWERS = _TorAnswers(lines.smethod, lines.smethod_error, lines.SMETHODS_DONE)
_CLIENT_ANSWERS = _TorAnswers(lines.cmethod, lines.cmethod_error, lines.CMETHODS_DONE)


class _RequestedTransport(NamedTuple):
    """A transport that tor asks for.

    Attributes:
        name: its name.
        bind: where it is to listen.
        make_service: makes its service; raises TransportError if torrc's options are wrong.
    """

    name: str
    bind: Endpoint
    make_service: Callable[[], Service]


def run_managed(options: ObfsproxyOptions, clock: Clock) -> int:
    """Serve until tor ends it.

    Args:
        options: the command line.
        clock: the clocks.

    Returns:
        The exit status: 0 after a signal or the end of standard input, 1 if it could not start.
    """
    try:
        version = negotiate_version(os.environ)
        environment = read_environment(os.environ)
    except PluggableError as error:
        process.tell_tor(error.line)
        return 1
    process.tell_tor(version)
    if options.log.enabled:
        logs.log_to_tor(process.tell_tor)
    logs.warn_of_content(safe=options.log.safe)
    if isinstance(environment, ServerEnvironment):
        return _run_managed_server(options, environment, clock)
    return _run_managed_client(options, environment, clock)


def _run_managed_server(options: ObfsproxyOptions, environment: ServerEnvironment, clock: Clock) -> int:
    names = [transport.name for transport in environment.transports]
    statistics = metrics = None
    try:
        if any(name in TRANSPORTS for name in names):
            metrics = open_metrics(options.metrics)
        if options.statistics.enabled and any(name in TRANSPORTS for name in names):
            # Two lines of torrc with different commands are two programs with one folder.
            statistics = open_statistics(options.statistics, Path(environment.state), clock, "-".join(sorted(names)))
    except (MetricsError, RecordError) as error:
        known = [name for name in names if name in TRANSPORTS or name in RETIRED]
        return process.refuse_servers({name: RETIRED.get(name, str(error)) for name in known})
    limits = find_limits(options.limits)
    context = make_context(limits, privacy.LogFormatter(safe=options.log.safe))
    destination, cookie_file = environment.orports.choose()
    cookie = None if cookie_file is None else Path(cookie_file)
    orport = OrPortTarget([destination], cookie, context.random, connector_to_tor(limits))
    recorder = None if statistics is None else statistics.recorder
    wanted = [
        _RequestedTransport(
            each.name, each.bind, partial(_make_bridge_service, context, each, orport, destination, recorder)
        )
        for each in environment.transports
    ]
    daemon = Daemon(
        NAME,
        context,
        clock,
        statistics,
        has_heartbeat=True,
        ends_with_stdin=environment.exit_on_stdin_close,
        metrics=metrics,
    )
    return _serve_requested(daemon, wanted, _SERVER_ANSWERS)


def _run_managed_client(options: ObfsproxyOptions, environment: ClientEnvironment, clock: Clock) -> int:
    local = LocalAddresses(environment.outbound_v4, environment.outbound_v6)
    connector: Direct | Proxied = Direct(local)
    if environment.proxy is not None:
        try:
            connector = Proxied(parse_upstream(environment.proxy), local)
        except UpstreamError as error:
            process.tell_tor(lines.proxy_error(str(error)))
            return 1
        process.tell_tor(lines.PROXY_DONE)
    elif options.proxy is not None:
        connector = Proxied(options.proxy, local)
    context = make_context(find_limits(options.limits), privacy.LogFormatter(safe=options.log.safe))
    wanted = [
        _RequestedTransport(name, _LOOPBACK, partial(SocksClient, context, name, connector, {}))
        for name in environment.transports
    ]
    daemon = Daemon(NAME, context, clock, None, has_heartbeat=False, ends_with_stdin=environment.exit_on_stdin_close)
    return _serve_requested(daemon, wanted, _CLIENT_ANSWERS)


def _make_bridge_service(
    context: Context, wanted: ServerTransport, orport: OrPortTarget, destination: Endpoint, recorder: Recorder | None
) -> BridgeService:
    """Make the service of one transport.

    Raises:
        TransportError: if torrc's options are wrong.
    """
    return BridgeService(context, make_transport_with(wanted.name, wanted.options), orport, destination, recorder)


def _serve_requested(daemon: Daemon, wanted: Iterable[_RequestedTransport], answers: _TorAnswers) -> int:
    """Open a listener for each transport, tell tor, and serve; return the exit status."""
    listening_services = []
    with contextlib.ExitStack() as sockets:
        for each in wanted:
            listening_service = _open_listener(each, answers)
            if listening_service is not None:
                sockets.callback(listening_service.listening.close)
                process.tell_tor(answers.served(each.name, bound(listening_service.listening)))
                listening_services.append(listening_service)
        process.tell_tor(answers.done)
        if not listening_services:
            if daemon.statistics is not None:
                daemon.statistics.recorder.close()
            return 1
        process.unblock_stdout()
        process.tell_tor(lines.status_version(__version__, "obfstats"))
        daemon.run(listening_services)
        return 0


def _open_listener(wanted: _RequestedTransport, answers: _TorAnswers) -> ListeningService | None:
    """Open the listener of one transport; None if it cannot be served, which tor is told unless it is not known."""
    if wanted.name in RETIRED:
        process.tell_tor(answers.failed(wanted.name, RETIRED[wanted.name]))
        return None
    if wanted.name not in TRANSPORTS:
        return None
    try:
        service = wanted.make_service()
    except TransportError as error:
        process.tell_tor(answers.failed(wanted.name, str(error)))
        return None
    try:
        return ListeningService(listen(wanted.bind), service)
    except OSError as error:
        process.tell_tor(answers.failed(wanted.name, f"cannot listen on {wanted.bind}: {error.strerror}"))
        return None


if __name__ == "__main__":
    sys.exit(main())
