"""Doing both halves of some work at the same time, in a process each.

Threads of one Python take turns. Each step on the lines of a block ends with waiting for one's turn, so that two of
them need three quarters of the time that one needs, and two processes need half of it.
"""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Advance = Callable[[int], None]

_Result = TypeVar("_Result")

_NUMBER = 8
"""Bytes of a number on its way through a pipe: so few are never torn apart."""

_AT_ONCE = 512 * _NUMBER


def may_fork() -> bool:
    """Tell whether this process can be copied: what another thread holds at that moment would be held for ever."""
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
    reading, writing = os.pipe()
    copies: list[_Copy[_Result]] = []
    try:
        for work in works:
            # One by one: those that are there must be ended should a further one fail.
            copies.append(_Copy(work, reading, writing))  # noqa: PERF401
        os.close(writing)
        writing = -1
        while said := os.read(reading, _AT_ONCE):
            for place in range(0, len(said), _NUMBER):
                advance(int.from_bytes(said[place : place + _NUMBER], "little", signed=True))
        results = [copy.result() for copy in copies]
    except OSError:
        # No further process, or no memory for one.
        return None
    finally:
        if writing >= 0:
            os.close(writing)
        os.close(reading)
        for copy in copies:
            copy.end()
    return None if None in results else [result for result in results if result is not None]


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
        status = os.waitpid(self._process, 0)[1]
        self._process = 0
        if status:
            return None
        with os.fdopen(os.dup(self._memory), "rb") as file:
            file.seek(0)
            result: _Result = pickle.load(file)  # noqa: S301 - it was written by this program
        return result

    def end(self) -> None:
        """End it, if it is still there."""
        if self._process:
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
            self._process = 0
        os.close(self._memory)

    def _do(self, work: Callable[[Advance], _Result], reading: int, writing: int) -> None:
        """Do the work, in the copy, and never come back: what stands further up is the original's affair."""
        status = 1
        try:
            os.close(reading)
            result = work(lambda number: _say(writing, number))
            with os.fdopen(self._memory, "wb", closefd=False) as file:
                pickle.dump(result, file)
            status = 0
        finally:
            os._exit(status)


def _say(pipe: int, number: int) -> None:
    os.write(pipe, number.to_bytes(_NUMBER, "little", signed=True))
