"""The grammar of `obfsproxy`'s command line: what may stand there, its help, its examples."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from obfstats import __version__
from obfstats.bridge.settings import add_limits, add_log, add_statistics
from obfstats.printable import one_line
from obfstats.wire.endpoint import Endpoint, parse_endpoint
from obfstats.wire.pluggable import Upstream, UpstreamError, parse_upstream
from obfstats.wire.transports import RETIRED, TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    add_log(parser)
    add_statistics(parser)
    add_limits(parser)
    modes = parser.add_subparsers(dest="mode", metavar="managed|" + "|".join(TRANSPORTS), parser_class=Parser)
    modes.add_parser("managed", help="started by tor, which says the rest", allow_abbrev=False)
    for name in TRANSPORTS:
        _add_transport(modes.add_parser(name, help=f"speak {name}", allow_abbrev=False))
    for name, sentence in RETIRED.items():
        modes.add_parser(name, add_help=False).refusal = sentence.rstrip(".")
    return parser


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
