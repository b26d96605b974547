"""The commands that make a log publishable: `convert`, `log2stats`, `audit`."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.commandline import Command, argument_type, load, positive_number

if TYPE_CHECKING:
    import argparse

FORMATS = ("ticket", "tor", "json", "csv")
TABLES = "tables"

_IPV6_PREFIXES = tuple(str(bits) for bits in range(32, 129, 8))
_MAX_OFFSET = timedelta(hours=14)
_FORMAT_HELP = "ticket: one document an interval (docs/document.md); tor: the lines that tor writes of its own clients"


def add_convert(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats convert`."""
    parser.add_argument(
        "logs",
        metavar="LOG",
        nargs="+",
        help="files of statistics logs, compressed (gzip, xz, Zstandard) or not; - is standard input",
    )
    parser.add_argument(
        "--format",
        choices=(TABLES, *FORMATS),
        default=TABLES,
        help=f"what to print: tables: the ticket's two (the default); {_FORMAT_HELP}; json, csv: the same for programs",
    )
    add_document(parser)
    add_ipv6_prefix(parser, "the bridge's --ipv6-prefix, if it has one: documents say so")
    parser.add_argument(
        "--all",
        action="store_true",
        help="to look at, not to publish: include intervals that are not over yet, print any rounded form, and record "
        "nothing",
    )
    parser.add_argument(
        "--keep-partial",
        action="store_true",
        help="include intervals that a restart cut short; they end with the next interval's start",
    )
    parser.add_argument(
        "--as-of",
        type=argument_type(_parse_time),
        metavar='"YYYY-MM-DD HH:MM:SS"',
        help="publish what was over at that time, UTC (default: now)",
    )
    parser.add_argument(
        "--force", action="store_true", help="exit status 0 even where more than 1 %% of a log is damaged"
    )
    parser.add_argument(
        "--ledger",
        type=Path,
        metavar="FILE",
        help="records which intervals were released, and in which form (default: .NAME.ledger beside each log NAME)",
    )
    noise = parser.add_argument_group("noise")
    add_epsilon(noise)
    noise.add_argument(
        "--geoip",
        type=Path,
        metavar="FILE",
        help="the bridge's GeoIP file: the list of countries for --epsilon, and a line of --extended",
    )
    noise.add_argument("--geoip6", type=Path, metavar="FILE", help="the same for IPv6")


def add_log2stats(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats log2stats`."""
    parser.add_argument(
        "logs",
        metavar="LOG",
        nargs="+",
        help="a log of obfsproxy, obfs4proxy or lyrebird, rotated, compressed or not, or - for standard input",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help=f"what to print: {_FORMAT_HELP}; json, csv: the same for programs (default: ticket)",
    )
    add_document(parser)
    add_geoip(parser)
    parser.add_argument(
        "--utc-offset",
        type=argument_type(_parse_offset),
        default=timedelta(0),
        metavar="+HH:MM",
        help="offset of the log's local time from UTC, for example +02:00 or -05:00 (default: +00:00)",
    )
    parser.add_argument("--empty", action="store_true", help="also print intervals without a connection")


def add_audit(parser: argparse.ArgumentParser) -> None:
    """Add the argument of `obfstats audit`."""
    parser.add_argument("file", metavar="FILE", help="a statistics log, documents, tables or tor's lines made of one")


def add_document(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the options for what documents contain beside numbers."""
    parser.add_argument(
        "--fingerprint",
        type=argument_type("obfstats.publish.making_documents:hash_fingerprint"),
        metavar="HEX",
        help="the bridge's fingerprint, 40 hex digits; its hash is printed, as for Tor's own statistics",
    )
    parser.add_argument(
        "--instance",
        type=argument_type("obfstats.publish.making_documents:parse_instance"),
        metavar="NAME",
        help="where several programs or tors share one fingerprint: a name for this one, which is printed as it is",
    )
    parser.add_argument(
        "--extended",
        action="store_true",
        help="more lines: type, address families, transports, countries by transport, source of the countries",
    )


def add_epsilon(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the option for noise."""
    parser.add_argument(
        "--epsilon",
        type=argument_type("obfstats.publish.noise:parse_epsilon"),
        metavar="E",
        help="add discrete Laplace noise to the unique addresses instead of rounding, for example 0.5; lower is more "
        "private; each interval is released once",
    )
    parser.add_argument(
        "--epsilon-total",
        type=argument_type("obfstats.publish.budget:parse_total"),
        metavar="E",
        help="with --days: what the noise of all intervals that begin within N days may spend together; intervals "
        "beyond it are left out",
    )
    parser.add_argument("--days", type=positive_number, metavar="N", help="see --epsilon-total")


def add_ipv6_prefix(parser: argparse.ArgumentParser | argparse._ArgumentGroup, purpose: str) -> None:
    """Add the option for IPv6 networks."""
    parser.add_argument("--ipv6-prefix", type=argument_type(_parse_ipv6_prefix), metavar="N", help=purpose)


def add_geoip(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the options for GeoIP files."""
    parser.add_argument("--geoip", type=Path, metavar="FILE", help="countries of IPv4, in the format of tor's geoip")
    parser.add_argument("--geoip6", type=Path, metavar="FILE", help="countries of IPv6, in the format of tor's geoip6")


def _parse_ipv6_prefix(text: str) -> int:
    if text not in _IPV6_PREFIXES:
        raise ValueError(f"give a multiple of 8 from {_IPV6_PREFIXES[0]} to {_IPV6_PREFIXES[-1]}, such as 64")
    return int(text)


def _parse_time(text: str) -> object:
    try:
        return load("obfstats.formats.interval:parse_time")(text)
    except ValueError:
        raise ValueError("give date and time as YYYY-MM-DD HH:MM:SS, in UTC") from None


def _parse_offset(text: str) -> timedelta:
    match = re.fullmatch("([+-])([0-9]{2}):([0-5][0-9])", text)
    offset = timedelta(hours=int(match[2]), minutes=int(match[3])) if match else timedelta.max
    if match is None or offset > _MAX_OFFSET:
        raise ValueError("give the offset as +HH:MM or -HH:MM, at most 14 hours")
    return -offset if match[1] == "-" else offset


COMMANDS = (
    Command(
        name="convert",
        purpose="turn a bridge's statistics log into tables or documents that may be published (ticket 5047)",
        example="obfstats convert clients.log > tables.txt",
        add_options=add_convert,
        run="obfstats.geoip_commands:convert_with_geoip",
        notes="  obfstats convert --format ticket --extended 'clients.log*' > documents.txt\n",
    ),
    Command(
        name="log2stats",
        purpose="turn the log of an old obfsproxy, of obfs4proxy or of lyrebird into documents (ticket 5047)",
        example="obfstats log2stats --utc-offset +01:00 obfsproxy.log > documents.txt",
        add_options=add_log2stats,
        run="obfstats.geoip_commands:log2stats_with_geoip",
    ),
    Command(
        name="audit",
        purpose="report in plain words what a log or a document gives away",
        example="obfstats audit clients.log",
        add_options=add_audit,
        run="obfstats.publish.audit:run_audit",
        notes="""
exit status: 0 where nothing speaks against publishing the file, 1 where it should not leave the machine,
2 where it cannot be read or is none of these
""",
    ),
)
