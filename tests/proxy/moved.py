"""A bridge under a clock that the test moves (libfaketime): minutes and days pass between two clients.

The program sleeps in the kernel, which knows nothing of that clock. A client who comes wakes it, and then whatever has
become due happens before the client is served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from peers.clocks import ProgramClock, under
from peers.missing import need

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TICK = 31
"""Seconds that hold one of the program's ticks."""

DAY = 86_400


class Time:
    """The clock of one program.

    Attributes:
        environment: the variables that put a program under it.
        clock: the clock itself.
    """

    def __init__(self, folder: Path) -> None:
        """Begin at the machine's own time.

        Args:
            folder: for the clock's file.
        """
        need("faketime", "faketime")
        self.clock = ProgramClock(folder / "clock")
        self.environment = under(self.clock)

    def tick(self, wake: Callable[[], None], number: int = 1) -> None:
        """Let the program tick that many times.

        Args:
            wake: has a client connect; called after each tick has become due.
            number: how many ticks.
        """
        for _ in range(number):
            self.clock.move(TICK)
            wake()

    def minute(self, wake: Callable[[], None]) -> None:
        """Let the program log its report of a minute; `wake` is called twice."""
        self.tick(wake, 2)
