"""The disk is full: clients are served as before, lines stay whole, and those that wait are written later."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed
from peers.disk import mount
from tests.proxy.honest import Visitors, countries, is_served, lines, warnings
from tests.proxy.moved import Time
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from peers.disk import Disk
    from peers.managed import Managed

SIZE = 512 << 10
"""Bytes of the disk."""

VISITS = 7
"""Visitors at a time."""

_REFUSES = re.compile(r"cannot write .* \(No space left on device\): .* lines are kept .*")
_ACCEPTS_AGAIN = re.compile(r".* is written again; lines lost so far: ([0-9]+)")
_OWN_LINE = re.compile(r"[0-9-]{10} [0-9:]{8} \[(?:info|notice|warn)\] \S.*")

# The program keeps 20,000 lines for a full disk; with 21, few clients are enough to exceed that.
_KEEPS_FEW = """
import sys
from obfstats.record import journal
journal.HELD_LINES = 21
from obfstats.bridge.obfsproxy import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk for this test alone."""
    with mount(tmp_path / "disk", SIZE) as small:
        yield small


@contextlib.contextmanager
def running(folder: Path, disk: Disk, moved: Time, *options: str, few: bool = False) -> Iterator[Managed]:
    """Run a bridge with its statistics log on the disk, and the GeoIP files elsewhere."""
    counting = managed.counting(folder / "log")
    argv = managed.ours("--stats-log", str(disk.folder / "log"), *counting[2:], *options)
    if few:
        argv = (sys.executable, "-c", _KEEPS_FEW, *argv[3:])
    with (
        extended.orport(folder) as tor,
        managed.server(folder / "state", tor, argv=argv, environment=moved.environment) as bridge,
    ):
        yield bridge


def matching_warnings(bridge: Managed, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    """Return the matches of the program's warnings."""
    return [match for warning in warnings(bridge) if (match := pattern.fullmatch(warning))]


def by_itself(bridge: Managed, moved: Time, visitors: Visitors, disk: Disk) -> None:  # noqa: ARG001
    """Let a minute pass: the disk is tried again, first after a second, then less and less often."""
    moved.clock.move(60)
    visitors.visit(VISITS, "tr")
    wait_for_message(bridge, moved, visitors)


def by_sighup(bridge: Managed, moved: Time, visitors: Visitors, disk: Disk) -> None:
    """Have the disk tried again at once."""
    log = disk.folder / "log"
    size = log.stat().st_size
    bridge.child.send_signal(signal.SIGHUP)
    assert wait_until(lambda: log.stat().st_size > size)
    wait_for_message(bridge, moved, visitors)


def wait_for_message(bridge: Managed, moved: Time, visitors: Visitors) -> None:
    """Let the next tick, which no client causes, log that the disk accepts lines again."""
    moved.tick(lambda: visitors.visit(1, "tr"))
    assert wait_until(lambda: len(matching_warnings(bridge, _ACCEPTS_AGAIN)) == 1)


@pytest.mark.parametrize("retry", [by_itself, by_sighup])
def test_lines_wait_for_a_full_disk(
    tmp_path: Path, disk: Disk, retry: Callable[[Managed, Time, Visitors, Disk], None]
) -> None:
    """They are whole before, while and after it is full, and finally none is missing."""
    log = disk.folder / "log"
    moved = Time(tmp_path)
    with running(tmp_path, disk, moved) as bridge:
        visitors = Visitors(bridge.methods["obfs3"])
        visitors.visit(4 * VISITS + 1)
        assert countries(log) == visitors.expected_lines()
        disk.fill()
        with visitors.connect("tr") as staying:
            for _ in range(5):
                visitors.visit(3 * VISITS, "tr")
                assert sum(countries(log).values()) < 14 * VISITS
                assert is_served(staying)
        disk.clear()
        retry(bridge, moved, visitors, disk)
        assert countries(log) == visitors.expected_lines()
        visitors.visit(2 * VISITS, "ir")
        assert countries(log) == visitors.expected_lines()
        bridge.child.stop()
    assert len(matching_warnings(bridge, _REFUSES)) == 1
    assert [match[1] for match in matching_warnings(bridge, _ACCEPTS_AGAIN)] == ["0"]


def test_the_number_of_lost_lines_is_logged(tmp_path: Path, disk: Disk) -> None:
    """Lines are lost beyond what is kept in memory; the message that lines are written again counts them."""
    log = disk.folder / "log"
    moved = Time(tmp_path)
    with running(tmp_path, disk, moved, few=True) as bridge:
        visitors = Visitors(bridge.methods["obfs3"])
        visitors.visit(VISITS + 1)
        disk.fill()
        visitors.visit(16 * VISITS, "tr")
        disk.clear()
        by_sighup(bridge, moved, visitors, disk)
        visitors.visit(2 * VISITS, "ir")
        bridge.child.stop()
        written = sum(countries(log).values())
    lost = [int(match[1]) for match in matching_warnings(bridge, _ACCEPTS_AGAIN)]
    assert lost[0] > 0
    assert written + lost[0] == sum(visitors.expected_lines().values())


def test_the_programs_own_log_is_on_the_full_disk_as_well(tmp_path: Path, disk: Disk) -> None:
    """At severity info: messages that cannot be written are lost, clients are served and counted, no line is torn."""
    log, own = disk.folder / "log", disk.folder / "own"
    moved = Time(tmp_path)
    with running(tmp_path, disk, moved, "--log-file", str(own), "--log-min-severity", "info") as bridge:
        visitors = Visitors(bridge.methods["obfs3"])
        visitors.visit(10)
        disk.fill()
        visitors.visit(16 * VISITS, "tr")
        lines(log)
        disk.clear()
        by_sighup(bridge, moved, visitors, disk)
        visitors.visit(2 * VISITS, "ir")
        assert countries(log) == visitors.expected_lines()
        bridge.child.stop()
        words = own.read_text()
    assert words.endswith("[notice] Exiting.\n")
    assert [line for line in words.splitlines() if not _OWN_LINE.fullmatch(line)] == []
