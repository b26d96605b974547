"""What a run of the demonstration saw: the truth about who connected, the state at certain moments, the tables."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from demo import DemoError
from obfstats.formats.interval import format_time
from obfstats.formats.logline import LINE_LENGTH, LineError, parse_line
from obfstats.publish import simple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from demo.bridge import Bridge
    from demo.clients import Client
    from obfstats.formats.logline import LogLine

SCRIPT = Path(simple.__file__)
"""The conversion script: one file of standard-library Python."""

HEADINGS = ("Daily rounded total requests by country", "Daily rounded unique IPs by country")

_SCRIPT_SECONDS = 30.0


@dataclass(frozen=True)
class Day:
    """What one bridge served in one of its intervals.

    Attributes:
        connections: the client of each connection, in the order in which they were made.
    """

    connections: Sequence[Client]

    @property
    def connections_by_country(self) -> Counter[str]:
        """Connections by country."""
        return Counter(client.country for client in self.connections)

    @property
    def clients_by_country(self) -> Counter[str]:
        """Distinct clients by country."""
        return Counter(client.country for client in set(self.connections))


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


@dataclass
class Observed:
    """One run, filled in while it goes on.

    Attributes:
        folder: where everything is written.
        single: the client that is the only one of its country.
        addresses: every address that connected.
        mark: what everything that clients sent began with.
        bridges: the two servers, by transport.
        first: the first day of each bridge.
        second: the second day of each.
        echoed: bytes that were echoed as they were sent.
        strangers: how many connected without being clients.
        mode: the main log's permissions at the start.
        morning: when the second day's first client connected, by the main bridge's clock.
        locked: KiB of the main bridge's memory that are kept out of swap.
        filling: how many connections filled the main bridge's buffer on the first day.
        sizes: bytes of the main log, by the name of a moment.
        stops: how each bridge ended.
        logs: both logs as they were when both bridges had ended.
        tables: what the conversion script printed.
        remarks: what it printed to standard error.
        restarted: the lines that the main bridge wrote after it had been started again.
    """

    folder: Path
    single: Client
    addresses: set[str]
    mark: bytes
    bridges: dict[str, Bridge] = field(default_factory=dict)
    first: dict[str, Day] = field(default_factory=dict)
    second: dict[str, Day] = field(default_factory=dict)
    echoed: int = 0
    strangers: int = 0
    mode: int = 0
    locked: int = 0
    filling: int = 0
    morning: float = 0.0
    sizes: dict[str, int] = field(default_factory=dict)
    stops: dict[str, Stop] = field(default_factory=dict)
    logs: dict[str, list[LogLine]] = field(default_factory=dict)
    tables: str = ""
    remarks: str = ""
    restarted: list[LogLine] = field(default_factory=list)

    @property
    def main(self) -> Bridge:
        """The bridge whose log is shown: the first one."""
        return next(iter(self.bridges.values()))

    def first_lines(self, name: str) -> list[LogLine]:
        """Give the lines that a bridge wrote about its first interval."""
        return [line for line in self.logs[name] if line.start == self.logs[name][0].start]

    def second_lines(self, name: str) -> list[LogLine]:
        """Give all the others."""
        return [line for line in self.logs[name] if line.start != self.logs[name][0].start]

    def finished_days(self) -> dict[str, Day]:
        """Give the days of the intervals that are over, by the interval's start: each bridge's first."""
        return {self.logs[name][0].start: day for name, day in self.first.items()}

    def texts(self) -> dict[str, bytes]:
        """Give everything that was written: the files, and what the conversion script printed."""
        files = {path.name: path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()}
        return files | {"the tables": self.tables.encode(), "the remarks on them": self.remarks.encode()}

    def note_size(self, moment: str) -> None:
        """Note how long the main log is."""
        self.sizes[moment] = self.main.log.stat().st_size


def convert(folder: Path, logs: Sequence[str]) -> tuple[str, str]:
    """Run the conversion script as an operator does; give its standard output and standard error.

    Raises:
        DemoError: if it fails.
    """
    try:
        run = subprocess.run(  # noqa: S603
            [sys.executable, str(SCRIPT), *logs], cwd=folder, capture_output=True, timeout=_SCRIPT_SECONDS, check=True
        )
    except subprocess.SubprocessError as error:
        raise DemoError(f"{SCRIPT.name} failed: {error}") from None
    return run.stdout.decode("ascii", "backslashreplace"), run.stderr.decode("ascii", "backslashreplace")


def true_tables(days: Mapping[str, Day]) -> tuple[dict[str, int], dict[str, int]]:
    """Count connections, then distinct clients, each by `start country`, which is how a row begins.

    Args:
        days: what was served, by the interval's start.
    """
    return (
        {f"{start} {country}": n for start, day in days.items() for country, n in day.connections_by_country.items()},
        {f"{start} {country}": n for start, day in days.items() for country, n in day.clients_by_country.items()},
    )


def write_tables(tables: Sequence[Mapping[str, int]]) -> str:
    """Write tables as the script must: each number rounded up to a multiple of 8, rows sorted by their bytes."""
    return "".join(
        f"{heading}\n" + "".join(f"{row} {-(-number // 8) * 8}\n" for row, number in sorted(table.items()))
        for heading, table in zip(HEADINGS, tables, strict=True)
    )


def lines_by_country(lines: Iterable[LogLine]) -> Counter[str]:
    """Count lines by country."""
    return Counter(line.country for line in lines)


def hashes_by_country(lines: Iterable[LogLine]) -> Counter[str]:
    """Count distinct hashes by country."""
    return Counter(country for country, _ in {(line.country, line.hash) for line in lines})


def read_log(path: Path) -> list[LogLine]:
    """Read a statistics log.

    Raises:
        DemoError: if it is empty, or a line does not follow the log's grammar, or is longer than 64 bytes.
    """
    try:
        lines = [parse_line(line) for line in path.read_bytes().splitlines(keepends=True)]
    except LineError as error:
        raise DemoError(f"{path.name} has a line that is not a statistics log's: {error}") from None
    if not lines or len(lines) * LINE_LENGTH != path.stat().st_size:
        raise DemoError(f"{path.name} does not consist of lines of {LINE_LENGTH} bytes")
    return lines


def write_time(seconds: float) -> str:
    """Write a time as the log does."""
    return format_time(datetime.fromtimestamp(seconds, UTC))


def shorten(hashes: Iterable[str]) -> str:
    """Write the beginnings of the distinct ones of some hashes."""
    return ", ".join(f"{each[:12]}..." for each in sorted(set(hashes))) or "nowhere"
