"""The processes that read input files, and what they share: the next part's number, the bytes that are done, the end.

With one worker, tasks run in this process, which spares the time to start another.
"""

from __future__ import annotations

import multiprocessing
import signal
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

import pyarrow as pa

from obfstats.analyse.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.sharedctypes import Synchronized

_Result = TypeVar("_Result")

_POLL_SECONDS = 0.2


class _Shared(NamedTuple):
    next_part: Synchronized[int]
    done: Synchronized[int]
    is_stopped: Synchronized[int]
    report: Callable[[], None] | None = None


_shared: _Shared


def _share(shared: _Shared) -> None:
    global _shared  # noqa: PLW0603 - what a process inherits can only be a global of its module
    _shared = shared


def _start_worker(shared: _Shared) -> None:
    # Control-C reaches all processes of a terminal; the first one stops the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Arrow's own pool keeps 35 MB more of what batches needed.
    pa.set_memory_pool(pa.system_memory_pool())
    _share(shared)


def add_progress(size: int) -> None:
    """Count bytes of the inputs as done. Called in the process that runs a task.

    Raises:
        KeyboardInterrupt: if the pool was left.
    """
    if _shared.is_stopped.value:
        raise KeyboardInterrupt
    with _shared.done.get_lock():
        _shared.done.value += size
    if _shared.report is not None:
        _shared.report()


def take_part_number() -> int:
    """Take the number of the next part; no other process gets the same."""
    with _shared.next_part.get_lock():
        _shared.next_part.value += 1
        return _shared.next_part.value - 1


class WorkerPool:
    """Runs tasks in processes, or in this one, and reports their progress."""

    def __init__(self, workers: int, next_part: int, advance: Callable[[int], None]) -> None:
        """Start the processes.

        Args:
            workers: their number; 1 runs tasks in this process.
            next_part: the first number that `take_part_number` gives.
            advance: takes the number of bytes that are done since the last call.
        """
        context = multiprocessing.get_context("spawn")
        self._shared = _Shared(context.Value("q", next_part), context.Value("q", 0), context.Value("q", 0))
        self._advance = advance
        self._reported = 0
        self._executor = None
        if workers > 1:
            self._executor = ProcessPoolExecutor(
                workers, mp_context=context, initializer=_start_worker, initargs=(self._shared,)
            )
        else:
            _share(self._shared._replace(report=self._report))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._executor is not None:
            self._shared.is_stopped.value = 1
            self._executor.shutdown(cancel_futures=True)

    def next_part(self) -> int:
        """Give the number of the next part, when all tasks are done."""
        return self._shared.next_part.value

    def run(self, task: Callable[..., _Result], arguments: Sequence[tuple[object, ...]]) -> Iterator[_Result]:
        """Run a task for each of several arguments; give the results in their order."""
        if self._executor is None:
            yield from (task(*values) for values in arguments)
            return
        futures = [self._executor.submit(task, *values) for values in arguments]
        pending = set(futures)
        try:
            while pending:
                _, pending = wait(pending, _POLL_SECONDS, FIRST_COMPLETED)
                self._report()
            yield from (future.result() for future in futures)
        except BrokenProcessPool:
            raise StoreError("a process that read files was ended by the system; free some memory") from None

    def _report(self) -> None:
        done = self._shared.done.value
        self._advance(done - self._reported)
        self._reported = done
