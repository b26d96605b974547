"""The statistics log is rotated while the program runs and clients connect: no line is lost or torn."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed
from peers.destinations import TIMEOUT
from tests.proxy.honest import Visitors, countries, lines
from tests.proxy.moved import Time
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from peers.managed import Managed

ROTATIONS = 5

BETWEEN = 8
"""Clients at least between two rotations."""


@contextlib.contextmanager
def running(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Managed]:
    """Run a bridge that writes each client's line when the next one connects."""
    argv = managed.ours(*managed.counting(folder / "log"))
    with (
        extended.orport(folder) as tor,
        managed.server(folder / "state", tor, argv=argv, environment=environment) as bridge,
    ):
        yield bridge


@contextlib.contextmanager
def crowd(visitors: Visitors) -> Iterator[None]:
    """Have visitors connect one after the other until the block ends."""
    stopped = threading.Event()
    failures: list[BaseException] = []

    def visit() -> None:
        try:
            while not stopped.is_set():
                visitors.visit()
        except (OSError, AssertionError) as error:
            failures.append(error)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(TIMEOUT)
    assert failures == []


def wait_for_more(visitors: Visitors, number: int = BETWEEN) -> None:
    """Wait until that many more were served."""
    wanted = len(visitors.served) + number
    assert wait_until(lambda: len(visitors.served) >= wanted)


def by_renaming_and_sighup(log: Path, old: Path, bridge: Managed) -> None:
    """Rotate as logrotate does by default, and tell the program."""
    log.rename(old)
    bridge.child.send_signal(signal.SIGHUP)


def by_renaming_and_creating(log: Path, old: Path, bridge: Managed) -> None:
    """Rotate as Debian's configuration for tor's logs does, with `create 0640`."""
    log.rename(old)
    log.touch()
    log.chmod(0o640)
    bridge.child.send_signal(signal.SIGHUP)


def by_copying_and_truncating(log: Path, old: Path, bridge: Managed) -> None:
    """Rotate as logrotate's copytruncate does.

    A line that any program writes between its two steps is lost; so the program is stopped meanwhile.
    """
    bridge.child.send_signal(signal.SIGSTOP)
    try:
        assert wait_until(lambda: _state(bridge.child.pid) == "T")
        shutil.copyfile(log, old)
        os.truncate(log, 0)
    finally:
        bridge.child.send_signal(signal.SIGCONT)


def _state(pid: int) -> str:
    """Return the state of a process (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("rotate", [by_renaming_and_sighup, by_renaming_and_creating, by_copying_and_truncating])
def test_the_statistics_log_is_rotated_while_clients_connect(
    tmp_path: Path, rotate: Callable[[Path, Path, Managed], None]
) -> None:
    """Five times: each client has one whole line in one of the six files, and only the owner may read the files."""
    log = tmp_path / "log"
    old = [tmp_path / f"log.{number}" for number in range(ROTATIONS)]
    with running(tmp_path) as bridge:
        visitors = Visitors(bridge.methods["obfs3"])
        with crowd(visitors):
            for path in old:
                wait_for_more(visitors)
                rotate(log, path, bridge)
            wait_for_more(visitors)
    assert countries(*old, log) == visitors.expected_lines()
    assert all(lines(path) for path in (*old, log))
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_without_sighup_the_new_log_is_created_by_a_tick_and_never_by_a_client(tmp_path: Path) -> None:
    """Clients' lines wait until the program's next tick, which creates the new log with all of them."""
    log = tmp_path / "log"
    time = Time(tmp_path)
    with running(tmp_path, time.environment) as bridge:
        visitors = Visitors(bridge.methods["obfs3"])
        visitors.visit(BETWEEN)
        assert wait_until(lambda: len(lines(log)) == BETWEEN - 1)
        log.rename(tmp_path / "log.1")
        visitors.visit(BETWEEN)
        assert not log.exists()
        time.tick(visitors.visit)
        assert wait_until(log.exists)
        visitors.visit()
    assert countries(tmp_path / "log.1", log) == visitors.expected_lines()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_sighup_makes_the_new_statistics_log_at_once(tmp_path: Path) -> None:
    """Before another client connects: empty, readable by its owner alone, and used from then on."""
    log = tmp_path / "log"
    with running(tmp_path) as bridge:
        visitors = Visitors(bridge.methods["obfs3"])
        visitors.visit(3)
        log.rename(tmp_path / "log.1")
        bridge.child.send_signal(signal.SIGHUP)
        # Logged when all that SIGHUP asks for is done.
        bridge.child.wait_for_line("stdout", "from the next interval on countries come from ")
        assert log.read_bytes() == b""
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        visitors.visit(3)
        assert len(lines(tmp_path / "log.1")) == 2
        assert len(lines(log)) == 3
