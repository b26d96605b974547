"""The program as an operator starts it by hand: one listener, and what is told on the command line."""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import TYPE_CHECKING

from obfstats.bridge import logs
from obfstats.bridge.serving import Entrance, Program, find_limits, make_context, run
from obfstats.bridge.statistics import open_statistics
from obfstats.proxy import privacy
from obfstats.proxy.client import Forwarder, SocksClient
from obfstats.proxy.listener import bound, listen
from obfstats.proxy.orport import OrPortTarget
from obfstats.proxy.outbound import Direct, Proxied
from obfstats.proxy.server import BridgeService
from obfstats.record import RecordError
from obfstats.wire.endpoint import Endpoint
from obfstats.wire.transports import TransportError, make_transport

if TYPE_CHECKING:
    from obfstats.bridge.commands import ExternalOptions, ObfsproxyOptions
    from obfstats.proxy.service import Context, Service
    from obfstats.record import Recorder
    from obfstats.record.clock import Clock
    from obfstats.wire.handshake import Transport

_log = logging.getLogger(__name__)


def run_external(options: ObfsproxyOptions, external: ExternalOptions, clock: Clock) -> int:
    """Serve until a signal comes.

    Args:
        options: the whole command line.
        external: its part about this mode.
        clock: what tells the time.

    Returns:
        the exit status: 0 after a signal, 2 where it could not start.
    """
    try:
        transport = make_transport(external.transport, shared_secret=external.shared_secret)
    except TransportError as error:
        return logs.refuse(str(error))
    try:
        addresses = () if external.destination is None else _resolve(external.destination)
    except (OSError, UnicodeError) as error:
        host = "" if external.destination is None else external.destination.host
        return logs.refuse(f"no such host as {host}: {_reason(error)}; give --dest another")
    try:
        listening = listen(external.listen)
    except (OSError, UnicodeError) as error:
        return logs.refuse(f"cannot listen on {external.listen}: {_reason(error)}; choose another LISTEN:PORT")
    statistics = None
    logs.say_what_it_holds(safe=options.log.safe)
    with contextlib.closing(listening):
        try:
            if external.is_server and options.statistics.enabled:
                statistics = open_statistics(options.statistics, None, clock)
        except RecordError as error:
            return logs.refuse(str(error))
        context = make_context(
            find_limits(options.limits, networks=external.is_server), privacy.Show(safe=options.log.safe)
        )
        recorder = None if statistics is None else statistics.recorder
        way = Direct() if options.proxy is None else Proxied(options.proxy)
        service = _service(external, transport, context, way, addresses=addresses, recorder=recorder)
        _log.log(logs.NOTICE, "listening on %s for %s", bound(listening), transport.name)
        program = Program("obfsproxy", context, clock, statistics, beats=external.is_server, ends_with_stdin=False)
        run(program, [Entrance(listening, service)])
    return 0


def _service(
    external: ExternalOptions,
    transport: Transport,
    context: Context,
    way: Direct | Proxied,
    *,
    addresses: tuple[Endpoint, ...],
    recorder: Recorder | None,
) -> Service:
    """Make what the role asks for."""
    if external.destination is None:
        secret = {} if external.shared_secret is None else {"shared-secret": external.shared_secret}
        return SocksClient(context, external.transport, way, secret)
    if external.role == "client":
        return Forwarder(context, transport, way, external.destination, addresses)
    orport = OrPortTarget(addresses, external.cookie_file, context.random)
    return BridgeService(context, transport, orport, external.destination, recorder)


def _resolve(destination: Endpoint) -> tuple[Endpoint, ...]:
    """Look a host's addresses up, once: at each connection it would take time, and at the end hold the program up.

    Raises:
        OSError: if there is no such host.
        UnicodeError: if it cannot be a host's name.
    """
    found = socket.getaddrinfo(*destination, type=socket.SOCK_STREAM)
    return tuple(Endpoint(str(sockaddr[0]), destination.port) for *_, sockaddr in found)


def _reason(error: OSError | UnicodeError) -> str:
    """Say why an address is of no use; a name that cannot even be looked up fails as text."""
    return str(error.strerror) if isinstance(error, OSError) else "not a host's name"
