"""The program `obfsproxy` with a clock that stands in a file, for machines without libfaketime.

Example:
    python demo/launcher.py FILE obfs3 --dest 127.0.0.1:9001 server 127.0.0.1:0
        FILE holds the seconds by which the clock is away from the machine's own, such as -3600
"""

from __future__ import annotations

import sys
from pathlib import Path

from obfstats.bridge.main import main
from obfstats.record.clock import SystemClock


class FileClock:
    """The machine's clocks, moved by what stands in a file at the moment."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._system = SystemClock()
        self._first = self._offset()

    def boot(self) -> float:
        """Give seconds since boot; only what has changed since the start moves it, so it is never negative."""
        return self._system.boot() + self._offset() - self._first

    def wall(self) -> float:
        """Give seconds since 1970."""
        return self._system.wall() + self._offset()

    def _offset(self) -> int:
        return int(self._file.read_text())


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], clock=FileClock(Path(sys.argv[1]))))
