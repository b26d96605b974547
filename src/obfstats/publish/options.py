"""What the command lines of the verbs that publish have in common; what an option needs is loaded when it is given."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from obfstats.publish.intervals import TIME, Rule
from obfstats.publish.logfiles import STANDARD_INPUT

if TYPE_CHECKING:
    from fractions import Fraction

FORMATS = ("ticket", "tor", "json", "csv")
TABLES = "tables"

LEDGER_NAME = ".obfstats.ledger"
"""Hidden, so that no pattern takes it for a log."""

_FORMAT_HELP = "ticket: one document an interval (docs/document.md); tor: the lines that tor writes of its own clients"


def add_convert(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats convert`."""
    parser.add_argument(
        "logs",
        metavar="LOG",
        nargs="+",
        help="a statistics log, compressed (gzip, xz, Zstandard) or not, or - for standard input; several are read as "
        "if they were one",
    )
    parser.add_argument(
        "--format",
        choices=(TABLES, *FORMATS),
        default=TABLES,
        help=f"what to print: tables: the ticket's two (the default); {_FORMAT_HELP}; json, csv: the same for programs",
    )
    add_document(parser)
    parser.add_argument(
        "--all", action="store_true", help="take in intervals that are not over yet: to look at, not to publish"
    )
    parser.add_argument(
        "--keep-partial", action="store_true", help="take in intervals that a restart cut short, with their true length"
    )
    parser.add_argument(
        "--as-of", type=_moment, metavar='"YYYY-MM-DD HH:MM:SS"', help="what is over by then, UTC (default: by now)"
    )
    parser.add_argument(
        "--force", action="store_true", help="exit status 0 even where more than 1 %% of a log is damaged"
    )
    noise = parser.add_argument_group("noise")
    add_epsilon(noise)
    noise.add_argument(
        "--ledger",
        type=Path,
        metavar="FILE",
        help=f"remembers which intervals have been released with noise (default: {LEDGER_NAME} in the logs' folder)",
    )
    noise.add_argument(
        "--geoip",
        type=Path,
        metavar="FILE",
        help="the GeoIP file that the bridge has; it says which countries there are",
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
    parser.add_argument("--geoip", type=Path, metavar="FILE", help="countries of IPv4, in the form of tor's geoip")
    parser.add_argument("--geoip6", type=Path, metavar="FILE", help="countries of IPv6, in the form of tor's geoip6")
    parser.add_argument(
        "--utc-offset",
        type=_offset,
        default=timedelta(0),
        metavar="+HH:MM",
        help="how far the log's local time was ahead of UTC, for example +02:00 or -05:00 (default: +00:00)",
    )
    parser.add_argument("--empty", action="store_true", help="print intervals without a connection, too")


def add_document(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add what documents say beside numbers."""
    parser.add_argument(
        "--fingerprint",
        type=_fingerprint,
        metavar="HEX",
        help="the bridge's fingerprint, 40 hex digits; its hash is printed, as for Tor's own statistics",
    )
    parser.add_argument(
        "--extended",
        action="store_true",
        help="more lines: type, address families, transports, countries by transport, source of the countries",
    )


def add_epsilon(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add noise."""
    parser.add_argument(
        "--epsilon",
        type=_epsilon,
        metavar="E",
        help="noise on the unique addresses instead of rounding (discrete Laplace), for example 0.5; less is more "
        "private; each interval is released once",
    )


def read_rule(given: argparse.Namespace) -> Rule:
    """Take which intervals are published; ends the program where they would not be over."""
    now = datetime.now(UTC)
    if given.as_of is not None and given.as_of > now and not given.all:
        refuse(given, "--as-of is in the future, and nobody knows what is over by then: to look at it, add --all")
    return Rule(given.as_of or now, unfinished=given.all, partial=given.keep_partial)


def refuse(given: argparse.Namespace, sentence: str) -> NoReturn:
    """End the program with a sentence on how it was used badly; status 2."""
    given.refuse(sentence)
    raise SystemExit(2)


def read_ledger(given: argparse.Namespace) -> Path:
    """Take where releases are remembered: one file for a folder, for logs change their names.

    Ends the program where it is not clear which folder that is.
    """
    if given.ledger is not None:
        return Path(given.ledger)
    folders = {os.path.dirname(os.path.realpath(log)) for log in given.logs}  # noqa: PTH120 - a pattern is no path
    if STANDARD_INPUT in given.logs:
        refuse(given, "standard input has no folder to keep a ledger in: give --ledger FILE")
    if len(folders) > 1 or not os.path.isdir(*folders):
        refuse(given, "the logs are not in one folder that is there, for the ledger: give --ledger FILE")
    return Path(*folders, LEDGER_NAME)


def check_convert(given: argparse.Namespace) -> None:
    """End the program where options do not go together: silence would look like consent."""
    if given.format not in {TABLES, "tor"}:
        return
    for option in ("fingerprint", "extended", "epsilon"):
        if getattr(given, option):
            refuse(given, f"--{option} goes with documents: --format ticket, json or csv")
    if given.keep_partial and given.format == TABLES:
        refuse(given, "--keep-partial goes with another --format: tables do not say how long an interval was")


def check_log2stats(given: argparse.Namespace) -> None:
    """End the program where options do not go together."""
    if given.format == "tor" and (given.fingerprint or given.extended):
        refuse(given, "--fingerprint and --extended go with documents: --format ticket, json or csv")


def _fingerprint(text: str) -> str:
    from obfstats.publish.rounding import hash_fingerprint  # noqa: PLC0415

    try:
        return hash_fingerprint(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _epsilon(text: str) -> Fraction:
    from obfstats.publish.noise import parse_epsilon  # noqa: PLC0415

    try:
        return parse_epsilon(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, TIME).replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError("give date and time as YYYY-MM-DD HH:MM:SS, in UTC") from None


def _offset(text: str) -> timedelta:
    try:
        offset = datetime.strptime(text, "%z").utcoffset()
    except ValueError:
        offset = None
    if offset is None or abs(offset) > timedelta(hours=14) or len(text) != len("+HH:MM"):
        raise argparse.ArgumentTypeError("give the offset as +HH:MM or -HH:MM, at most 14 hours")
    return offset
