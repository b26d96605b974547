"""What a process has cost so far: processor time and memory."""

from __future__ import annotations

import os
import re
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.report import MissingError

if TYPE_CHECKING:
    from collections.abc import Callable

_SETTLED = 8
"""Readings in a row that have to agree before memory counts as settled."""

_AGREED = 64
_PAUSE = 0.1
_LONGEST = 10.0


def cpu_seconds(pid: int) -> float:
    """Give the processor time of a process in seconds, exact to the nanosecond.

    This reads the process's own clock, which clock_getcpuclockid(3) names: user and system time of all its threads,
    those that have ended included. `/proc/PID/stat` says the same in hundredths of a second, and `schedstat` speaks of
    one thread. The kernel's work for the loopback interface runs within whoever sends, so it is counted, too.
    """
    # The kernel's encoding: the complement of the process id, and 2 for the scheduler's clock.
    return time.clock_gettime((~pid << 3) | 2)


class Spent(NamedTuple):
    """What some work took, in seconds.

    Attributes:
        wall: by the clock on the wall.
        server: of processor time, of the processes under test.
        load: of processor time, of this process.
    """

    wall: float
    server: float
    load: float


def spend(work: Callable[[], object], *pids: int) -> Spent:
    """Do some work, and give what it took this process and those under test."""

    def now() -> Spent:
        return Spent(time.perf_counter(), sum(map(cpu_seconds, pids)), time.process_time())

    before = now()
    work()
    return Spent(*(end - begin for begin, end in zip(before, now(), strict=True)))


def resident_kib(pid: int) -> int:
    """Give the resident memory of a process in KiB.

    The kernel keeps an approximate sum that lags behind; adding the mappings up is exact, but a process that refuses
    to be dumped shows its mappings to root alone.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except PermissionError:
        text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^(?:Rss|VmRSS):\s+([0-9]+) kB$", text, re.MULTILINE)
    if found is None:
        raise MissingError(f"this kernel does not say what memory process {pid} has")
    return int(found[1])


def settled_kib(pid: int) -> int:
    """Give the resident memory of a process once it no longer changes, or what it is after some seconds."""
    deadline = time.monotonic() + _LONGEST
    readings: list[int] = []
    while time.monotonic() < deadline:
        readings = [*readings[-_SETTLED + 1 :], resident_kib(pid)]
        if len(readings) == _SETTLED and max(readings) - min(readings) <= _AGREED:
            break
        time.sleep(_PAUSE)
    return readings[-1]


def two_cores() -> tuple[int, int]:
    """Give a core for the server under test and another for the load on it.

    Raises:
        MissingError: if this process may use one only.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise MissingError("two cores are needed, one for the server and one for its load")
    return cores[0], cores[1]


def allow_descriptors(count: int) -> None:
    """Raise the limit on open files, for this process and for those that it starts.

    Raises:
        MissingError: if so many are not allowed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise MissingError(f"{count} open files are needed and {hard} are allowed (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
