"""A progress bar for long work: on a terminal, after a second, where rich is installed; otherwise nothing."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 1.0
"""Seconds of work before the bar appears."""


@contextmanager
def show_progress(
    total: int, clock: Callable[[], float] = time.monotonic, *, unit: str = ""
) -> Iterator[Callable[[int], None]]:
    """Show the progress of one piece of work on standard error.

    Args:
        total: its size, in bytes or in another unit; 0 if it is unknown.
        clock: monotonic time in seconds.
        unit: the other unit, in the plural.

    Yields:
        A function that takes what is done since its last call.
    """
    if sys.stderr is None or not sys.stderr.isatty() or find_spec("rich") is None:
        yield lambda _size: None
        return
    show_at = clock() + PATIENCE
    done = 0
    update: Callable[[int], None] | None = None
    with ExitStack() as bar:

        def advance(size: int) -> None:
            nonlocal done, update
            done += size
            if update is None and clock() >= show_at:
                update = _show_bar(total, unit, bar)
            if update is not None:
                update(done)

        yield advance


def _show_bar(total: int, unit: str, stack: ExitStack) -> Callable[[int], None]:
    """Show a bar until the stack is closed; give what updates it."""
    from rich import progress  # noqa: PLC0415 - an extra, and only loaded for work that takes a while
    from rich.console import Console  # noqa: PLC0415

    columns = [progress.BarColumn(), progress.TimeRemainingColumn()]
    columns[1:1] = (
        [progress.MofNCompleteColumn(), progress.TextColumn(unit)]
        if unit
        else [progress.DownloadColumn(), progress.TransferSpeedColumn()]
    )
    bar = progress.Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=total or None)
    stack.enter_context(bar)
    return lambda done: bar.update(task, completed=done)
