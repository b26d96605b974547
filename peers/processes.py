"""The processes that a process has started: which they are, where they listen, whether they have ended.

Processes are held by file descriptors (pidfd), so that a process that gets the number of another is not mistaken for
it. Linux only. Source: proc(5), pidfd_open(2).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Self

from peers.child import is_readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

_LISTEN = "0A"
_POLL = 0.01


def family(pid: int) -> Iterator[int]:
    """Give a process and all that it has started, as far as they run."""
    yield pid
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from family(int(child))


def wait_until_idle(pid: int, seconds: float = 30.0) -> None:
    """Wait until no thread of a process runs.

    A clock that is moved while a program reads its two clocks looks to it like a clock that was set.

    Raises:
        TimeoutError: if it runs all the time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        states = [
            (task / "stat").read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").iterdir()
        ]
        if set(states) == {"S"}:
            return
        time.sleep(_POLL)
    raise TimeoutError(f"process {pid} did not become idle")


def command_line(pid: int) -> str:
    """Give a process's command line; nothing for one that has ended."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()


def listeners(pids: Iterable[int]) -> set[str]:
    """Give the addresses on which processes listen by TCP.

    Raises:
        PermissionError: if a process forbids it; root may always.
    """
    found = set()
    for pid in pids:
        sockets = set()
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                sockets.add(str(descriptor.readlink()))
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                _number, local, _remote, state, *_, inode = line.split()[:10]
                if state == _LISTEN and f"socket:[{inode}]" in sockets:
                    found.add(_address(local.partition(":")[0]))
    return found


def _address(written: str) -> str:
    """Read an address as the kernel writes it: four bytes at a time, each as a number of this machine's."""
    words = [int(written[start : start + 8], 16) for start in range(0, len(written), 8)]
    return str(ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words)))


class Held:
    """Processes that must end by themselves. As a context manager it kills those that have not."""

    def __init__(self, pids: Iterable[int]) -> None:
        """Hold them; those that have ended already are left out."""
        self._descriptors: dict[int, int] = {}
        for pid in pids:
            with suppress(ProcessLookupError):
                self._descriptors[pid] = os.pidfd_open(pid)

    def left(self, seconds: float) -> list[int]:
        """Wait until all have ended; give the numbers of those that have not in time."""
        deadline = time.monotonic() + seconds
        for pid, descriptor in list(self._descriptors.items()):
            if is_readable(descriptor, max(0.0, deadline - time.monotonic())):
                os.close(self._descriptors.pop(pid))
        return list(self._descriptors)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in self._descriptors.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)
