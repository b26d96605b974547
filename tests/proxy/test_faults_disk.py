"""The disk is full: clients go on as if nothing were, lines stay whole, and those that wait are written later."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed
from tests.proxy.honest import Visitors, countries, is_served, lines, warnings
from tests.proxy.moved import Time
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from peers.managed import Managed

SIZE = 512 << 10
"""Bytes of the disk."""

BUFFER = 7
"""Lines of a batch: their bytes do not fit in with a page's."""

_REFUSES = re.compile(r"cannot write .* \(No space left on device\): lines are kept .*")
_TAKES_AGAIN = re.compile(r".* is written again; lines lost so far: ([0-9]+)")
_OWN_LINE = re.compile(r"[0-9-]{10} [0-9:]{8} \[(?:info|notice|warn)\] \S.*")

# The program keeps 20,000 lines for a disk that takes none; to see more than that, fewer clients have to do here.
_KEEPS_FEW = """
import sys
from obfstats.record import journal
journal.HELD_LINES = 21
from obfstats.bridge.obfsproxy import main
sys.exit(main(sys.argv[1:]))
"""


class Disk:
    """A small disk of the test's own.

    Attributes:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Take all the room there is."""
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def clear(self) -> None:
        """Give it back."""
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk for this test alone; where nobody may mount one, the test is skipped."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk is not allowed here")
    try:
        yield Disk(folder)
    finally:
        # Lazily: whoever may still use it, it is gone from the tree.
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True, timeout=30)


@contextlib.contextmanager
def running(folder: Path, disk: Disk, moved: Time, *options: str, few: bool = False) -> Iterator[Managed]:
    """Run a bridge with its statistics log on the disk, and the GeoIP files elsewhere."""
    counting = managed.counting(folder / "log", BUFFER)
    argv = managed.ours("--stats-log", str(disk.folder / "log"), *counting[2:], *options)
    if few:
        argv = (sys.executable, "-c", _KEEPS_FEW, *argv[3:])
    with (
        extended.orport(folder) as tor,
        managed.server(folder / "state", tor, argv=argv, environment=moved.environment) as bridge,
    ):
        yield bridge


def said(bridge: Managed, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    """What the program has said that is like this."""
    return [match for warning in warnings(bridge) if (match := pattern.fullmatch(warning))]


def by_itself(bridge: Managed, moved: Time, visitors: Visitors, disk: Disk) -> None:  # noqa: ARG001
    """Let a minute pass: the disk is tried again, first after a second and then less and less often."""
    moved.clock.move(60)
    visitors.come(BUFFER, "tr")
    hear_of_it(bridge, moved, visitors)


def by_sighup(bridge: Managed, moved: Time, visitors: Visitors, disk: Disk) -> None:
    """Ask for a look at once."""
    log = disk.folder / "log"
    size = log.stat().st_size
    bridge.child.send_signal(signal.SIGHUP)
    assert wait_until(lambda: log.stat().st_size > size)
    hear_of_it(bridge, moved, visitors)


def hear_of_it(bridge: Managed, moved: Time, visitors: Visitors) -> None:
    """Let the program say at its next tick, a moment that is no client's, that the disk takes lines again."""
    moved.tick(lambda: visitors.come(1, "tr"))
    assert wait_until(lambda: len(said(bridge, _TAKES_AGAIN)) == 1)


@pytest.mark.parametrize("find_room", [by_itself, by_sighup])
def test_lines_wait_for_a_full_disk(
    tmp_path: Path, disk: Disk, find_room: Callable[[Managed, Time, Visitors, Disk], None]
) -> None:
    """They are whole before, while and after it is full, and in the end none is missing."""
    log = disk.folder / "log"
    moved = Time(tmp_path)
    with running(tmp_path, disk, moved) as bridge:
        visitors = Visitors(bridge.methods["obfs3"])
        visitors.come(4 * BUFFER + 1)
        assert countries(log) == visitors.counted(BUFFER)
        disk.fill()
        with visitors.stay("tr") as staying:
            for _ in range(5):
                visitors.come(3 * BUFFER, "tr")
                assert sum(countries(log).values()) < 14 * BUFFER
                assert is_served(staying)
        disk.clear()
        find_room(bridge, moved, visitors, disk)
        assert countries(log) == visitors.counted(BUFFER)
        visitors.come(2 * BUFFER, "ir")
        assert countries(log) == visitors.counted(BUFFER)
        bridge.child.stop()
    assert len(said(bridge, _REFUSES)) == 1
    assert [match[1] for match in said(bridge, _TAKES_AGAIN)] == ["0"]


def test_how_many_lines_a_full_disk_has_cost_is_said(tmp_path: Path, disk: Disk) -> None:
    """Whole batches are lost beyond what is kept in memory; the sentence that ends it has their lines."""
    log = disk.folder / "log"
    moved = Time(tmp_path)
    with running(tmp_path, disk, moved, few=True) as bridge:
        visitors = Visitors(bridge.methods["obfs3"])
        visitors.come(BUFFER + 1)
        disk.fill()
        visitors.come(16 * BUFFER, "tr")
        disk.clear()
        by_sighup(bridge, moved, visitors, disk)
        visitors.come(2 * BUFFER, "ir")
        bridge.child.stop()
        written = sum(countries(log).values())
    lost = [int(match[1]) for match in said(bridge, _TAKES_AGAIN)]
    assert lost[0] > 0
    assert lost[0] % BUFFER == 0
    assert written + lost[0] == sum(visitors.counted(BUFFER).values())


def test_the_programs_own_log_is_on_the_full_disk_as_well(tmp_path: Path, disk: Disk) -> None:
    """At severity info: what it cannot say is lost, clients are served and counted, and no line is torn."""
    log, own = disk.folder / "log", disk.folder / "own"
    moved = Time(tmp_path)
    with running(tmp_path, disk, moved, "--log-file", str(own), "--log-min-severity", "info") as bridge:
        visitors = Visitors(bridge.methods["obfs3"])
        visitors.come(10)
        disk.fill()
        visitors.come(16 * BUFFER, "tr")
        lines(log)
        disk.clear()
        by_sighup(bridge, moved, visitors, disk)
        visitors.come(2 * BUFFER, "ir")
        assert countries(log) == visitors.counted(BUFFER)
        bridge.child.stop()
        words = own.read_text()
    assert words.endswith("[notice] Exiting.\n")
    assert [line for line in words.splitlines() if not _OWN_LINE.fullmatch(line)] == []
