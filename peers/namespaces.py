"""A network of one's own: loopback alone, with settings of the kernel that no other program on the machine sees.

    in_own_network(lambda: tcp_metrics(...))        the function, its threads and its programs are in that network
    with linked_network("10.1.2.1", "10.1.2.2") as run_there:       from within one: a second network, and a link to it
        run_there(lambda: socket.create_connection(("10.1.2.1", 80)))

Source: network_namespaces(7), veth(4).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Result = TypeVar("_Result")

_CLONE_NEWNET = 0x40000000
_LINK = "link0"


def in_own_network(story: Callable[[], _Result]) -> _Result:
    """Run a function on a thread in a network namespace of its own, with loopback up, and give what it returns.

    Raises:
        PermissionError: if this user may not make one: only root may.
        FileNotFoundError: if iproute2 is not installed.
    """

    def run() -> _Result:
        _enter_own_network()
        return story()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


class Run(Protocol):
    """Runs a function in a network, and gives what it returns; programs that it starts stay there."""

    def __call__(self, function: Callable[[], _Result], /) -> _Result:
        """Run it."""


@contextmanager
def linked_network(near: str, far: str) -> Iterator[Run]:
    """Make a second network with a link between it and this thread's, which must be one of its own.

    Args:
        near: this network's IPv4 address on the link.
        far: the second network's, its only one besides loopback.

    Yields:
        What runs a function there.
    """

    def enter() -> int:
        _enter_own_network()
        return threading.get_native_id()

    with ThreadPoolExecutor(1) as thread:
        there = thread.submit(enter).result()
        _ip("link", "add", _LINK, "type", "veth", "peer", "name", _LINK, "netns", str(there))
        _raise_link(near, far)
        thread.submit(_raise_link, far, near).result()
        yield lambda function: thread.submit(function).result()


def _enter_own_network() -> None:
    """Move this thread into a new network."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _ip("link", "set", "lo", "up")


def _raise_link(own: str, other: str) -> None:
    _ip("address", "add", own, "peer", other, "dev", _LINK)
    _ip("link", "set", _LINK, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def set_no_metrics_save(value: int) -> None:
    """Set the sysctl net.ipv4.tcp_no_metrics_save of this thread's network."""
    Path("/proc/sys/net/ipv4/tcp_no_metrics_save").write_text(f"{value}\n")


def tcp_metrics() -> dict[str, float]:
    """Give the peers that the kernel remembers in this thread's network, and how many seconds ago each last left."""
    shown = subprocess.run(["ip", "tcp_metrics", "show"], capture_output=True, text=True, check=True).stdout
    words = [line.split() for line in shown.splitlines()]
    return {line[0]: float(line[line.index("age") + 1].removesuffix("sec")) for line in words if "age" in line}
