"""What the command lines of `obfsproxy` and of `obfstats wrap` have in common: the log, the statistics, the limits."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.bridge.logs import SEVERITIES
from obfstats.proxy.limits import MOST_CONNECTIONS, MOST_HANDSHAKES, NETWORKS_SHARE
from obfstats.publish.release_options import add_publishing, read_publishing
from obfstats.record.recorder import COLUMNS, DEFAULT_BUFFER

if TYPE_CHECKING:
    from argparse import Namespace

    from obfstats.publish.release_options import Publishing
    from obfstats.record.recorder import Column


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What is said, and where.

    Attributes:
        wanted: whether anything is said at all.
        file: a file to say it in; None for the default place.
        severity: the lowest that is said, one of logs.SEVERITIES' values.
        safe: whether addresses are scrubbed.
    """

    wanted: bool
    file: Path | None
    severity: int
    safe: bool


@dataclass(frozen=True, slots=True)
class StatisticsOptions:
    """What is counted, and where it goes.

    Attributes:
        wanted: whether a server counts.
        log: the statistics log; None for the default place.
        data: the folder of the default place; None for the default.
        buffer: lines held before a batch is written.
        columns: further columns of the log.
        geoip: a file in the form of tor's geoip, or None.
        geoip6: the same for IPv6.
        publishing: what is published while the program runs; None for nothing.
    """

    wanted: bool
    log: Path | None
    data: Path | None
    buffer: int
    columns: tuple[Column, ...]
    geoip: Path | None
    geoip6: Path | None
    publishing: Publishing | None = None


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """What a flood may take; None for the default of each.

    Attributes:
        connections: at once.
        handshakes: under way at once.
        network: connections from one network at once.
    """

    connections: int | None
    handshakes: int | None
    network: int | None


def add_log(parser: argparse.ArgumentParser) -> None:
    """Add what is said, and where."""
    group = parser.add_argument_group("log")
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


def add_statistics(parser: argparse.ArgumentParser) -> None:
    """Add what is counted, and where it goes."""
    group = parser.add_argument_group("statistics (server only)")
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
    add_publishing(parser)


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add what a flood of clients may take."""
    group = parser.add_argument_group("limits")
    add_most_connections(group)
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


def add_most_connections(group: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add how many connections there may be at once."""
    group.add_argument(
        "--max-connections",
        type=_positive,
        metavar="N",
        help=f"connections at once; further ones wait (default: {MOST_CONNECTIONS}, or what ulimit -n allows)",
    )


def read_log(given: Namespace) -> LogOptions:
    """Take what `add_log` has added."""
    return LogOptions(not given.no_log, given.log_file, given.log_min_severity, not given.no_safe_logging)


def read_statistics(given: Namespace) -> StatisticsOptions:
    """Take what `add_statistics` has added.

    Raises:
        ValueError: if options do not go together; its text says which.
    """
    return StatisticsOptions(
        wanted=not given.no_stats,
        log=given.stats_log,
        data=given.data_dir,
        buffer=given.stats_buffer,
        columns=given.stats_columns,
        geoip=given.geoip,
        geoip6=given.geoip6,
        publishing=read_publishing(given),
    )


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
