"""Marks: which intervals of a log a program has recorded from beginning to end, and how many lines they have.

    2012-02-07 14:01:04 begin       the marks begin with this interval; earlier ones may have none
    2012-02-07 14:01:04 whole 16    24 hours were recorded, and 9 to 16 connections

They are kept beside the log (`.clients.log.whole`, formats/lognames.py), because the ticket's shell pipeline would
count any further line of the log. A mark is written when the interval's last lines are in the log. An interval without
one was cut short, whatever the labels in the log suggest: the program was stopped or killed, or the clock was set.

The number is that of the counted connections, rounded up to a multiple of 8 as published numbers are. It shows that a
file of the log is missing or was read twice, and that a full disk refused lines.

A line has the start of an interval, as the log has, and nothing else that could date a client. Damaged lines are
ignored: then an interval counts as cut short. Pure: text to values and back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from obfstats.formats.counts import round_up
from obfstats.formats.interval import TIME_PATTERN, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping

_LINE = re.compile(rf"({TIME_PATTERN}) (?:begin|whole (0|[1-9][0-9]{{0,11}}))")


@dataclass(frozen=True, slots=True)
class Marks:
    """What the marks of a log tell.

    Attributes:
        begin: the start of the first interval that can have a mark; None if that is not known. If the beginning of the
            file was lost, that is the first one that has a mark.
        whole: the start of each whole interval, and its number of lines, rounded up.
    """

    begin: datetime | None
    whole: Mapping[datetime, int]


def write_begin(label: str) -> bytes:
    """Write the first line of a log's marks.

    Args:
        label: the label of the running interval.
    """
    return f"{label} begin\n".encode("ascii")


def is_begin(line: bytes) -> bool:
    """Tell whether this is what `write_begin` writes, and not the mark of an interval."""
    return line.endswith(b" begin\n")


def write_whole(label: str, lines: int) -> bytes:
    """Write the mark of a whole interval.

    Args:
        label: its label.
        lines: how many connections were counted in it; it is rounded up.
    """
    return f"{label} whole {round_up(lines)}\n".encode("ascii")


def parse_marks(text: bytes) -> Marks:
    """Parse a log's marks. Lines that are not of the grammar are ignored."""
    begins, whole = list[datetime](), dict[datetime, int]()
    for line in text.decode("ascii", "replace").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        try:
            start = parse_time(match[1])
        except ValueError:
            continue
        if match[2] is None:
            begins.append(start)
        else:
            whole[start] = int(match[2])
    return Marks(min([*begins, *whole], default=None), whole)
