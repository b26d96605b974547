"""The command line of `obfsproxy`, in the form of the programs it takes the place of."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from obfstats import __version__
from obfstats.record.recorder import COLUMNS, DEFAULT_BUFFER
from obfstats.wire.endpoint import parse_endpoint
from obfstats.wire.transports import TRANSPORTS, TransportError, make_transport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obfstats.record.recorder import Column
    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.handshake import Transport

MOST_CONNECTIONS = 16_384
"""Cap on connections where the command line names none; fewer where file descriptors do not suffice."""

_EXAMPLES = """\
examples:
  obfsproxy obfs3 --dest 127.0.0.1:9001 server 0.0.0.0:443
      in front of a bridge's ORPort: take obfs3 on port 443, count, pass on
  obfsproxy obfs3 --dest 192.0.2.1:443 client 127.0.0.1:5000
      the other end: whatever connects to port 5000 reaches that bridge obfuscated
  obfsproxy --no-stats obfs2 --shared-secret "$SECRET" --dest 127.0.0.1:9001 server 0.0.0.0:443
      obfs2 for those who know the secret, nothing counted

The statistics log holds no address and no time of a connection; `obfstats convert LOG` makes the tables
that may be published from it.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says, checked.

    Attributes:
        transport: the transport, its own options included.
        is_server: whether to undo the obfuscation, or to do it.
        listen: where clients connect.
        destination: where connections are passed on to.
        statistics: whether a server counts.
        log: the statistics log; None for the default place.
        data: the folder of the default place; None for the default.
        buffer: lines held before a batch is written.
        columns: further columns of the log.
        geoip: a file in the form of tor's geoip, or None.
        geoip6: the same for IPv6.
        connections: cap on connections at once; None for as many as is sensible.
    """

    transport: Transport
    is_server: bool
    listen: Endpoint
    destination: Endpoint
    statistics: bool
    log: Path | None
    data: Path | None
    buffer: int
    columns: tuple[Column, ...]
    geoip: Path | None
    geoip6: Path | None
    connections: int | None


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {one_line(message)}; see {self.prog.split()[0]} --help\n")


def one_line(text: str) -> str:
    """Write what cannot be shown, line ends among it, as escapes."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def parse_options(arguments: Sequence[str] | None) -> Options:
    """Read the command line; exits with status 2 and one line on stderr where it is wrong."""
    parser = _Parser(
        prog="obfsproxy",
        description="A pluggable transport for Tor bridges (obfs2, obfs3) that counts whom it helps, not who they are.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"obfsproxy (obfstats) {__version__}")
    statistics = parser.add_argument_group("statistics (server only)")
    statistics.add_argument(
        "--stats-log", type=Path, metavar="FILE", help="the log (default: clients.log in --data-dir)"
    )
    statistics.add_argument("--no-stats", action="store_true", help="count nothing, write nothing")
    statistics.add_argument(
        "--stats-buffer",
        type=_positive,
        default=DEFAULT_BUFFER,
        metavar="N",
        help="lines held back, then written sorted; more hides more, a crash loses them (default: %(default)s)",
    )
    statistics.add_argument(
        "--stats-columns",
        type=_columns,
        default=(),
        metavar="LIST",
        help="further columns: transport, family, or both with a comma",
    )
    statistics.add_argument("--geoip", type=Path, metavar="FILE", help="countries of IPv4, in the form of tor's geoip")
    statistics.add_argument(
        "--geoip6", type=Path, metavar="FILE", help="countries of IPv6, in the form of tor's geoip6"
    )
    statistics.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where the log is kept (default: $XDG_STATE_HOME/obfsproxy, or ~/.local/state/obfsproxy)",
    )
    parser.add_argument(
        "--max-connections",
        type=_positive,
        metavar="N",
        help=f"connections at once; further ones wait (default: {MOST_CONNECTIONS}, or what ulimit -n allows)",
    )
    transports = parser.add_subparsers(dest="transport", metavar="|".join(TRANSPORTS), parser_class=_Parser)
    for name in TRANSPORTS:
        transport = transports.add_parser(name, help=f"speak {name}", allow_abbrev=False)
        transport.add_argument("--shared-secret", metavar="S", help="obfs2: only those who know S are served")
        transport.add_argument(
            "--dest", type=_destination, required=True, metavar="HOST:PORT", help="where to pass on to"
        )
        transport.add_argument("mode", choices=("server", "client"), help="undo the obfuscation, or do it")
        transport.add_argument("listen", type=_endpoint, metavar="LISTEN:PORT", help="where clients connect")
    given = parser.parse_args(arguments)
    if given.transport is None:
        parser.error(f"name a transport: {' or '.join(TRANSPORTS)}")
    try:
        transport_object = make_transport(given.transport, shared_secret=given.shared_secret)
    except TransportError as error:
        parser.error(str(error).rstrip("."))
    return Options(
        transport=transport_object,
        is_server=given.mode == "server",
        listen=given.listen,
        destination=given.dest,
        statistics=not given.no_stats,
        log=given.stats_log,
        data=given.data_dir,
        buffer=given.stats_buffer,
        columns=given.stats_columns,
        geoip=given.geoip,
        geoip6=given.geoip6,
        connections=given.max_connections,
    )


def _endpoint(text: str) -> Endpoint:
    try:
        return parse_endpoint(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _destination(text: str) -> Endpoint:
    endpoint = _endpoint(text)
    if endpoint.port == 0:
        raise argparse.ArgumentTypeError(f"{text!r} names no port to connect to, such as 127.0.0.1:9001")
    return endpoint


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
