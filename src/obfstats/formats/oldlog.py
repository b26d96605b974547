"""One line of an old program's log: C obfsproxy, Python obfsproxy, obfs4proxy, lyrebird (ticket 5047, comment 1).

    2012-03-06 07:22:39 [info] 192.0.2.7:42963 (obfs2): Successful outbound connection to '127.0.0.1:15901'.
    2014-07-22 07:21:27,480 [DEBUG] fact_s_0x7f2e36b521e0: New connection from 192.0.2.7:54639.
    2026/11/22 12:23:55 [INFO]: obfs4(192.0.2.7:42730) - new connection

Which program wrote a line is seen in how the line begins; what it says is read by that program's grammar, in
oldlog_messages.py. Rules:

- Bytes go in, values come out. A line that is not known is no error: it has no event.
- A time is what the clock on the machine's wall showed. The programs never wrote its zone.
- Lines of before 2012-02-10 have no time. They are read all the same, so that somebody can say what is wrong with them.
- A few builds broke the line of the start in two: the first has a time and says nothing, the second is `Starting.`.
- A line longer than `LONGEST_LINE` is none of theirs, and every pattern is read in linear time.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from obfstats.formats.oldlog_messages import (
    Connection,
    Event,
    Failed,
    Heartbeat,
    Refused,
    Started,
    Stopped,
    Unsaid,
    read_c_message,
    read_go_message,
    read_python_message,
)

__all__ = [
    "LONGEST_LINE",
    "Connection",
    "Event",
    "Failed",
    "Heartbeat",
    "Line",
    "Refused",
    "Started",
    "Stopped",
    "Unsaid",
    "day_number",
    "read_line",
]

LONGEST_LINE = 4096
"""Bytes of the longest line that is looked at. The programs cut theirs near 1022."""

DAY_SECONDS = 86_400

SILENT = (b" [info] EOF from ", b" [info] Timeout talking to ")
"""Behind a time in C obfsproxy's form: lines that go on like this have no event, whatever follows. They are many."""

_TIME = rb"([0-9]{4}%b[0-9]{2}%b[0-9]{2}) ([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])"
_DASHED, _SLASHED = _TIME % (b"-", b"-"), _TIME % (b"/", b"/")
_C_SEVERITY = rb"\[(?:debug|info|notice|warn|error)\](?: (.*))?"
_READERS = (
    (re.compile(_DASHED + b" " + _C_SEVERITY, re.DOTALL), read_c_message),
    (re.compile(_SLASHED + rb" \[(?:DEBUG|INFO|NOTICE|WARN|ERROR)\]: (.*)", re.DOTALL), read_go_message),
    (re.compile(_DASHED + rb",[0-9]{3} \[[A-Z]{1,16}\] (.*)", re.DOTALL), read_python_message),
)
_WITHOUT_TIME = re.compile(_C_SEVERITY, re.DOTALL)
_BROKEN_OFF = b"Starting."


class Line(NamedTuple):
    """What a line says.

    Attributes:
        seconds: its time on the machine's own clock, as seconds since 1970-01-01 00:00:00 on that clock; None where it
            has none, or one that no clock shows.
        event: what happened; None where it says nothing that matters here.
    """

    seconds: int | None
    event: Event | None


_NOTHING = Line(None, None)


def read_line(line: bytes) -> Line:
    r"""Read one line.

    Args:
        line: its bytes, with or without `\n` or `\r\n`.
    """
    if len(line) > LONGEST_LINE:
        return _NOTHING
    text = line.removesuffix(b"\n").removesuffix(b"\r")
    for pattern, read_message in _READERS:
        found = pattern.fullmatch(text)
        if found is not None:
            day, hour, minute, second, message = found.groups()
            number = day_number(day)
            seconds = None
            if number is not None:
                seconds = number * DAY_SECONDS + int(hour) * 3600 + int(minute) * 60 + int(second)
            return Line(seconds, read_message(message or b""))
    if text == _BROKEN_OFF:
        return Line(None, Started())
    found = _WITHOUT_TIME.fullmatch(text)
    return _NOTHING if found is None else Line(None, read_c_message(found[1] or b""))


@lru_cache(maxsize=1000)
def day_number(day: bytes) -> int | None:
    """Give the days from 1970-01-01 to a day; None where the calendar does not have it.

    Args:
        day: ten bytes, `YYYY-MM-DD` with any signs between the digits.
    """
    try:
        return date(int(day[:4]), int(day[5:7]), int(day[8:])).toordinal() - _FIRST_DAY
    except ValueError:
        return None


_FIRST_DAY = date(1970, 1, 1).toordinal()
