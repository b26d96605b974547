"""What the operator is told of the reading: what was left out, what is uncertain, and why. No byte of a log is in it.

Times are UTC, as in the documents. What happened several times is said once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMED = 10
"""Fewer intervals, or logs, are named one by one."""


class About(StrEnum):
    """What may be wrong with an interval: what is said of one, with the words for several in braces."""

    CUT_SHORT = "{was|were} cut short, because the program stopped or was started again, and {is|are} left out"
    UNFINISHED = "{is|are} not over at the end of the logs and {is|are} left out"
    SET_BACK = "{is|are} left out, because the clock was set back"
    OVERLAPPING = "{overlaps|overlap} with one that was counted before and {is|are} left out"
    UNSURE = (
        "{was|were} taken for whole although the program was started again later without a line that it had stopped: "
        "it may have been down for a part of {it|them}"
    )
    NO_HEARTBEAT = (
        "{has|have} only scrubbed addresses and no heartbeat, so how many addresses there were is not known "
        "and not written"
    )
    PARTLY_SCRUBBED = "{has|have} scrubbed addresses beside others: they are counted as connections, not as addresses"


@dataclass
class Notes:
    """Collects what is to be said.

    Attributes:
        offset: what has to be subtracted from the logs' times to have UTC.
        after_stop: connections between a line that the program stopped and the next that it started.
        without_time: lines of before there were times that would matter.
        impossible: lines with dates on which these programs wrote nothing.
        heartbeats: how many were read.
        connections: connections that were counted into an interval, whatever became of it.
    """

    offset: timedelta
    after_stop: int = 0
    without_time: int = 0
    impossible: int = 0
    heartbeats: int = 0
    connections: int = 0
    _intervals: dict[About, list[int]] = field(default_factory=dict)
    _sentences: list[str] = field(default_factory=list)

    def interval(self, start: int, about: About) -> None:
        """Take something about an interval.

        Args:
            start: the interval's, on the logs' clock.
            about: what there is to say.
        """
        self._intervals.setdefault(about, []).append(start)

    def say(self, sentence: str) -> None:
        """Take a whole sentence; it is said once, however often it comes."""
        if sentence not in self._sentences:
            self._sentences.append(sentence)

    def overlap(self, names: Sequence[str]) -> None:
        """Take the names of the logs of which each overlaps with another, in order."""
        if names:
            several = _list(names) if len(names) < _NAMED else f"{len(names)} logs, {names[0]} among them,"
            self.say(
                f"{several} overlap: their lines are put in order by time and counted together, as if one program "
                "had written them"
            )

    def utc(self, start: int) -> str:
        """Write a time of the logs' clock as UTC, `YYYY-MM-DD HH:MM:SS`."""
        moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=start) - self.offset
        return moment.isoformat(" ", "seconds")[:19]

    def sentences(self) -> list[str]:
        """Give everything that there is to say."""
        said = list(self._sentences)
        if self.impossible:
            lines = _number(self.impossible, "line is", "lines are")
            said.append(f"{lines} dated before 2012 or in the future and left out: a clock was wrong")
        if self.without_time:
            lines = _number(self.without_time, "line without a time is", "lines without a time are")
            said.append(f"{lines} left out: obfsproxy wrote no times before its version of 2012-02-10")
        if self.after_stop:
            lines = _number(self.after_stop, "connection", "connections")
            said.append(f"{lines} left out: the program had said that it stopped, and not that it started again")
        if self.heartbeats and not self.connections:
            said.append(
                "there are heartbeats but no connections: programs log those at info, Python obfsproxy at debug"
            )
        return said + [self._about(about, sorted(starts)) for about, starts in self._intervals.items()]

    def _about(self, about: About, starts: list[int]) -> str:
        """Say something about intervals."""
        times = [self.utc(start) for start in starts]
        if len(times) == 1:
            return f"the interval from {times[0]} {_choose(about, 0)}"
        if len(times) < _NAMED:
            named = f"the intervals from {_list(times)}"
        else:
            named = f"{len(times)} intervals, the first from {times[0]} and the last from {times[-1]},"
        return f"{named} {_choose(about, 1)}"


def _list(names: Sequence[str]) -> str:
    """Name several things."""
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _choose(about: str, form: int) -> str:
    """Choose the words for one (0) or for several (1)."""
    parts = about.replace("}", "{").split("{")
    return "".join(part.split("|")[form] if number % 2 else part for number, part in enumerate(parts))


def _number(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
