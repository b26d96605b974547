"""The transport's program: started as tor would start it, told what tor tells the wrap, and outlived by nobody.

- It has tor's standard input and standard error as its own; its standard output goes through `speech`.
- It gets SIGKILL from the kernel when the wrap is gone, in whichever way that came about: what it listens on is free
  then for the one that tor starts next.
- Signals are at their defaults in it, and no descriptor of the wrap's is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from obfstats.bridge.wrap.speech import Speech

PATIENCE = 5.0
"""Seconds from SIGTERM until a program that does not end is killed."""

_PR_SET_PDEATHSIG = 1


class Program:
    """A running transport, the wrap's companion."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], speech: Speech) -> None:
        """Start it.

        Args:
            command: the program and its arguments.
            environment: all its variables.
            speech: what tor hears.

        Raises:
            OSError: it cannot be started.
        """
        prctl = ctypes.CDLL(None).prctl
        self._process = subprocess.Popen(  # noqa: S603 - the operator's own words
            command,
            env=environment,
            stdout=subprocess.PIPE,
            bufsize=0,
            preexec_fn=partial(_die_with, os.getpid(), prctl),  # noqa: PLW1509 - there are no threads yet
        )
        if self._process.stdout is None:
            raise AssertionError("a pipe was asked for")
        self._stdout = self._process.stdout.fileno()
        os.set_blocking(self._stdout, False)
        self._speech = speech
        self._watched = os.pidfd_open(self._process.pid)
        self._has_ended: asyncio.Event | None = None

    @property
    def status(self) -> int:
        """Its exit status; 128 and the signal's number where a signal ended it, as shells have it."""
        status = self._process.wait()
        return 128 - status if status < 0 else status

    def begin(self, ended: Callable[[str], None]) -> None:
        """Pass its lines on, and look out for its end, on the running loop."""
        self._has_ended = asyncio.Event()
        self._speech.begin(self._stdout)
        asyncio.get_running_loop().add_reader(self._watched, self._end, ended)

    def tell(self, number: signal.Signals) -> None:
        """Pass a signal on."""
        self._process.send_signal(number)

    async def end(self) -> None:
        """End it, by SIGTERM, and if need be by SIGKILL."""
        if self._has_ended is None:
            raise RuntimeError("nobody looks out for its end")
        self.tell(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._has_ended.wait(), PATIENCE)
        self._process.kill()
        await self._has_ended.wait()
        await self._speech.end()

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        self._process.kill()
        self._process.wait()

    def _end(self, ended: Callable[[str], None]) -> None:
        asyncio.get_running_loop().remove_reader(self._watched)
        os.close(self._watched)
        self._process.wait()
        if self._has_ended is not None:
            self._has_ended.set()
        ended("The transport's program has ended.")


def _die_with(parent: int, prctl: Callable[..., int]) -> None:
    """Have the kernel kill this process when its parent ends; runs in the child, before the program.

    No signal is blocked from then on: one that is for the wrap alone may be, while that starts.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
