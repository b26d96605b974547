"""From the logs of old programs to documents: the verb `obfstats log2stats` (ticket 5047, comments 1 to 8)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from obfstats.commandline import UsageError, open_standard_output, print_error
from obfstats.publish.documents import DocumentOptions
from obfstats.publish.log2stats import NoTimestampsError, log2stats
from obfstats.publish.logfiles import LogFileError, find
from obfstats.publish.progress import Progress
from obfstats.publish.render import Output, render

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from obfstats.formats.document import GeoIpSource
    from obfstats.publish.log2stats import Surroundings


@dataclass(frozen=True, slots=True)
class OldLogs:
    """How old logs are read.

    Attributes:
        around: countries and hashes.
        utc_offset: what the machine's clock was ahead of UTC.
        empty: whether intervals without a client are printed as well.
    """

    around: Surroundings
    utc_offset: timedelta
    empty: bool


def run_log2stats(options: argparse.Namespace, around: Surroundings, origins: Sequence[GeoIpSource]) -> int:
    """Run the command.

    Args:
        options: those of commands.py.
        around: countries and hashes.
        origins: where the countries come from.

    Returns:
        The exit status.

    Raises:
        UsageError: if options do not go together.
    """
    if options.format == "tor" and (options.fingerprint or options.extended):
        raise UsageError("--fingerprint and --extended go with documents: --format ticket, json or csv")
    old = OldLogs(around, options.utc_offset, options.empty)
    output = Output(options.format, DocumentOptions(options.fingerprint, options.extended, *origins))
    with open_standard_output() as out:
        say = partial(print_error, "obfstats log2stats")
        return convert_old(options.logs, old, output, out=out, say=say, progress=Progress())


def convert_old(
    names: Sequence[str],
    old: OldLogs,
    output: Output,
    *,
    out: BinaryIO,
    say: Callable[[str], None],
    progress: Progress,
) -> int:
    """Read the logs and write documents.

    Args:
        names: the logs: paths, patterns, or `-`.
        old: how they are read.
        output: what is printed.
        out: takes it, as bytes.
        say: takes sentences for the operator. No byte of a log but an interval's start is ever in one.
        progress: shows how far it is.

    Returns:
        The exit status: 0; 1 if days cannot be told apart in the logs; 2 if one cannot be read. Nothing is written
        then.
    """
    try:
        logs = find(names)
        with progress.of(sum(log.size or 0 for log in logs)) as advance:
            found = log2stats(logs, old.around, utc_offset=old.utc_offset, empty=old.empty, advance=advance)
    except LogFileError as error:
        say(str(error))
        return 2
    except NoTimestampsError as error:
        say(str(error))
        return 1
    for note in found.notes:
        say(note)
    out.write(render(found.counts, output, say))
    out.flush()
    return 0
