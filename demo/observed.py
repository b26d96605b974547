"""What a run of the demonstration saw: the truth about who came, and the state of things at certain moments."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demo.errors import DemoError
from obfstats.formats.logline import LINE_LENGTH, LineError, parse_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from demo.bridge import Bridge
    from demo.visitors import Visitor
    from obfstats.formats.logline import LogLine


@dataclass(frozen=True)
class Day:
    """Who was served by one bridge in one of its intervals.

    Attributes:
        visits: everybody, once for each connection, in the order in which they were sent.
    """

    visits: Sequence[Visitor]

    @property
    def connections(self) -> Counter[str]:
        """Connections by country."""
        return Counter(visitor.country for visitor in self.visits)

    @property
    def clients(self) -> Counter[str]:
        """Different clients by country."""
        return Counter(visitor.country for visitor in set(self.visits))


@dataclass
class Observed:
    """One run, filled in as it goes on.

    Attributes:
        folder: where everything is written.
        bridges: the two servers, by transport.
        loner: the client that is the only one of its country.
        mark: what everything began with that went through.
        addresses: every address that anybody came from.
        first: the first day of each bridge.
        second: the second day of each.
        echoed: bytes that came back as they were sent.
        strangers: how many knocked without being clients.
        mode: the main log's permissions at the start.
        morning: when the second day's first client came, by the main bridge's clock.
        locked: KiB of the main bridge's memory that stay out of swap.
        sizes: bytes of the main log, by the name of a moment.
        stops: for each bridge the seconds that it took to be gone after SIGTERM, its exit status, and the size of its
            log before and after.
        logs: both logs as they were when both bridges had ended.
        tables: what the conversion script printed.
        remarks: what it said on standard error.
        again: the lines that the main bridge wrote when it had been started again.
    """

    folder: Path
    loner: Visitor
    addresses: set[str]
    mark: bytes
    bridges: dict[str, Bridge] = field(default_factory=dict)
    first: dict[str, Day] = field(default_factory=dict)
    second: dict[str, Day] = field(default_factory=dict)
    echoed: int = 0
    strangers: int = 0
    mode: int = 0
    locked: int = 0
    morning: float = 0.0
    sizes: dict[str, int] = field(default_factory=dict)
    stops: dict[str, Stop] = field(default_factory=dict)
    logs: dict[str, list[LogLine]] = field(default_factory=dict)
    tables: str = ""
    remarks: str = ""
    again: list[LogLine] = field(default_factory=list)

    @property
    def main(self) -> Bridge:
        """The bridge whose log is looked at closely: the first one."""
        return next(iter(self.bridges.values()))

    def first_lines(self, name: str) -> list[LogLine]:
        """Give the lines that a bridge wrote about its first interval."""
        return [line for line in self.logs[name] if line.start == self.logs[name][0].start]

    def second_lines(self, name: str) -> list[LogLine]:
        """Give all the others."""
        return [line for line in self.logs[name] if line.start != self.logs[name][0].start]

    def finished_days(self) -> dict[str, Day]:
        """Who came, by the interval's start, in the intervals that are over: each bridge's first."""
        return {self.logs[name][0].start: day for name, day in self.first.items()}

    def texts(self) -> dict[str, bytes]:
        """Give everything that was written anywhere: the files, and what the conversion script printed."""
        files = {path.name: path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()}
        return files | {"the tables": self.tables.encode(), "the remarks on them": self.remarks.encode()}

    def note_size(self, moment: str) -> None:
        """Note how long the main log is."""
        self.sizes[moment] = self.main.log.stat().st_size


@dataclass(frozen=True)
class Stop:
    """How a bridge ended.

    Attributes:
        seconds: from SIGTERM until the process was gone.
        status: its exit status.
        before: bytes of its log before.
        after: bytes of its log afterwards.
    """

    seconds: float
    status: int
    before: int
    after: int


def connections(lines: Iterable[LogLine]) -> Counter[str]:
    """Count lines by country."""
    return Counter(line.country for line in lines)


def clients(lines: Iterable[LogLine]) -> Counter[str]:
    """Count different hashes by country."""
    return Counter(country for country, _ in {(line.country, line.hash) for line in lines})


def read_log(path: Path) -> list[LogLine]:
    """Read a statistics log.

    Raises:
        DemoError: if it is empty, or a line is not of the log's grammar, or is longer than 64 bytes.
    """
    try:
        lines = [parse_line(line) for line in path.read_bytes().splitlines(keepends=True)]
    except LineError as error:
        raise DemoError(f"{path.name} has a line that is no log's: {error}") from None
    if not lines or len(lines) * LINE_LENGTH != path.stat().st_size:
        raise DemoError(f"{path.name} does not consist of lines of {LINE_LENGTH} bytes")
    return lines


def written_time(seconds: float) -> str:
    """Write a time down as the log does."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def shorten(hashes: Iterable[str]) -> str:
    """Begin to write the different ones of some hashes down."""
    return ", ".join(f"{each[:12]}..." for each in sorted(set(hashes))) or "nowhere"
