"""Doing both halves of some work at the same time, in a process each.

Threads of one Python take turns. Each step on the lines of a block ends with waiting for one's turn, so that two of
them need three quarters of the time that one needs, and two processes need half of it.
"""

from __future__ import annotations

import os
import pickle
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Advance = Callable[[int], None]

_Result = TypeVar("_Result")

_NUMBER = 8
"""Bytes of a number on its way through a pipe: so few are never torn apart."""

_AT_ONCE = 512 * _NUMBER


def may_fork() -> bool:
    """Tell whether this process can be copied.

    What another thread holds at that moment would be held for ever; and who ignores the end of copies is not told it.
    """
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        return False
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False


def in_processes(works: Sequence[Callable[[Advance], _Result]], advance: Advance) -> list[_Result] | None:
    """Do some work in copies of this process.

    Args:
        works: what each copy does. What it gives is pickled; whatever it raises is lost.
        advance: takes what the copies say with their own.

    Returns:
        What they gave, in order; None if one failed, which says that all is to be done again, here.
    """
    copies: list[_Copy[_Result]] = []
    try:
        with _uninterrupted():
            reading = _begin(works, copies)
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            while said := pipe.read(_AT_ONCE):
                for place in range(0, len(said), _NUMBER):
                    advance(int.from_bytes(said[place : place + _NUMBER], "little", signed=True))
        results = [copy.result() for copy in copies]
    except OSError:
        # No further process, no memory for one, or no further file.
        return None
    finally:
        for copy in copies:
            copy.end()
    return None if None in results else [result for result in results if result is not None]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let an interrupt wait: a copy that nobody has noted yet would be left behind, or go on as the original."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(works: Sequence[Callable[[Advance], _Result]], copies: list[_Copy[_Result]]) -> int:
    """Begin all works; give the pipe that their numbers come through, which ends when all of them have."""
    reading, writing = os.pipe()
    try:
        for work in works:
            # One by one: those that are there must be ended should a further one fail.
            copies.append(_Copy(work, reading, writing))  # noqa: PERF401
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return reading


class _Copy(Generic[_Result]):
    """A copy of this process that does one thing.

    Args:
        work: what it does.
        reading: the pipe's end that is not the copy's.
        writing: the one that takes its numbers.
    """

    def __init__(self, work: Callable[[Advance], _Result], reading: int, writing: int) -> None:
        self._memory = os.memfd_create("half")
        self._process = 0
        try:
            self._process = os.fork()
        except OSError:
            os.close(self._memory)
            raise
        if not self._process:
            self._do(work, reading, writing)

    def result(self) -> _Result | None:
        """Wait for its end, and give what it gave; None if it failed."""
        if self._wait():
            return None
        with os.fdopen(os.dup(self._memory), "rb") as file:
            file.seek(0)
            result: _Result = pickle.load(file)  # noqa: S301 - it was written by this program
        return result

    def end(self) -> None:
        """End it, if it is still there."""
        if self._process:
            os.kill(self._process, signal.SIGKILL)
            self._wait()
        os.close(self._memory)

    def _wait(self) -> int:
        """Wait for its end; give its status."""
        status = os.waitpid(self._process, 0)[1]
        self._process = 0
        return status

    def _do(self, work: Callable[[Advance], _Result], reading: int, writing: int) -> None:
        """Do the work, in the copy, and never come back: what stands further up is the original's affair."""
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            # Who has no original any more is to notice it when it says a number.
            os.close(reading)
            result = work(lambda number: _say(writing, number))
            with os.fdopen(self._memory, "wb", closefd=False) as file:
                pickle.dump(result, file)
            status = 0
        finally:
            os._exit(status)


def _say(pipe: int, number: int) -> None:
    os.write(pipe, number.to_bytes(_NUMBER, "little", signed=True))
