"""An interval: its start, its length, its end, and their one text form (ticket 5047; dir-spec, bridge-stats-end).

    2012-02-07 14:01:04     UTC, to the second: the label of an interval in the log, in documents, in the ledger

The text form is strict and the same in both directions: what `format_time` gives, `parse_time` takes, and nothing else.
Pure: no clock is read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

INTERVAL_SECONDS = 86_400
"""Length of a whole interval in seconds: the ticket's, and Tor's."""

LABEL_LENGTH = len("2012-02-07 14:01:04")

TIME_PATTERN = r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"
"""A regular expression for the text form, for larger patterns; only `parse_time` tells whether there is such a time."""

_TIME = re.compile(TIME_PATTERN)


def parse_time(text: str) -> datetime:
    """Parse `YYYY-MM-DD HH:MM:SS` as UTC.

    Raises:
        ValueError: if the text has another form, or the calendar has no such time.
    """
    if _TIME.fullmatch(text) is None:
        raise ValueError("not a time of the form YYYY-MM-DD HH:MM:SS")
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError("invalid date or time") from None
    # Python 3.14 reads 24:00:00 as midnight of the next day.
    if format_time(moment) != text:
        raise ValueError("invalid date or time")
    return moment


def format_time(moment: datetime) -> str:
    """Write a time in UTC as `YYYY-MM-DD HH:MM:SS`; a fraction of a second is dropped."""
    return moment.replace(tzinfo=None).isoformat(" ", "seconds")


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """An interval of statistics.

    Attributes:
        start: when it began, in UTC, to the second.
        seconds: its length, above 0.
    """

    start: datetime
    seconds: int = INTERVAL_SECONDS

    @classmethod
    def parse(cls, label: str, seconds: int = INTERVAL_SECONDS) -> Interval:
        """Make an interval from the text form of its start.

        Raises:
            ValueError: if the text is no time.
        """
        return cls(parse_time(label), seconds)

    @classmethod
    def ending(cls, end: datetime, seconds: int) -> Interval:
        """Make an interval from its end and its length.

        Raises:
            OverflowError: if it began before the year 1.
        """
        return cls(end - timedelta(seconds=seconds), seconds)

    @property
    def label(self) -> str:
        """The text form of its start: what its lines in the log begin with."""
        return format_time(self.start)

    @property
    def end(self) -> datetime:
        """When it ends, in UTC.

        Raises:
            OverflowError: if that is after the year 9999.
        """
        return self.start + timedelta(seconds=self.seconds)
