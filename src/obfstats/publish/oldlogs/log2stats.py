"""The command `obfstats log2stats`: documents from the logs of C obfsproxy, Python obfsproxy, obfs4proxy and lyrebird.

These programs logged a line for each client, with its address (ticket 5047, comments 1 to 8). `count_old_logs` counts
them by country in intervals of 24 hours; counting.py has the rules. Rules:

- An address is looked up and hashed while its block of the log is in memory.
  Only the hash is kept, until the interval ends.
- An unknown line is not an error. Logs in which no line has a time are: their days cannot be told apart.
- No note and no error quotes a log.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from obfstats.commandline import UsageError, open_standard_output, print_error
from obfstats.progress import show_progress
from obfstats.publish.logfiles import LogFileError, find
from obfstats.publish.making_documents import DocumentOptions
from obfstats.publish.oldlogs.counting import OldLogIntervals
from obfstats.publish.oldlogs.notes import Notes
from obfstats.publish.oldlogs.reading import OldLog, distinct_files, merge_old_logs
from obfstats.publish.render import Output, render

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from obfstats.formats.counts import Counts
    from obfstats.formats.document import GeoIpSource
    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.oldlogs.clients import CountingContext

_MAX_AHEAD = timedelta(days=1)
"""How far a log may be ahead of now: its clock's zone may differ from the one that was given."""


class NoTimestampsError(ValueError):
    """No line of the logs has a time. The text is one sentence for the operator."""


class OldLogCounts(NamedTuple):
    """What was counted in old logs.

    Attributes:
        intervals: the complete ones, sorted by start.
        notes: sentences for the operator.
    """

    intervals: list[Counts]
    notes: list[str]


def run_log2stats(
    options: argparse.Namespace, context: CountingContext, geoip_sources: Sequence[GeoIpSource | None]
) -> int:
    """Run the command.

    Args:
        options: those of commands.py.
        context: countries and hashes.
        geoip_sources: where the countries come from: of IPv4, of IPv6; None where that is not known.

    Returns:
        The exit status: 0; 1 if no line has a time; 2 if a log cannot be read. Nothing is written then.

    Raises:
        UsageError: if options do not go together.
    """
    if options.format == "tor" and (options.fingerprint or options.instance or options.extended):
        raise UsageError("--fingerprint, --instance and --extended go with documents: --format ticket, json or csv")
    document = DocumentOptions(options.fingerprint, options.extended, *geoip_sources, instance=options.instance)
    output = Output(options.format, document)
    report = partial(print_error, "obfstats log2stats")
    with open_standard_output() as out:
        try:
            logs = find(options.logs)
            with show_progress(sum(log.size or 0 for log in logs)) as advance:
                found = count_old_logs(
                    logs, context, utc_offset=options.utc_offset, empty=options.empty, advance=advance
                )
        except (LogFileError, NoTimestampsError) as error:
            report(str(error))
            return 2 if isinstance(error, LogFileError) else 1
        for note in found.notes:
            report(note)
        out.write(render(found.intervals, output, report))
        out.flush()
    return 0


def count_old_logs(
    logs: Sequence[LogFile],
    context: CountingContext,
    *,
    utc_offset: timedelta = timedelta(0),
    empty: bool = False,
    advance: Callable[[int], None] = lambda _: None,
    now: datetime | None = None,
) -> OldLogCounts:
    """Count the clients in old logs.

    Args:
        logs: the logs, in any order.
        context: countries and hashes.
        utc_offset: how far the machine's clock was ahead of UTC.
        empty: whether intervals without a client are counted.
        advance: takes the number of bytes of the files that have been read since the last call.
        now: the time, UTC; by default the clock's. Lines with a time more than a day later are left out.

    Raises:
        LogFileError: if a log cannot be read.
        NoTimestampsError: if no line of any log has a time.
    """
    latest = (datetime.now(UTC) if now is None else now) + utc_offset + _MAX_AHEAD
    notes = Notes()
    intervals = OldLogIntervals(context, notes, utc_offset=utc_offset, empty=empty)
    opened = [OldLog(log, int(latest.timestamp()), advance) for log in distinct_files(logs, notes)]
    for seconds, event in merge_old_logs(opened, notes):
        intervals.count(seconds, event)
    _note_logs_without_times(opened, notes)
    return OldLogCounts(intervals.finish(), notes.sentences())


def _note_logs_without_times(logs: Sequence[OldLog], notes: Notes) -> None:
    """Note logs without times; raise NoTimestampsError if no log has any."""
    for log in logs:
        notes.impossible += log.totals.impossible
        notes.without_time += log.totals.without_time
        notes.timed += log.totals.timed
        notes.client_mode += log.client_mode
    not_empty = [log for log in logs if log.totals.lines]
    if not not_empty:
        notes.add("the logs are empty")
        return
    untimed = [log.log.name for log in not_empty if not log.totals.timed]
    if len(untimed) < len(not_empty):
        for name in untimed:
            notes.add(f"{name} has no line with a time of one of the known programs, and nothing of it is counted")
    elif notes.without_time:
        raise NoTimestampsError(
            "the lines of the logs have no times, so days cannot be told apart: obfsproxy wrote none before 2012-02-10"
        )
    else:
        raise NoTimestampsError(
            "no line of the logs has a time as C obfsproxy, Python obfsproxy, obfs4proxy or lyrebird wrote it; "
            "are they the right files?"
        )
