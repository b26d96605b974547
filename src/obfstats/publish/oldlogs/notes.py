"""What the operator is told about old logs: what was left out or is uncertain, and why.

No byte of a log is in it. Times are UTC, as in the documents. What happened several times is one sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obfstats.formats.interval import Interval

_MAX_NAMED = 9
"""More intervals, or logs, are not named one by one."""


class IntervalNote(StrEnum):
    """What may be wrong with an interval: the end of a sentence, with the words for one and several in braces."""

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

    def words(self, form: int) -> str:
        """Give the words for one interval (0) or for several (1)."""
        parts = self.replace("}", "{").split("{")
        return "".join(part.split("|")[form] if number % 2 else part for number, part in enumerate(parts))


@dataclass
class Notes:
    """Collects what the operator is told.

    Attributes:
        after_stop: connections between the line of a stop and that of the next start.
        client_mode: connections of runs in client mode.
        timed: lines with a time, valid or not.
        without_time: lines that would matter, from before there were times.
        impossible: lines with times at which these programs wrote nothing.
        heartbeats: how many were read.
        connections: connections that were counted, whether their interval became complete or not.
    """

    after_stop: int = 0
    client_mode: int = 0
    timed: int = 0
    without_time: int = 0
    impossible: int = 0
    heartbeats: int = 0
    connections: int = 0
    _intervals: dict[IntervalNote, list[Interval]] = field(default_factory=dict)
    _sentences: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        """Add a sentence, unless it has been added before."""
        if sentence not in self._sentences:
            self._sentences.append(sentence)

    def add_interval(self, interval: Interval, note: IntervalNote) -> None:
        """Add a note on one interval."""
        self._intervals.setdefault(note, []).append(interval)

    def add_overlap(self, names: Sequence[str]) -> None:
        """Add that logs overlap.

        Args:
            names: of the logs of which each overlaps with another, in order.
        """
        if names:
            several = _join_names(names) if len(names) <= _MAX_NAMED else f"{len(names)} logs, {names[0]} among them,"
            self.add(
                f"{several} overlap: their lines are put in order by time and counted together, as if one program "
                "had written them"
            )

    def sentences(self) -> list[str]:
        """Give all notes as sentences."""
        sentences = list(self._sentences)
        if self.impossible:
            lines = _with_noun(self.impossible, "line is", "lines are")
            sentences.append(f"{lines} dated before 2012 or in the future and left out: a clock was wrong")
        if self.without_time:
            lines = _with_noun(self.without_time, "line without a time is", "lines without a time are")
            sentences.append(f"{lines} left out: obfsproxy wrote no times before its version of 2012-02-10")
        if self.after_stop:
            connections = _with_noun(self.after_stop, "connection", "connections")
            sentences.append(
                f"{connections} left out: the program had logged that it stopped, and not that it started again"
            )
        if self.client_mode:
            connections = _with_noun(self.client_mode, "connection", "connections")
            sentences.append(f"{connections} left out: the program ran in client mode, not as a bridge")
        elif self.timed and not self.connections and not self.after_stop:
            lines = _with_noun(self.timed, "line with a time", "lines with a time")
            heartbeats = _with_noun(self.heartbeats, "heartbeat", "heartbeats")
            sentences.append(
                f"no client's connection is in the logs, only {lines}, {heartbeats} among them: obfsproxy, obfs4proxy "
                "and lyrebird log connections at severity info, Python obfsproxy at debug"
            )
        return sentences + [_interval_sentence(note, sorted(which)) for note, which in self._intervals.items()]


def _interval_sentence(note: IntervalNote, intervals: Sequence[Interval]) -> str:
    labels = [interval.label for interval in intervals]
    if len(labels) == 1:
        return f"the interval from {labels[0]} {note.words(0)}"
    if len(labels) <= _MAX_NAMED:
        return f"the intervals from {_join_names(labels)} {note.words(1)}"
    return f"{len(labels)} intervals, the first from {labels[0]} and the last from {labels[-1]}, {note.words(1)}"


def _join_names(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _with_noun(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
