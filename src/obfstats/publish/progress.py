"""A progress bar for long work: on a terminal, after a second, where rich is installed; else nothing at all."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 1.0
"""Seconds of work before it is shown."""


class Progress:
    """Shows on standard error how far something is."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Look at no terminal yet.

        Args:
            clock: seconds that never go back.
        """
        self._clock = clock

    @contextmanager
    def of(self, total: int) -> Iterator[Callable[[int], None]]:
        """Show the progress of one piece of work.

        Args:
            total: its size, in bytes; 0 where nobody knows.

        Yields:
            What takes the bytes that have been done since the last call.
        """
        if sys.stderr is None or not sys.stderr.isatty() or find_spec("rich") is None:
            yield lambda _size: None
            return
        bar = _Bar(total, self._clock)
        try:
            yield bar.advance
        finally:
            bar.close()


class _Bar:
    """A bar that appears when the work has lasted for a while."""

    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        self._total = total
        self._clock = clock
        self._show_at = clock() + PATIENCE
        self._done = 0
        self._update: Callable[[int], None] | None = None
        self._stop: Callable[[], None] = lambda: None

    def advance(self, size: int) -> None:
        """Take what has been done."""
        self._done += size
        if self._update is None and self._clock() >= self._show_at:
            self._begin()
        if self._update is not None:
            self._update(self._done)

    def close(self) -> None:
        """Take the bar away."""
        self._stop()

    def _begin(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - an extra, and only where there is something to see
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn  # noqa: PLC0415

        bar = Progress(
            BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        task = bar.add_task("", total=self._total or None)
        bar.start()
        self._update = lambda done: bar.update(task, completed=done)
        self._stop = bar.stop
