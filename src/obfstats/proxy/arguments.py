"""The grammar of `obfsproxy`'s command line: what may stand there, its help, its examples."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from obfstats import __version__
from obfstats.proxy.limits import MOST_CONNECTIONS, MOST_HANDSHAKES, NETWORKS_SHARE
from obfstats.proxy.logs import SEVERITIES, one_line
from obfstats.record.recorder import COLUMNS, DEFAULT_BUFFER
from obfstats.wire.endpoint import Endpoint, parse_endpoint
from obfstats.wire.pluggable import Upstream, UpstreamError, parse_upstream
from obfstats.wire.transports import RETIRED, TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obfstats.record.recorder import Column

_EXAMPLES = """\
examples:
  ServerTransportPlugin obfs3 exec /usr/bin/obfsproxy managed
      a line of a bridge's torrc: tor starts it, tells it where to listen, and learns the clients' countries
  obfsproxy obfs3 --dest 127.0.0.1:9001 server 0.0.0.0:443
      by hand, in front of a bridge's ORPort: take obfs3 on port 443, count, pass on
  obfsproxy obfs3 --dest 192.0.2.1:443 client 127.0.0.1:5000
      the other end: whatever connects to port 5000 reaches that bridge obfuscated
  obfsproxy --no-stats obfs2 --shared-secret "$SECRET" --dest 127.0.0.1:9001 server 0.0.0.0:443
      obfs2 for those who know the secret, nothing counted

The statistics log holds no address and no time of a connection; `obfstats convert LOG` makes the tables
that may be published from it.
"""


_CHOICES = re.compile(r": invalid choice: .* \(choose from (?P<choices>.*)\)$", re.DOTALL)
_UNKNOWN = "unrecognized arguments: "


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    refusal: str | None = None
    """Where set: why this parser's transport is not there any more, whatever else the command line says."""

    def error(self, message: str) -> NoReturn:
        """End the program with status 2; what may be a secret in the wrong place is not repeated."""
        choices = _CHOICES.search(message)
        if choices is not None:
            offered = [choice for choice in choices["choices"].split(", ") if choice.strip("'") not in RETIRED]
            message = f"{message[: choices.start()]}: choose from {', '.join(offered)}"
        elif message.startswith(_UNKNOWN):
            options = [word.partition("=")[0] for word in message[len(_UNKNOWN) :].split(" ") if word.startswith("-")]
            message = f"{_UNKNOWN}{' '.join(options) or 'behind LISTEN:PORT'}"
        self.exit(2, f"{self.prog}: {one_line(message)}; see {self.prog.split()[0]} --help\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Read arguments, unless there is nothing to read them for."""
        if self.refusal is not None:
            self.error(self.refusal)
        return super().parse_known_args(args, namespace)


def make_parser() -> Parser:
    """Make the parser of the whole command line."""
    parser = Parser(
        prog="obfsproxy",
        description="A pluggable transport for Tor bridges (obfs2, obfs3) that counts whom it helps, not who they are.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-v", "--version", action="version", version=f"obfsproxy (obfstats) {__version__}")
    parser.add_argument("--managed", action="store_true", help="the same as the word managed at the end")
    parser.add_argument(
        "--proxy",
        type=_upstream,
        metavar="URI",
        help="client and socks: go out through socks5://, socks4a:// or http://[USER:PASSWORD@]HOST:PORT",
    )
    _add_log(parser.add_argument_group("log"))
    _add_statistics(parser.add_argument_group("statistics (server only)"))
    _add_limits(parser.add_argument_group("limits"))
    modes = parser.add_subparsers(dest="mode", metavar="managed|" + "|".join(TRANSPORTS), parser_class=Parser)
    modes.add_parser("managed", help="started by tor, which says the rest", allow_abbrev=False)
    for name in TRANSPORTS:
        _add_transport(modes.add_parser(name, help=f"speak {name}", allow_abbrev=False))
    for name, sentence in RETIRED.items():
        modes.add_parser(name, add_help=False).refusal = sentence.rstrip(".")
    return parser


def _add_log(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--log-file",
        type=Path,
        metavar="FILE",
        help="where to log (default: standard error; managed: tor's own log, which gets notices and worse anyway)",
    )
    group.add_argument(
        "--log-min-severity",
        type=_severity,
        default=SEVERITIES["notice"],
        metavar="SEVERITY",
        help="error, warn (or warning), notice, info or debug (default: notice); info has a line for each client, "
        "with the time of its visit",
    )
    group.add_argument("--no-log", action="store_true", help="log nothing at all")
    group.add_argument(
        "--no-safe-logging",
        action="store_true",
        help="UNSAFE: clients' addresses in the log, exact numbers in the heartbeat",
    )


def _add_statistics(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--stats-log", type=Path, metavar="FILE", help="the log (default: clients.log in --data-dir)")
    group.add_argument("--no-stats", action="store_true", help="count nothing, write nothing")
    group.add_argument(
        "--stats-buffer",
        type=_positive,
        default=DEFAULT_BUFFER,
        metavar="N",
        help="lines held back, then written sorted; more hides more, a crash loses them (default: %(default)s)",
    )
    group.add_argument(
        "--stats-columns",
        type=_columns,
        default=(),
        metavar="LIST",
        help="further columns: transport, family, or both with a comma",
    )
    group.add_argument("--geoip", type=Path, metavar="FILE", help="countries of IPv4, in the form of tor's geoip")
    group.add_argument("--geoip6", type=Path, metavar="FILE", help="countries of IPv6, in the form of tor's geoip6")
    group.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where the log is kept (default: managed: tor's pt_state; else $XDG_STATE_HOME/obfsproxy, or "
        "~/.local/state/obfsproxy)",
    )


def _add_limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--max-connections",
        type=_positive,
        metavar="N",
        help=f"connections at once; further ones wait (default: {MOST_CONNECTIONS}, or what ulimit -n allows)",
    )
    group.add_argument(
        "--max-handshakes",
        type=_positive,
        metavar="N",
        help=f"unfinished handshakes at once; beyond that the oldest is cut off (default: {MOST_HANDSHAKES})",
    )
    group.add_argument(
        "--max-per-network",
        type=_positive,
        metavar="N",
        help="connections at once from one network, an IPv4 /24 or an IPv6 /48; further ones are turned away "
        f"(default: one in {NETWORKS_SHARE} of --max-connections)",
    )


def _add_transport(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shared-secret", metavar="S", help="obfs2: only those who know S are served")
    parser.add_argument("--dest", type=_destination, metavar="HOST:PORT", help="where to pass on to")
    parser.add_argument(
        "--ext-cookie-file", type=Path, metavar="FILE", help="ext_server: the extended ORPort's cookie file"
    )
    parser.add_argument(
        "role",
        choices=("server", "ext_server", "client", "socks"),
        help="undo the obfuscation (ext_server: and tell tor's extended ORPort at --dest who came), or do it (socks: "
        "to where each connection says)",
    )
    parser.add_argument("listen", type=_endpoint, metavar="LISTEN:PORT", help="where clients connect")


def _endpoint(text: str) -> Endpoint:
    try:
        return parse_endpoint(text)
    except ValueError as error:
        if "@" in text:
            raise argparse.ArgumentTypeError("this is not HOST:PORT, such as 127.0.0.1:9001 or [::1]:9001") from None
        raise argparse.ArgumentTypeError(str(error)) from None


def _destination(text: str) -> Endpoint:
    endpoint = _endpoint(text)
    if endpoint.port == 0:
        raise argparse.ArgumentTypeError(f"{text!r} names no port to connect to, such as 127.0.0.1:9001")
    return endpoint


def _upstream(text: str) -> Upstream:
    try:
        return parse_upstream(text)
    except UpstreamError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None


def _severity(text: str) -> int:
    severity = SEVERITIES.get(text.lower())
    if severity is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no severity; there are {', '.join(SEVERITIES)}")
    return severity


def _positive(text: str) -> int:
    if not re.fullmatch("[0-9]{1,8}", text) or not 1 <= int(text) <= 10_000_000:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a number from 1 to 10000000")
    return int(text)


def _columns(text: str) -> tuple[Column, ...]:
    names = text.split(",")
    for name in names:
        if name not in COLUMNS:
            raise argparse.ArgumentTypeError(f"{name!r} is no column; there are {' and '.join(COLUMNS)}")
    return tuple(column for column in COLUMNS if column in names)
