"""Memory is bounded by the longest interval, and not by the log."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from obfstats.publish import plain, tally
from obfstats.publish.logfiles import find
from peers.program import OBFSTATS
from tests.publish.logs import line

if TYPE_CHECKING:
    from pathlib import Path

FIRST_START = datetime.fromisoformat("2012-02-07 14:01:04")
CLIENTS = 200_000
"""Clients of an interval: enough lines for the interval before to be counted."""


def convert(log: bytes | Path) -> tuple[bytes, int]:
    """Convert a log from standard input or from a file; give the tables, and the program's peak memory in KiB."""
    name = "-" if isinstance(log, bytes) else log
    program = (
        f"import resource, subprocess, sys; subprocess.run([{OBFSTATS!r}, 'convert', {str(name)!r}], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], input=log if isinstance(log, bytes) else b"", capture_output=True, check=True
    )
    return result.stdout, int(result.stderr.split()[-1])


def write_days(path: Path, days: int) -> None:
    """Write a log of some days, each with different clients."""
    with path.open("wb") as file:
        for day in range(days):
            begin = f"{FIRST_START + timedelta(days=day)} de ".encode()
            hashes = os.urandom(20 * CLIENTS).hex().encode()
            file.writelines(begin + hashes[first : first + 40] + b"\n" for first in range(0, len(hashes), 40))


def test_a_long_log_takes_no_more_memory_than_its_longest_interval(tmp_path: Path) -> None:
    """Eight more days would take 38 MB if their rows were kept."""
    peaks = []
    for days in (2, 10):
        write_days(tmp_path / "clients.log", days)
        tables, peak = convert(tmp_path / "clients.log")
        assert tables.count(b"de 200000\n") == 2 * days
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 15_000


def scattered(count: int) -> bytes:
    """Give lines, each of another interval."""
    return b"".join(line(f"{FIRST_START + timedelta(minutes=number)}") for number in range(count))


def test_a_new_interval_with_every_line_is_counted(tmp_path: Path) -> None:
    """No bridge writes such a log; its numbers are exact all the same."""
    log = tmp_path / "clients.log"
    log.write_bytes(scattered(10_000))
    read = list[int]()
    assert tally.count_logs(find([str(log)]), read.append) == plain.count_logs(find([str(log)]), lambda _: None)
    assert sum(read) == log.stat().st_size


def test_many_intervals_of_a_pipe_take_little_memory() -> None:
    """A pipe's intervals are kept to the end, and each takes as much memory as its rows."""
    tables, peak = convert(scattered(8_000))
    assert tables.count(b"\n") == 2 * 8_000 + 2
    assert peak < 200_000
