"""The command `obfstats convert`: from statistics logs to what may be published.

Several files are counted as if they were one, but the lengths of intervals, and the ledgers of what was released, are
those of each log. Short files are counted in plain Python, in less time than numpy takes to load; long ones by tally/,
where numpy is installed. Both give the same numbers.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeAlias

from obfstats.commandline import UsageError, open_standard_output, print_error
from obfstats.formats.address import WHOLE_IPV6
from obfstats.formats.interval import parse_time
from obfstats.progress import show_progress
from obfstats.publish import plain
from obfstats.publish.commands import TABLES
from obfstats.publish.intervals import (
    Selection,
    find_extents,
    select_for_documents,
    select_for_tables,
    warn_of_guesses,
    warn_of_wrong_tables,
)
from obfstats.publish.ledger import ROUNDED_TABLES, LedgerError
from obfstats.publish.ledgers import Printing, release_once
from obfstats.publish.logfiles import LogFileError, find, read_marks
from obfstats.publish.tables import write_tables

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from obfstats.formats.counts import Counts
    from obfstats.formats.document import GeoIpSource
    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.plain import Report
    from obfstats.publish.render import Output

    OpenGeoIp: TypeAlias = Callable[
        [Path | None, Path | None], tuple[Sequence[GeoIpSource | None], Sequence[str] | None]
    ]

_MAX_PLAIN_SIZE = 4_000_000
"""Bytes that plain Python counts in less time than numpy takes to load."""


class _NothingWrittenError(Exception):
    """Nothing can be published. The text is one sentence for the operator."""


def run_convert(options: argparse.Namespace, open_geoip: OpenGeoIp) -> int:
    """Run the command.

    Args:
        options: those of commands.py.
        open_geoip: opens the GeoIP files for IPv4 and IPv6 that are named, or the machine's own; gives where each
            comes from, and the countries that they can name, None if that is not known.

    Returns:
        The exit status.

    Raises:
        UsageError: if options do not go together.
    """
    _check_options(options)
    now = datetime.now(UTC)
    if options.as_of is not None and options.as_of > now and not options.all:
        raise UsageError("--as-of is in the future, and it is not known what is over by then: to look at it, add --all")
    selection = Selection(options.as_of or now, unfinished=options.all, partial=options.keep_partial)
    output = None if options.format == TABLES else _choose_output(options, open_geoip)
    with open_standard_output() as out:
        warn = partial(print_error, "obfstats convert")
        return convert(options.logs, selection, output, ledger=options.ledger, force=options.force, out=out, warn=warn)


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options of documents with a format that has none; `--ledger` and `--geoip` without a use are ignored."""
    if options.format not in {TABLES, "tor"}:
        return
    for option in ("fingerprint", "instance", "extended", "epsilon", "epsilon_total", "days", "ipv6_prefix"):
        if getattr(options, option):
            raise UsageError(f"--{option.replace('_', '-')} goes with documents: --format ticket, json or csv")
    if options.keep_partial and options.format == TABLES:
        raise UsageError("--keep-partial goes with another --format: tables do not state the length of an interval")


def _choose_output(options: argparse.Namespace, open_geoip: OpenGeoIp) -> Output:
    """Choose what documents contain. Only given GeoIP files are named: the bridge may have others than this machine."""
    from obfstats.publish.budget import make_budget  # noqa: PLC0415 - tables do not need them
    from obfstats.publish.making_documents import DocumentOptions  # noqa: PLC0415
    from obfstats.publish.render import NoiseOptions, Output  # noqa: PLC0415

    geoip_sources: Sequence[GeoIpSource | None] = (None, None)
    codes: Sequence[str] | None = None
    if options.geoip or options.geoip6 or options.epsilon:
        geoip_sources, codes = open_geoip(options.geoip, options.geoip6)
    geoip = geoip_sources[0] if options.geoip else None
    geoip6 = geoip_sources[1] if options.geoip6 else None
    document = DocumentOptions(
        options.fingerprint,
        options.extended,
        geoip,
        geoip6,
        ipv6_prefix=options.ipv6_prefix or WHOLE_IPV6,
        instance=options.instance,
    )
    try:
        budget = make_budget(options.epsilon, options.epsilon_total, options.days)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not options.epsilon:
        return Output(options.format, document)
    if codes is None:
        raise UsageError(
            "--epsilon needs GeoIP files, for the list of countries: install tor-geoipdb, or give --geoip FILE"
        )
    return Output(options.format, document, NoiseOptions(options.epsilon, codes, budget))


def convert(
    names: Sequence[str],
    selection: Selection,
    output: Output | None,
    *,
    ledger: Path | None = None,
    force: bool,
    out: BinaryIO,
    warn: Callable[[str], None],
) -> int:
    """Read the logs and write what may be published of them.

    Args:
        names: the logs: paths, patterns, or `-`.
        selection: which intervals are published.
        output: how documents are written; None for the ticket's tables.
        ledger: records what is released of all logs; None for the one beside each log.
        force: whether the exit status is 0 even if much of a log is damaged.
        out: the result is written here, as bytes.
        warn: gets sentences for the operator. They never contain a byte of a log, except an interval's start.

    Returns:
        The exit status: 0; 1 if more than 1 % of a log is damaged (the result is written anyway); 2 if a log cannot be
        read or is not a statistics log (nothing is written).
    """
    try:
        logs = find(names)
        with show_progress(sum(log.size or 0 for log in logs)) as advance:
            intervals, reports = _count_logs(logs, advance)
        status = _report_damage(logs, reports, warn, force=force)
        starts: dict[Path | None, set[datetime]] = {}
        for log, report in zip(logs, reports, strict=True):
            starts.setdefault(log.log, set()).update(map(parse_time, report.labels))
        damaged = sum(report.damaged for report in reports)
        text = _render(_Logs(intervals, starts, damaged), selection, output, ledger, warn)
    except (LogFileError, LedgerError, _NothingWrittenError) as error:
        warn(str(error))
        return 2
    out.write(text)
    out.flush()
    return status


def _count_logs(logs: Sequence[LogFile], advance: Callable[[int], None]) -> tuple[list[Counts], list[Report]]:
    is_short = all(log.is_plain for log in logs) and sum(log.size or 0 for log in logs) <= _MAX_PLAIN_SIZE
    if is_short:
        return plain.count_logs(logs, advance)
    # OpenBLAS, which numpy loads, would start a thread for each processor to multiply matrices. There are none here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        import_module("numpy")
    except ImportError:
        return plain.count_logs(logs, advance)
    from obfstats.publish import tally  # noqa: PLC0415 - an extra, which takes a while to load

    return tally.count_logs(logs, advance)


def _report_damage(
    logs: Sequence[LogFile], reports: Sequence[Report], warn: Callable[[str], None], *, force: bool
) -> int:
    """Report what is wrong with the logs; give the exit status."""
    status = 0
    already_read = set()
    for log, report in zip(logs, reports, strict=True):
        name, lines, damaged = report.name, report.lines, report.damaged
        if lines and lines == damaged:
            raise _NothingWrittenError(
                f"{name} is not a statistics log: every line is damaged ({report.first}); is it the right file?"
            )
        if damaged:
            warn(f"{name}: {damaged} of {lines} lines are damaged and left out, the first is {report.first}")
        if damaged * 100 > lines and not force:
            warn(f"{name}: more than 1 % is damaged; find out why before you publish this, or give --force")
            status = 1
        # Naming a file twice is allowed, but probably a mistake.
        if log.identity is not None and log.identity in already_read:
            warn(f"{name} is the same file as one before it: each of its connections is counted again")
        already_read.add(log.identity)
    return status


class _Logs(NamedTuple):
    """What was read.

    Attributes:
        intervals: every interval, sorted by start.
        starts: the starts of each log's intervals; None is the log that is no file.
        damaged: damaged lines.
    """

    intervals: Sequence[Counts]
    starts: Mapping[Path | None, Collection[datetime]]
    damaged: int


def _render(
    logs: _Logs, selection: Selection, output: Output | None, ledger: Path | None, warn: Callable[[str], None]
) -> bytes:
    """Write what may be published, once the ledgers have it.

    Args:
        logs: what was read.
        selection: which intervals are published.
        output: how documents are written; None for tables.
        ledger: the ledger of all logs, if one is named.
        warn: gets sentences for the operator about what is left out.
    """
    if output is None:
        printing = Printing(ROUNDED_TABLES, is_look=selection.unfinished, ledger=ledger)
        intervals = select_for_tables(logs.intervals, selection, warn)
        marked = [(starts, marks) for log, starts in logs.starts.items() if (marks := read_marks(log)) is not None]
        warn_of_wrong_tables(intervals, find_extents(marked), logs.damaged, warn)
        return write_tables(release_once(intervals, logs.starts, printing, warn))
    # The tables need none of this and are written before it would be loaded.
    from obfstats.publish.render import render  # noqa: PLC0415

    extents = find_extents((starts, read_marks(log)) for log, starts in logs.starts.items())
    selected = select_for_documents(logs.intervals, extents, selection, logs.damaged, warn)
    budget = None if output.noise is None else output.noise.budget
    printing = Printing(output.method, output.noise is not None, selection.unfinished, ledger, budget)
    released = release_once(selected, logs.starts, printing, warn)
    warn_of_guesses(released, extents, warn)
    return render(released, output, warn)
