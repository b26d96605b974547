"""What a process has cost so far, or a program from start to end: time, processor time and memory."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.report import BrokenError, MissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SETTLED = 8
"""Readings in a row that have to agree before memory counts as settled."""

_AGREED = 64
_SETTLING_PAUSE = 0.1
_LONGEST = 10.0
_WATCH_PAUSE = 0.01
_PAGE = resource.getpagesize()
_MIB = 1 << 20


def cpu_seconds(pid: int) -> float:
    """Give the processor time of a process in seconds, exact to the nanosecond.

    This reads the process's own clock, which clock_getcpuclockid(3) names: user and system time of all its threads,
    those that have ended included. `/proc/PID/stat` gives the same in hundredths of a second, `schedstat` that of one
    thread. The kernel's work for the loopback interface runs in the sender, so it is counted, too.
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

    The kernel keeps an approximate sum that lags behind; the sum of the mappings is exact, but a process that is not
    dumpable shows its mappings to root alone.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except PermissionError:
        text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^(?:Rss|VmRSS):\s+([0-9]+) kB$", text, re.MULTILINE)
    if found is None:
        raise MissingError(f"this kernel does not tell the memory of process {pid}")
    return int(found[1])


def settled_kib(pid: int) -> int:
    """Give the resident memory of a process once it no longer changes, or what it is after some seconds."""
    deadline = time.monotonic() + _LONGEST
    readings: list[int] = []
    while time.monotonic() < deadline:
        readings = [*readings[-_SETTLED + 1 :], resident_kib(pid)]
        if len(readings) == _SETTLED and max(readings) - min(readings) <= _AGREED:
            break
        time.sleep(_SETTLING_PAUSE)
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
        MissingError: if that many are not allowed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise MissingError(f"{count} open files are needed and {hard} are allowed (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


class Ran(NamedTuple):
    """What a program took, and what it wrote.

    Attributes:
        wall: seconds by the clock on the wall.
        processor: seconds of processor time, of all its processes.
        memory: MiB that all its processes together held at the moment when that was most.
        output: tells what it wrote to standard output from anything else.
    """

    wall: float
    processor: float
    memory: float
    output: str


def run(command: Sequence[str], folder: Path) -> Ran:
    """Run a program.

    Args:
        command: the program and its arguments.
        folder: where it runs.

    Raises:
        BrokenError: if its exit status is not 0.
    """
    before = _children_seconds()
    begin = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE) as process:
        watch = _Watch(process.pid)
        output, _ = process.communicate()
        wall = time.perf_counter() - begin
        memory = watch.stop()
    if process.returncode:
        raise BrokenError(f"{command[0]} ended with status {process.returncode}")
    return Ran(wall, _children_seconds() - before, memory, sha256(output).hexdigest())


class _Watch:
    """Adds up the memory of a process and its descendants a hundred times a second, on a thread of its own."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._most = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> float:
        """Give the most that was seen, in MiB."""
        self._stopped.set()
        self._thread.join()
        return self._most

    def _look(self) -> None:
        while not self._stopped.wait(_WATCH_PAUSE):
            self._most = max(self._most, _mebibytes(self._process))


def _mebibytes(process: int) -> float:
    """Give the resident memory of a process and of all that it has started."""
    folder = Path(f"/proc/{process}")
    try:
        own = int((folder / "statm").read_bytes().split()[1]) * _PAGE / _MIB
        children = (folder / f"task/{process}/children").read_bytes().split()
    except (OSError, IndexError):
        return 0
    return own + sum(_mebibytes(int(child)) for child in children)


def _children_seconds() -> float:
    """Give the processor time of all processes that were started here and have ended."""
    used = os.times()
    return used.children_user + used.children_system
