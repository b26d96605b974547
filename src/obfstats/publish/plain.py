"""Logs to numbers in plain Python: for short logs, and where numpy is not installed. tally/ gives the same, faster.

Both tell the operator how many lines of each log are damaged.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from obfstats.formats.counts import ClientClass, Counts
from obfstats.formats.interval import LABEL_LENGTH, Interval
from obfstats.formats.logline import (
    COUNTRY,
    HASH_OFFSET,
    HEX_DIGITS,
    MAX_LINE_LENGTH,
    SUFFIX_OFFSET,
    find_damage,
    parse_columns,
)
from obfstats.publish.logreader import read_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Set

    from obfstats.publish.logfiles import LogFile

_HASH_LENGTH = SUFFIX_OFFSET - HASH_OFFSET


@dataclass(frozen=True, slots=True)
class Report:
    """How the reading of one log went.

    Attributes:
        name: what the log is called; printable.
        lines: lines in it.
        damaged: lines left out because they are not of the grammar.
        first: line number and reason of the first damage, as in `line 3: it has no hash of 40 hexadecimal digits`;
            empty if there is none. No byte of the log is in it.
        labels: the labels of its intervals.
    """

    name: str
    lines: int
    damaged: int
    first: str
    labels: Set[str]


@dataclass(slots=True)
class _Lines:
    """The good lines with one prefix: those of one country in one interval.

    Attributes:
        number: how many there are.
        different: the different ones, each without its prefix and with its newline.
    """

    number: int = 0
    different: set[bytes] = field(default_factory=set)


def count_logs(logs: Sequence[LogFile], advance: Callable[[int], None]) -> tuple[list[Counts], list[Report]]:
    """Count several logs as if they were one.

    Args:
        logs: the logs.
        advance: takes the number of bytes of a file that have been read since the last call.

    Returns:
        Every interval, sorted by start, and a report on each log.

    Raises:
        LogFileError: if one cannot be read.
    """
    by_prefix: dict[bytes, _Lines] = {}
    suffixes = {b"\n"}
    reports = [_read(log, by_prefix, suffixes, advance) for log in logs]
    labels = groupby(sorted(by_prefix), key=lambda prefix: prefix[:LABEL_LENGTH])
    return [_counts(label, {prefix: by_prefix[prefix] for prefix in prefixes}) for label, prefixes in labels], reports


def _read(log: LogFile, by_prefix: dict[bytes, _Lines], suffixes: set[bytes], advance: Callable[[int], None]) -> Report:
    """Read one log, and add its good lines to those of their prefix; their suffixes are added with newlines."""
    number = damaged = 0
    first = ""
    of_log: dict[bytes, _Lines] = {}
    for number, line in enumerate(read_lines(log, MAX_LINE_LENGTH, advance), start=1):
        prefix, rest = line[:HASH_OFFSET], line[HASH_OFFSET:]
        lines = of_log.get(prefix)
        # Nearly every line has a prefix and a suffix that were checked before.
        if lines is None or rest[_HASH_LENGTH:] not in suffixes or rest[:_HASH_LENGTH].translate(None, HEX_DIGITS):
            if reason := find_damage(line):
                damaged += 1
                first = first or f"line {number}: {reason}"
                continue
            lines = of_log[prefix] = by_prefix.setdefault(prefix, _Lines())
            # The last line of a log may have no newline.
            rest = rest.removesuffix(b"\n") + b"\n"
            suffixes.add(rest[_HASH_LENGTH:])
        lines.number += 1
        lines.different.add(rest)
    labels = {prefix[:LABEL_LENGTH].decode() for prefix in of_log}
    return Report(log.name, number, damaged, first, labels)


def _counts(label: bytes, by_prefix: dict[bytes, _Lines]) -> Counts:
    """Count one interval's lines."""
    requests, clients = Counter[str](), Counter[ClientClass]()
    for prefix, lines in by_prefix.items():
        country = prefix[COUNTRY].decode()
        requests[country] = lines.number
        for _, of_client in groupby(sorted(lines.different), key=lambda rest: rest[:_HASH_LENGTH]):
            columns = frozenset(parse_columns(rest[_HASH_LENGTH:-1]) for rest in of_client)
            clients[ClientClass(country, columns)] += 1
    return Counts(Interval.parse(label.decode()), requests, clients)
