"""A program that publishes two days and is killed at each of its steps, each time in a new folder.

    python -m tests.bridge.killing FOLDER

FOLDER/0000-before is what is left where it was killed before the first of its calls to the kernel that change a disk,
FOLDER/0007-torn where half of what it wrote reached the disk, or the call was done. It is one of its own because a
process is copied only while it has one thread, which a test's process may not.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bridge.published import Bridge

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = ("open", "write", "fsync", "fchmod", "chmod", "ftruncate", "rename", "unlink", "utime")

KILLED = 77


def main(folder: Path) -> None:
    """Kill a copy of this process at its first step, another one at its second, until one runs to its end."""
    for step in count():
        before = _killed(folder / f"{step:04}-before", step, is_torn=False)
        torn = _killed(folder / f"{step:04}-torn", step, is_torn=True)
        if not before and not torn:
            return


def _killed(home: Path, step: int, *, is_torn: bool) -> bool:
    """Run a copy and return whether it was killed at that step."""
    copy = os.fork()
    if copy == 0:
        status = 1
        try:
            home.mkdir()
            publish_two_days(Bridge(home, forget_after=0.0), step, is_torn=is_torn)
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
    if status not in (0, KILLED):
        sys.exit(f"step {step}: a copy ended with {status}")
    return status == KILLED


def publish_two_days(bridge: Bridge, step: int, *, is_torn: bool) -> None:
    """Record nine clients on the first day and four on the second; killed before a step, or within it."""
    bridge.visit(9)
    steps = count()
    for name in CALLS:
        setattr(os, name, _ending(getattr(os, name), steps, step, is_torn=is_torn))
    bridge.end_day()
    bridge.visit(4)
    bridge.end_day()


def _ending(call: Callable[..., object], steps: count[int], last: int, *, is_torn: bool) -> Callable[..., object]:
    """Wrap a system call so that the process is killed in it when it is due."""

    def called(*given: object, **named: object) -> object:
        if next(steps) != last:
            return call(*given, **named)
        if is_torn and isinstance(given[-1], bytes):
            call(given[0], given[-1][: len(given[-1]) // 2])
        elif is_torn:
            call(*given, **named)
        os._exit(KILLED)

    return called


if __name__ == "__main__":
    main(Path(sys.argv[1]))
