"""pysail's Spark Connect server, in a process of its own, on the loopback interface."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from peers.child import Child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = "pysail"

needs_spark_client = pytest.mark.skipif(
    sys.version_info >= (3, 15), reason="pandas 2, which pyspark's client needs, has no release for this Python"
)

_PROGRAM = """
import sys
from pysail.spark import SparkConnectServer

server = SparkConnectServer(ip="127.0.0.1", port=0)
server.start(background=True)
print("port", server.listening_address[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def sail_server(folder: Path) -> Iterator[tuple[Child, str]]:
    """Run the server; give its process, and its address for Spark's clients.

    Args:
        folder: for its temporary tables.
    """
    with Child(
        [sys.executable, "-c", _PROGRAM], environment={"SAIL_EXECUTION__CHECKPOINT__PATH": str(folder)}
    ) as server:
        port = server.wait_for_line("stdout", r"^port ([0-9]+)$")[1]
        yield server, f"sc://127.0.0.1:{port}"
