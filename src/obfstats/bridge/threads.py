"""Work that may take a second or more, on a thread of its own, so that no connection waits for it.

No thread keeps the program from ending, whatever it waits for.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

_Result = TypeVar("_Result")

PATIENCE = 0.1
"""Seconds that `JobThread.run` waits for a job: a disk that works has done it by then."""


class JobThread:
    """A thread that runs one job after the other: what is done to one file, in order."""

    def __init__(self, name: str) -> None:
        """Start it.

        Args:
            name: the thread's name.

        Raises:
            OSError: if no thread can be started.
        """
        self._jobs: SimpleQueue[tuple[Callable[[], None], threading.Event]] = SimpleQueue()
        self._last = threading.Event()
        self._last.set()
        _start_thread(name, self._work)

    @property
    def waiting(self) -> int:
        """Jobs that are not begun."""
        return self._jobs.qsize()

    def run(self, job: Callable[[], None]) -> None:
        """Run a job, and wait for it, but not for long: not at all while an earlier one is not done.

        Args:
            job: must not raise.
        """
        is_idle = self._last.is_set()
        done = self._last = threading.Event()
        self._jobs.put((job, done))
        if is_idle:
            done.wait(PATIENCE)

    def wait(self, seconds: float) -> None:
        """Wait until all jobs are done, or so many seconds have passed."""
        self._last.wait(seconds)

    def _work(self) -> None:
        while True:
            job, done = self._jobs.get()
            job()
            done.set()


async def run_in_thread(name: str, work: Callable[[], _Result]) -> _Result:
    """Run a function on a thread that does not keep the program from ending (those of an executor do).

    Args:
        name: the thread's name.
        work: the function; what it raises is raised here.

    Raises:
        OSError: if no thread can be started, or memory is short.
    """
    future: Future[_Result] = Future()
    # A running future cannot be cancelled: the thread finishes its work in any case.
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except MemoryError:
            future.set_exception(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
        except Exception as error:  # noqa: BLE001 - it is raised where the work is awaited
            future.set_exception(error)

    _start_thread(name, run)
    return await asyncio.wrap_future(future)


def start_workers(executor: Executor, number: int) -> None:
    """Start so many threads of an executor.

    Raises:
        OSError: if one cannot be started.
    """
    # Each waits until there are so many.
    together = threading.Barrier(number)
    try:
        for _ in range(number):
            executor.submit(together.wait)
    except RuntimeError:
        together.abort()
        raise OSError(errno.EAGAIN, "not all threads can be started") from None


def _start_thread(name: str, work: Callable[[], None]) -> None:
    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except (RuntimeError, MemoryError):
        raise OSError(errno.EAGAIN, "no thread can be started") from None
