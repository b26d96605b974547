"""Running a program to its end, and what that took: time, processor time, and memory of all its processes together."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.initiator import BrokenError

if TYPE_CHECKING:
    from collections.abc import Sequence

_PAUSE = 0.01
_PAGE = resource.getpagesize()
_MIB = 1 << 20


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
    """Adds up the memory of a process and all that came of it again and again, on a thread of its own."""

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
        while not self._stopped.wait(_PAUSE):
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
