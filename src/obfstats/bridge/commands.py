"""The command lines of the two daemons: the program `obfsproxy`, and the command `obfstats wrap`.

    obfsproxy [options] managed                                       started by tor; --managed is the same
    obfsproxy [options] obfs3 --dest HOST:PORT server LISTEN:PORT     started by hand; also client, socks, ext_server
    obfstats wrap [options] -- PROGRAM [ARGUMENT ...]                 started by tor

`obfsproxy` takes every form of command line that the two programs took that it replaces. The options of a transport
stay out of messages: they may be secrets.
"""

from __future__ import annotations

import argparse
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from obfstats import __version__
from obfstats.bridge.options import (
    FORGET_AFTER,
    DaemonOptions,
    ExternalOptions,
    LimitOptions,
    LogOptions,
    ObfsproxyOptions,
    PublishOptions,
    StatisticsOptions,
    SubmitOptions,
)
from obfstats.collect.commands import add_route
from obfstats.commandline import Command, Parser, argument_type, positive_number
from obfstats.proxy.limits import MAX_CONNECTIONS, MAX_HANDSHAKES, NETWORK_DIVISOR
from obfstats.publish.commands import add_document, add_epsilon, add_geoip, add_ipv6_prefix
from obfstats.wire.endpoint import Endpoint, is_loopback, parse_endpoint
from obfstats.wire.transport_names import RETIRED, TRANSPORT_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obfstats.bridge.options import Role
    from obfstats.record.recorder import Column

    Group: TypeAlias = argparse.ArgumentParser | argparse._ArgumentGroup

_WITH_PUBLISH = (
    "forget_after",
    "aggregate",
    "fingerprint",
    "instance",
    "extended",
    "epsilon",
    "epsilon_total",
    "days",
    "submit",
)
"""Options that have no meaning without --publish."""

_EXAMPLES = """\
examples:
  ServerTransportPlugin obfs3 exec /usr/bin/obfsproxy managed
      a line of a bridge's torrc: tor starts obfsproxy, tells it where to listen, and learns the clients' countries
  obfsproxy obfs3 --dest 127.0.0.1:9001 server 0.0.0.0:443
      by hand, in front of a bridge's ORPort: accept obfs3 on port 443, count, pass on
  obfsproxy obfs3 --dest 192.0.2.1:443 client 127.0.0.1:5000
      the other end: what connects to port 5000 reaches that bridge obfuscated
  obfsproxy --no-stats obfs2 --shared-secret "$SECRET" --dest 127.0.0.1:9001 server 0.0.0.0:443
      obfs2 for clients that know the secret, without statistics

The statistics log holds no address and no time of a connection. `obfstats convert LOG` makes the tables that may be
published from it.
"""


def parse_obfsproxy(words: Sequence[str] | None) -> ObfsproxyOptions:
    """Read the command line of obfsproxy; exits with status 2 and one line on standard error if it is wrong.

    Args:
        words: the command line after the program's name; this process's own if None.
    """
    parser = make_obfsproxy_parser()
    words = sys.argv[1:] if words is None else words
    if "managed" in words:
        parser.refuse_unknown_options(words[: words.index("managed")])
    given, unknown = parser.parse_known_args(words)
    if given.mode in RETIRED:
        parser.error(RETIRED[given.mode].rstrip("."))
    parser.refuse_unknown(unknown, words="after LISTEN:PORT")
    if not given.managed and given.mode is None:
        parser.error(f"name a transport ({', '.join(TRANSPORT_NAMES)}), or write managed")
    if given.managed and given.mode not in {None, "managed"}:
        parser.error("it is either --managed or a transport")
    try:
        return ObfsproxyOptions(
            external=None if given.managed or given.mode == "managed" else _read_external(given),
            log=_read_log(given),
            statistics=_read_statistics(given),
            limits=LimitOptions(given.max_connections, given.max_handshakes, given.max_per_network),
            metrics=_read_metrics(given),
            proxy=given.proxy,
        )
    except ValueError as error:
        parser.error(str(error))


def make_obfsproxy_parser() -> Parser:
    """Make the parser of obfsproxy's command line."""
    parser = Parser(
        prog="obfsproxy",
        description="A pluggable transport for Tor bridges (obfs2, obfs3). It counts how many clients it helps and "
        "from where, never who they are.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("-v", "--version", action="version", version=f"obfsproxy (obfstats) {__version__}")
    parser.add_argument("--managed", action="store_true", help="the same as the word managed at the end")
    parser.add_argument(
        "--proxy",
        type=argument_type("obfstats.wire.upstream:parse_upstream"),
        metavar="URI",
        help="client and socks: connect through socks5://, socks4a:// or http://[USER:PASSWORD@]HOST:PORT",
    )
    _add_log(parser)
    _add_statistics(parser)
    _add_metrics(parser)
    _add_limits(parser).add_argument(
        "--max-handshakes",
        type=positive_number,
        metavar="N",
        help=f"unfinished handshakes at once; beyond that one is closed for each new one (default: {MAX_HANDSHAKES})",
    )
    modes = parser.add_subparsers(dest="mode", metavar="managed|" + "|".join(TRANSPORT_NAMES))
    modes.add_parser("managed", help="started by tor, which gives all other settings")
    for name in TRANSPORT_NAMES:
        _add_transport(modes.add_parser(name, help=f"the transport {name}"))
    parser.unlisted = RETIRED
    for name in RETIRED:
        modes.add_parser(name, add_help=False).add_argument("rest", nargs=argparse.REMAINDER)
    return parser


def _add_transport(parser: Parser) -> None:
    parser.add_argument("--shared-secret", metavar="S", help="obfs2: serve only clients that know S")
    parser.add_argument(
        "--dest", type=argument_type(_parse_destination), metavar="HOST:PORT", help="where to pass on to"
    )
    parser.add_argument(
        "--ext-cookie-file", type=Path, metavar="FILE", help="ext_server: the extended ORPort's cookie file"
    )
    parser.add_argument(
        "role",
        choices=("server", "ext_server", "client", "socks"),
        help="undo the obfuscation (ext_server: and tell each client's address to tor's extended ORPort at --dest), or "
        "do it (socks: to the destination that each connection names)",
    )
    parser.add_argument(
        "listen", type=argument_type(_parse_endpoint), metavar="LISTEN:PORT", help="where clients connect"
    )


def _read_external(given: argparse.Namespace) -> ExternalOptions:
    """Read the options of external mode.

    Raises:
        ValueError: if options do not go together; its text says which.
    """
    role: Role = given.role
    if given.dest is None and role != "socks":
        raise ValueError(f"{role} needs --dest HOST:PORT, where to pass on to")
    if given.dest is not None and role == "socks":
        raise ValueError("socks takes no --dest: each connection names its own")
    if (given.ext_cookie_file is not None) != (role == "ext_server"):
        raise ValueError("--ext-cookie-file FILE, the extended ORPort's cookie, goes with ext_server")
    if given.proxy is not None and role not in {"client", "socks"}:
        raise ValueError("--proxy is for client and socks: a server passes on to this machine's tor")
    if given.publish is not None and given.submit is not None and given.fingerprint is None:
        raise ValueError("--submit needs --fingerprint HEX: without tor nothing else says whose documents they are")
    return ExternalOptions(given.mode, given.shared_secret, role, given.listen, given.dest, given.ext_cookie_file)


def _add_wrap(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [options] -- PROGRAM [ARGUMENT ...]"
    _add_log(parser)
    _add_statistics(parser)
    _add_metrics(parser)
    _add_limits(parser)


def read_wrap(given: argparse.Namespace) -> DaemonOptions:
    """Read the options of `obfstats wrap`.

    Raises:
        ValueError: if options do not go together; its text says which.
    """
    return DaemonOptions(
        _read_log(given),
        _read_statistics(given),
        LimitOptions(given.max_connections, None, given.max_per_network),
        _read_metrics(given),
    )


def _add_log(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("log")
    group.add_argument(
        "--log-file",
        type=Path,
        metavar="FILE",
        help="where to log (default: standard error; managed: tor's own log, which gets notices and worse anyway)",
    )
    group.add_argument(
        "--log-min-severity",
        type=argument_type("obfstats.bridge.logs:parse_severity"),
        default="notice",
        metavar="SEVERITY",
        help="error, warn (or warning), notice, info or debug (default: notice); info has a line for each client, "
        "with the time of its connection",
    )
    group.add_argument("--no-log", action="store_true", help="log nothing at all")
    group.add_argument(
        "--no-safe-logging",
        action="store_true",
        help="UNSAFE: clients' addresses in the log, exact numbers in the heartbeat",
    )


def _add_statistics(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("statistics (server only)")
    group.add_argument("--stats-log", type=Path, metavar="FILE", help="the log (default: clients.log in --data-dir)")
    group.add_argument("--no-stats", action="store_true", help="count nothing, write nothing")
    group.add_argument(
        "--stats-buffer",
        type=positive_number,
        default=100,
        metavar="N",
        help="networks whose lines are held back; more hide more, a crash loses them (default: %(default)s)",
    )
    group.add_argument(
        "--stats-columns",
        type=argument_type(_parse_columns),
        default=(),
        metavar="LIST",
        help="further columns: transport, family, or both with a comma",
    )
    add_geoip(group)
    add_ipv6_prefix(group, "count IPv6 networks of N bits, not addresses, for example 64 (default: 128, as tor does)")
    group.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where the log is kept (default: managed: tor's pt_state; else $XDG_STATE_HOME/obfsproxy, or "
        "~/.local/state/obfsproxy)",
    )
    _add_publish(parser.add_argument_group("publishing (server only)"))


def _add_publish(group: Group) -> None:
    group.add_argument(
        "--publish",
        type=Path,
        metavar="DIR",
        help="write a document into DIR for each interval that is over, within ten and a half minutes of its end, each "
        "once",
    )
    group.add_argument(
        "--forget-after",
        type=argument_type(_parse_hours),
        metavar="HOURS",
        help="with --publish: remove lines from the log this long after their interval's end "
        f"(default: {FORGET_AFTER})",
    )
    group.add_argument(
        "--aggregate",
        action="store_true",
        help="with --publish: keep numbers in memory and write no log at all; a restart loses the running interval",
    )
    add_document(group)
    add_epsilon(group)
    group.add_argument(
        "--submit",
        type=argument_type("obfstats.collect.client.route:parse_collector_url"),
        metavar="URL",
        help="with --publish: also send each document to this collector, at a random moment within six hours",
    )
    add_route(group)


def _add_metrics(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("metrics (server only)")
    group.add_argument(
        "--metrics",
        type=argument_type(_parse_endpoint),
        metavar="HOST:PORT",
        help="serve metrics for Prometheus at http://HOST:PORT/metrics, mostly 127.0.0.1:9036; it needs the extra "
        "metrics",
    )
    group.add_argument(
        "--expose-metrics",
        action="store_true",
        help="UNSAFE: let --metrics listen where other machines reach it, without a password and in clear text",
    )


def _add_limits(parser: argparse.ArgumentParser) -> Group:
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--max-connections",
        type=positive_number,
        metavar="N",
        help=f"connections at once; further ones wait (default: {MAX_CONNECTIONS}, or what ulimit -n allows)",
    )
    group.add_argument(
        "--max-per-network",
        type=positive_number,
        metavar="N",
        help="connections at once from one network, an IPv4 /24 or an IPv6 /48; further ones are refused, from a "
        f"random number between N/2 and N on (default: one in {NETWORK_DIVISOR} of --max-connections)",
    )
    return group


def _read_metrics(given: argparse.Namespace) -> Endpoint | None:
    listen: Endpoint | None = given.metrics
    if listen is None:
        if given.expose_metrics:
            raise ValueError("--expose-metrics goes with --metrics HOST:PORT")
        return None
    if not given.expose_metrics and not is_loopback(listen):
        raise ValueError(
            f"--metrics {listen}: other machines may reach that; give 127.0.0.1:9036, or --expose-metrics as well"
        )
    return listen


def _read_log(given: argparse.Namespace) -> LogOptions:
    return LogOptions(not given.no_log, given.log_file, given.log_min_severity, not given.no_safe_logging)


def _read_statistics(given: argparse.Namespace) -> StatisticsOptions:
    return StatisticsOptions(
        enabled=not given.no_stats,
        log=given.stats_log,
        data_dir=given.data_dir,
        buffer=given.stats_buffer,
        columns=given.stats_columns,
        geoip=given.geoip,
        geoip6=given.geoip6,
        ipv6_prefix=given.ipv6_prefix,
        publish=_read_publish(given),
    )


def _read_submit(given: argparse.Namespace) -> SubmitOptions | None:
    if given.submit is None:
        for option in ("through", "reveal_address"):
            if getattr(given, option):
                raise ValueError(f"--{option.replace('_', '-')} goes with --submit URL")
        return None
    from obfstats.collect.client.route import choose_proxy  # noqa: PLC0415 - only for a bridge that sends

    return SubmitOptions(given.submit, choose_proxy(given.submit, given.through, reveal_address=given.reveal_address))


def _read_publish(given: argparse.Namespace) -> PublishOptions | None:
    submit = _read_submit(given)
    if given.publish is None:
        for option in _WITH_PUBLISH:
            if _is_given(getattr(given, option)):
                raise ValueError(f"--{option.replace('_', '-')} goes with --publish DIR")
        return None
    if given.no_stats:
        raise ValueError("--publish needs statistics: leave --no-stats out")
    if given.aggregate:
        for option in ("stats_log", "stats_columns", "forget_after"):
            if _is_given(getattr(given, option)):
                raise ValueError(f"--aggregate writes no log: leave --{option.replace('_', '-')} out")
    from obfstats.publish.budget import make_budget  # noqa: PLC0415 - only for who publishes

    return PublishOptions(
        folder=given.publish,
        fingerprint=given.fingerprint,
        instance=given.instance,
        extended=given.extended,
        epsilon=given.epsilon,
        budget=make_budget(given.epsilon, given.epsilon_total, given.days),
        forget_after=timedelta(hours=FORGET_AFTER if given.forget_after is None else given.forget_after),
        aggregate=given.aggregate,
        submit=submit,
    )


def _is_given(value: object) -> bool:
    """Tell whether an option was given; zero hours is an answer, too."""
    return bool(value) or (value == 0 and value is not False)


def _parse_columns(text: str) -> tuple[Column, ...]:
    # Imported here, so that the recorder is not loaded with each command.
    from obfstats.record.recorder import COLUMNS  # noqa: PLC0415

    names = text.split(",")
    for name in names:
        if name not in COLUMNS:
            raise ValueError(f"{name!r} is no column; there are {' and '.join(COLUMNS)}")
    return tuple(column for column in COLUMNS if column in names)


def _parse_hours(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text):
        raise ValueError(f"{text[:20]!r} is not a number of hours from 0 to 99999")
    return int(text)


def _parse_endpoint(text: str) -> Endpoint:
    try:
        return parse_endpoint(text)
    except ValueError:
        if "@" not in text:
            raise
        # What comes before the @ may be a password.
        raise ValueError("this is not HOST:PORT, such as 127.0.0.1:9001 or [::1]:9001") from None


def _parse_destination(text: str) -> Endpoint:
    endpoint = _parse_endpoint(text)
    if endpoint.port == 0:
        raise ValueError(f"{text!r} names no port to connect to, such as 127.0.0.1:9001")
    return endpoint


COMMANDS = (
    Command(
        name="wrap",
        purpose="run another transport's program as tor would, and count its clients",
        example="obfstats wrap -- /usr/bin/obfs4proxy",
        add_options=_add_wrap,
        run="obfstats.bridge.wrap:run_command",
        takes_program=True,
        notes="""
In a bridge's torrc:
  ServerTransportPlugin obfs4 exec /usr/bin/obfstats wrap -- /usr/bin/obfs4proxy
If tor asks for a client's transport, or if tor did not start it, PROGRAM runs as if it had been started itself.
""",
    ),
)
