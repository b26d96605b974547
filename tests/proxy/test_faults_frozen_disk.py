"""A disk that does not answer: clients are served, lines wait, and SIGTERM ends the program."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed, wrapped
from peers.missing import need
from tests.proxy.honest import Visitors, countries, is_served
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peers.managed import Managed
    from peers.wrapped import Wrapped

SIZE = "16M"

VISITS = 7
"""Visitors at a time."""

END_SECONDS = 5.0
"""How long the end of the program may take on a busy machine; half a second where it is not."""


class FrozenDisk:
    """A disk of the test's own, on which every write waits while it is frozen (fsfreeze).

    Attributes:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it not answer until the block ends. A process that waits for it cannot be killed until then."""
        subprocess.run(["fsfreeze", "--freeze", self.folder], check=True, timeout=30)
        try:
            yield
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", self.folder], check=True, timeout=30)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FrozenDisk]:
    """A disk for this test alone; where mounting is not allowed, the test is skipped."""
    if os.geteuid() != 0:
        pytest.skip("mounting a disk that can be frozen takes root")
    need("e2fsprogs", "mkfs.ext4")
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["truncate", "-s", SIZE, image], check=True, timeout=30)
        subprocess.run(["mkfs.ext4", "-q", image], check=True, capture_output=True, timeout=30)
        subprocess.run(["mount", "-o", "loop", image, folder], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a disk that can be frozen is not allowed here")
    try:
        yield FrozenDisk(folder)
    finally:
        # Lazily: if a process still uses it, it is removed from the tree all the same.
        subprocess.run(["umount", "--lazy", folder], check=True, capture_output=True, timeout=30)


@contextlib.contextmanager
def running(folder: Path, disk: FrozenDisk) -> Iterator[Managed]:
    """Run a bridge with all that it writes on the disk."""
    own = ("--log-file", str(disk.folder / "own"), "--log-min-severity", "info")
    options = ("--stats-log", str(disk.folder / "log"), *managed.counting(folder / "log")[2:], *own)
    with (
        extended.orport(folder) as tor,
        managed.server(folder / "state", tor, argv=managed.ours(*options)) as bridge,
    ):
        yield bridge


def has_ended(pid: int) -> bool:
    """Tell whether a process's main thread has ended: its threads in the kernel may still wait for the disk."""
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "Z"


def test_lines_wait_for_a_disk_that_does_not_answer(tmp_path: Path, disk: FrozenDisk) -> None:
    """Clients are served at once, also at severity info; when the disk answers again no line is missing."""
    log = disk.folder / "log"
    with running(tmp_path, disk) as bridge:
        visitors = Visitors(bridge.methods["obfs3"])
        visitors.visit(VISITS + 1)
        with visitors.connect("tr") as staying, disk.frozen():
            began = time.monotonic()
            visitors.visit(5 * VISITS, "tr")
            bridge.child.send_signal(signal.SIGHUP)
            visitors.visit(VISITS, "ir")
            assert is_served(staying)
            assert time.monotonic() - began < 10
        visitors.visit(VISITS)
        assert wait_until(lambda: countries(log) == visitors.expected_lines())


def end(bridge: Managed | Wrapped) -> None:
    """End it with SIGTERM while the disk does not answer."""
    began = time.monotonic()
    bridge.child.send_signal(signal.SIGTERM)
    assert wait_until(lambda: has_ended(bridge.child.pid), END_SECONDS)
    assert time.monotonic() - began < END_SECONDS


def test_sigterm_ends_the_program_whatever_the_disk_does(tmp_path: Path, disk: FrozenDisk) -> None:
    """Nobody is served any more, and no batch is torn when the disk answers again."""
    with running(tmp_path, disk) as bridge:
        visitors = Visitors(bridge.methods["obfs3"])
        visitors.visit(VISITS + 1)
        with disk.frozen():
            visitors.visit(VISITS)
            end(bridge)
            with pytest.raises(ConnectionRefusedError), socket.create_connection(bridge.methods["obfs3"]):
                pass
        assert bridge.child.wait() == 0
    assert VISITS <= countries(disk.folder / "log")["de"] <= 2 * VISITS


def test_the_wrap_goes_on_and_ends_as_well(tmp_path: Path, disk: FrozenDisk) -> None:
    """With all its files on the disk: its clients are served and counted, and SIGTERM ends it and its program."""
    log = disk.folder / "log"
    options = ("--stats-log", str(log), *managed.counting(tmp_path / "log")[2:])
    with extended.orport(tmp_path) as tor, wrapped.server(disk.folder, tor, *options) as bridge:
        visitors = Visitors(bridge.methods[wrapped.NAME], "dummy")
        visitors.visit(VISITS + 1)
        with disk.frozen():
            visitors.visit(3 * VISITS, "tr")
        visitors.visit(VISITS)
        assert wait_until(lambda: countries(log) == visitors.expected_lines())
        with disk.frozen():
            visitors.visit(2 * VISITS)
            end(bridge)
        assert bridge.child.wait() == 0
