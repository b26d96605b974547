"""Starts `obfsproxy` with a clock that a file moves, for machines without libfaketime.

    python demo/launcher.py FILE obfs3 --dest 127.0.0.1:9001 server 127.0.0.1:0

FILE holds the seconds between the program's clock and the machine's own, such as -3600. Only the program's clock is
moved, not the event loop's timers. So the program ticks ten times a second instead of twice a minute: what a moved
clock has made due happens at once, as it does under libfaketime.
"""

from __future__ import annotations

import sys
from pathlib import Path

from obfstats.bridge import daemon
from obfstats.bridge.obfsproxy import main
from obfstats.record.clock import SystemClock

_TICK_SECONDS = 0.1


class FileClock:
    """The machine's clocks, moved by the number in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._system = SystemClock()
        self._first = self._offset()

    def boot(self) -> float:
        """Seconds since boot; only changes since the start count, so that it is never negative."""
        return self._system.boot() + self._offset() - self._first

    def wall(self) -> float:
        """Seconds since 1970."""
        return self._system.wall() + self._offset()

    def _offset(self) -> int:
        return int(self._file.read_text())


if __name__ == "__main__":
    daemon.TICK_SECONDS = _TICK_SECONDS
    sys.exit(main(sys.argv[2:], clock=FileClock(Path(sys.argv[1]))))
