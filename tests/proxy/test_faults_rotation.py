"""The statistics log is rotated under the running program, while clients come: no line is lost or torn."""

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
    """Run a bridge that writes each client's line when the next one comes."""
    argv = managed.ours(*managed.counting(folder / "log"))
    with (
        extended.orport(folder) as tor,
        managed.server(folder / "state", tor, argv=argv, environment=environment) as bridge,
    ):
        yield bridge


@contextlib.contextmanager
def crowd(visitors: Visitors) -> Iterator[None]:
    """Have visitors come one after the other, all the time, until the block ends."""
    enough = threading.Event()
    failures: list[BaseException] = []

    def come() -> None:
        try:
            while not enough.is_set():
                visitors.come()
        except (OSError, AssertionError) as error:
            failures.append(error)

    thread = threading.Thread(target=come)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join(TIMEOUT)
    assert failures == []


def wait_for_more(visitors: Visitors, number: int = BETWEEN) -> None:
    """Wait until so many more were served."""
    wanted = len(visitors.served) + number
    assert wait_until(lambda: len(visitors.served) >= wanted)


def by_renaming_and_saying_so(log: Path, old: Path, bridge: Managed) -> None:
    """Rotate as logrotate does by default, and tell the program."""
    log.rename(old)
    bridge.child.send_signal(signal.SIGHUP)


def by_copying_and_truncating(log: Path, old: Path, bridge: Managed) -> None:
    """Rotate as logrotate's copytruncate does.

    A line that is written between its two steps is lost, whoever writes it; so the program is held still meanwhile.
    """
    bridge.child.send_signal(signal.SIGSTOP)
    try:
        assert wait_until(lambda: _state(bridge.child.pid) == "T")
        shutil.copyfile(log, old)
        os.truncate(log, 0)
    finally:
        bridge.child.send_signal(signal.SIGCONT)


def _state(pid: int) -> str:
    """What a process is doing (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("rotate", [by_renaming_and_saying_so, by_copying_and_truncating])
def test_the_statistics_log_is_rotated_while_clients_come(
    tmp_path: Path, rotate: Callable[[Path, Path, Managed], None]
) -> None:
    """Five times: every client has one whole line in one of the six files, and every file is its owner's alone."""
    log = tmp_path / "log"
    old = [tmp_path / f"log.{number}" for number in range(ROTATIONS)]
    with running(tmp_path) as bridge:
        visitors = Visitors(bridge.methods["obfs3"])
        with crowd(visitors):
            for place in old:
                wait_for_more(visitors)
                rotate(log, place, bridge)
            wait_for_more(visitors)
    assert countries(*old, log) == visitors.counted()
    assert all(lines(path) for path in (*old, log))
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_log_that_nobody_was_told_of_is_followed_and_never_with_a_client(tmp_path: Path) -> None:
    """Until the program's next tick its clients' lines wait; the new log is born then, with all of them."""
    log = tmp_path / "log"
    time = Time(tmp_path)
    with running(tmp_path, time.environment) as bridge:
        visitors = Visitors(bridge.methods["obfs3"])
        visitors.come(BETWEEN)
        assert wait_until(lambda: len(lines(log)) == BETWEEN - 1)
        log.rename(tmp_path / "log.1")
        visitors.come(BETWEEN)
        assert not log.exists()
        time.tick(visitors.come)
        assert wait_until(log.exists)
        visitors.come()
    assert countries(tmp_path / "log.1", log) == visitors.counted()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_sighup_makes_the_new_statistics_log_at_once(tmp_path: Path) -> None:
    """Before another client comes: empty, its owner's alone, and used from then on."""
    log = tmp_path / "log"
    with running(tmp_path) as bridge:
        visitors = Visitors(bridge.methods["obfs3"])
        visitors.come(3)
        log.rename(tmp_path / "log.1")
        bridge.child.send_signal(signal.SIGHUP)
        # Said when all that SIGHUP asks for is done.
        bridge.child.wait_for_line("stdout", "from the next interval on countries come from ")
        assert log.read_bytes() == b""
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        visitors.come(3)
        assert len(lines(tmp_path / "log.1")) == 2
        assert len(lines(log)) == 3
