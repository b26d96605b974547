"""Clocks that are moved instead of waited for: a whole program's, by libfaketime, and one for objects of this process.

libfaketime moves every clock that an unchanged program sees. Two things it does not move: the times of files, which
stay true, and waits that have already begun in the kernel. A program that sleeps sees the new time when something else
wakes it.

    clock = ProgramClock(tmp_path / "clock")
    Child(argv, environment=under(clock))
    clock.move(86_400)
"""

from __future__ import annotations

import sysconfig
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

DAY = 86_400.0

TICKETS_START = datetime(2012, 2, 7, 14, 1, 4, tzinfo=UTC).timestamp()
"""The start of the interval in the ticket's example, in seconds since 1970."""

# Debian's folder for this processor first: where programs of two kinds are installed, the other one does not fit.
_FOLDERS = (
    f"usr/lib/{sysconfig.get_config_var('MULTIARCH') or '*'}/faketime",
    *("usr/lib/*/faketime", "usr/lib/faketime", "usr/lib64/faketime", "usr/local/lib/faketime"),
)


@cache
def find_faketime() -> Path | None:
    """Find libfaketime where the systems we know install it; None if it is not installed.

    It must be the variant for threads: the other one gives a wrong time now and then when two threads ask at once, and
    the program rightly takes that for a clock that was set.
    """
    return next((path for folder in _FOLDERS for path in Path("/").glob(f"{folder}/libfaketimeMT.so.1")), None)


class ProgramClock:
    """A clock for programs that is a number of seconds away from the machine's own. A file holds that number."""

    def __init__(self, file: Path, offset: int = 0) -> None:
        self.file = file
        self._offset = offset
        self.move(0)

    def move(self, seconds: int) -> None:
        """Move it on."""
        self._offset += seconds
        # Programs read it at any moment: the file is replaced, never half written.
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{self._offset:+d}\n")
        fresh.replace(self.file)

    def now(self) -> float:
        """Give the seconds since 1970 that programs under this clock see."""
        return time.time() + self._offset


def under(clock: ProgramClock) -> dict[str, str]:
    """Give the variables that put a program, and all that it starts, under a clock.

    Raises:
        FileNotFoundError: if libfaketime is not installed.
    """
    library = find_faketime()
    if library is None:
        raise FileNotFoundError("libfaketime is not installed")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock.file),
        "FAKETIME_NO_CACHE": "1",
        # The times of files stay true, or Python would take its own compiled files for outdated ones.
        "NO_FAKE_STAT": "1",
    }


def remove_shared_clock(pid: int) -> None:
    """Remove the memory that libfaketime shared with the children of a process that ended without removing it."""
    for name in ("faketime_shm", "sem.faketime_sem"):
        Path(f"/dev/shm/{name}_{pid}").unlink(missing_ok=True)


class MovedClock:
    """A `record.clock.Clock` that moves only when a test moves it."""

    def __init__(self, wall: float = TICKETS_START) -> None:
        self._boot = 1000.0
        self._wall = wall

    def boot(self) -> float:
        """Seconds since boot."""
        return self._boot

    def wall(self) -> float:
        """Seconds since 1970."""
        return self._wall

    def pass_time(self, seconds: float) -> None:
        """Let time pass, or the machine sleep: both clocks go on."""
        self._boot += seconds
        self._wall += seconds

    def set_wall(self, by: float) -> None:
        """Set the wall clock, as an operator does."""
        self._wall += by
