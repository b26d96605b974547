"""A network of one's own: loopback alone, with settings of the kernel that no other program on the machine sees.

    in_own_network(lambda: tcp_metrics(...))        the function, its threads and its programs are in that network

Source: network_namespaces(7).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")

_CLONE_NEWNET = 0x40000000


def in_own_network(story: Callable[[], _Result]) -> _Result:
    """Run a function on a thread in a network namespace of its own, with loopback up, and give what it returns.

    Raises:
        PermissionError: if this user may not make one: only root may.
        FileNotFoundError: if iproute2 is not installed.
    """

    def run() -> _Result:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return story()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


def set_no_metrics_save(value: int) -> None:
    """Set the sysctl net.ipv4.tcp_no_metrics_save of this thread's network."""
    Path("/proc/sys/net/ipv4/tcp_no_metrics_save").write_text(f"{value}\n")


def tcp_metrics() -> dict[str, float]:
    """Give the peers that the kernel remembers in this thread's network, and how many seconds ago each last left."""
    shown = subprocess.run(["ip", "tcp_metrics", "show"], capture_output=True, text=True, check=True).stdout
    words = [line.split() for line in shown.splitlines()]
    return {line[0]: float(line[line.index("age") + 1].removesuffix("sec")) for line in words if "age" in line}
