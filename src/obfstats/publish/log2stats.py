"""From the logs of the old programs to exact numbers: what the script of ticket 5047 (comment 1) was to do.

C obfsproxy, Python obfsproxy, obfs4proxy and lyrebird wrote a line for each client into their logs, with the client's
address. This reads them all, tells the programs apart by itself, and counts clients by country in intervals of 24
hours (oldlogs/counting.py has the rules). Rules:

- Countries and hashes come from outside. An address is looked up and hashed as its piece of the log is read; what stays
  is the hash, and that no longer than the interval.
- A line that is not understood is no error. Logs in which no line has a time are: days cannot be told apart in them.
- Nothing that is said quotes a log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING

from obfstats.publish.oldlogs.blocks import EARLIEST, Window, plain_blocks
from obfstats.publish.oldlogs.clients import Surroundings
from obfstats.publish.oldlogs.counting import Counting
from obfstats.publish.oldlogs.notes import Notes
from obfstats.publish.oldlogs.order import in_order
from obfstats.publish.oldlogs.pieces import read_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from obfstats.formats.counts import Counts
    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.oldlogs.blocks import Block
    from obfstats.publish.oldlogs.blocks import Found as FoundLines
    from obfstats.publish.oldlogs.order import Stream

__all__ = ["Found", "NoTimestampsError", "OldReport", "Surroundings", "log2stats"]

_PLAIN_PIECE = 1 << 20
_SHORT = 1_000_000
_AHEAD = timedelta(days=1)
"""How far a log may be ahead of now: its clock's zone may be another than the one that was given."""


class NoTimestampsError(ValueError):
    """Not one line of the logs has a time. The text is one sentence for the operator."""


@dataclass(frozen=True, slots=True)
class OldReport:
    """How the reading of one log went.

    Attributes:
        name: what the log is called; printable.
        lines: lines in it.
        counted: those that tell of a client, whatever became of that.
        other: all others.
    """

    name: str
    lines: int
    counted: int
    other: int


@dataclass(slots=True)
class Found:
    """What logs say.

    Attributes:
        counts: the intervals that are whole, sorted by start.
        reports: what each log was like.
        notes: sentences for the operator.
    """

    counts: list[Counts] = field(default_factory=list)
    reports: list[OldReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def log2stats(
    logs: Sequence[LogFile],
    around: Surroundings,
    *,
    utc_offset: timedelta,
    empty: bool,
    advance: Callable[[int], None],
    now: datetime | None = None,
    fast: bool | None = None,
) -> Found:
    """Count what old logs say.

    Args:
        logs: in any order.
        around: countries and hashes.
        utc_offset: what the machine's clock was ahead of UTC.
        empty: whether intervals without a client are given as well.
        advance: takes the bytes of a file as they have been read.
        now: the time, UTC; by default what the clock shows. What is dated more than a day later is left out.
        fast: whether numpy reads many lines at once; by default it does where there are many and it is installed. The
            result is the same.

    Raises:
        LogFileError: if a log cannot be read.
        NoTimestampsError: if no line of any log has a time.
    """
    moment = datetime.now(UTC) if now is None else now
    notes = Notes(utc_offset)
    counting = Counting(around, notes, empty=empty)
    is_fast = _is_long(logs) and find_spec("numpy") is not None if fast is None else fast
    window = Window(EARLIEST, int((moment + utc_offset + _AHEAD).timestamp()))

    def open_log(log: LogFile, window: Window, found: FoundLines) -> Iterator[Block]:
        if not is_fast:
            return plain_blocks(read_pieces(log, _PLAIN_PIECE, advance), window, found)
        from obfstats.publish.oldlogs.columns import PIECE, column_blocks  # noqa: PLC0415 - numpy is an extra

        return column_blocks(read_pieces(log, PIECE, advance), window, found)

    streams = in_order(logs, open_log, window, counting, notes)
    _check(streams, notes)
    reports = [
        OldReport(
            stream.log.name, stream.found.lines, stream.found.connections, stream.found.lines - stream.found.connections
        )
        for stream in streams
    ]
    return Found(counting.finish(), reports, notes.sentences())


def _is_long(logs: Sequence[LogFile]) -> bool:
    """Tell whether logs are so long, or may be, that loading numpy takes less time than it saves."""
    return not all(log.is_plain for log in logs) or sum(log.size or 0 for log in logs) > _SHORT


def _check(streams: Sequence[Stream], notes: Notes) -> None:
    """See that the logs have times, and take note of what was found in them."""
    for stream in streams:
        notes.impossible += stream.found.impossible
        notes.without_time += stream.found.without_time
    written = [stream for stream in streams if stream.found.lines]
    if not written:
        notes.say("there is not one line in the logs")
        return
    without = [stream.log.name for stream in written if not stream.found.timed]
    if len(without) < len(written):
        for name in without:
            notes.say(f"{name} has no line with a time of one of the known programs, and nothing of it is counted")
    elif any(stream.found.without_time for stream in written):
        raise NoTimestampsError(
            "the lines of the logs have no times, so days cannot be told apart: obfsproxy wrote none before 2012-02-10"
        )
    else:
        raise NoTimestampsError(
            "no line of the logs has a time as C obfsproxy, Python obfsproxy, obfs4proxy or lyrebird wrote it; "
            "are they the right files?"
        )
