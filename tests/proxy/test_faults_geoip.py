"""The GeoIP file is replaced at run time: a good one counts from the next interval on, a spoilt one never."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed
from peers.geoip import geoip_text
from tests.proxy.honest import Visitors, lines, warnings
from tests.proxy.moved import DAY, Time
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from peers.managed import Managed

NEW = geoip_text().replace(",DE\n", ",FR\n")
"""The new file: Germany's addresses are France's."""

USED = "from the next interval on countries come from "
REFUSED = "countries stay as they were: "

MANY_RANGES = 300_000
LARGE = 8
"""Times MANY_RANGES, so that reading takes seconds."""

MEANWHILE = 5
"""Clients that are served at least while MANY_RANGES are read; on an idle machine there are dozens."""


class Bridge:
    """A bridge under a moved clock.

    Attributes:
        geoip: its GeoIP file.
        log: its statistics log.
    """

    def __init__(self, folder: Path, running: Managed, moved: Time) -> None:
        self.geoip = folder / "geoip"
        self.log = folder / "log"
        self.visitors = Visitors(running.methods["obfs3"])
        self.moved = moved
        self.running = running

    def tick(self) -> None:
        """Let a tick check its files."""
        self.moved.tick(self.visitors.visit)

    def send_sighup(self) -> None:
        """Ask it to read its files."""
        self.running.child.send_signal(signal.SIGHUP)

    def end_interval(self) -> None:
        """Let a day pass."""
        self.moved.clock.move(DAY)

    def wait_until_used(self) -> None:
        """Wait until it logs that it has read its files again."""
        self.running.child.wait_for_line("stdout", USED)

    def wait_until_refused(self, times: int) -> None:
        """Wait until it has refused a file that often."""
        assert wait_until(lambda: self.refusals() == times)

    def refusals(self) -> int:
        """Count how often it has refused a file."""
        return sum(warning.startswith(REFUSED) for warning in warnings(self.running))

    def countries(self) -> list[set[str]]:
        """Return the countries of each interval so far; all visitors but the last one must be there."""
        found = lines(self.log)
        assert len(found) == len(self.visitors.served) - 1
        return [{line.country for line in group} for _, group in groupby(found, lambda line: line.start)]


@contextlib.contextmanager
def counting(folder: Path, cpu: int | None = None) -> Iterator[Bridge]:
    """Run a bridge that counts, one visitor after the other; on one core, if it is named."""
    moved = Time(folder)
    argv = managed.ours(*managed.counting(folder / "log"))
    with (
        extended.orport(folder) as tor,
        managed.server(folder / "state", tor, argv=argv, environment=moved.environment, cpu=cpu) as running,
    ):
        bridge = Bridge(folder, running, moved)
        # From here on it handles signals.
        bridge.visitors.visit()
        yield bridge


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    """A bridge that counts."""
    with counting(tmp_path) as bridge:
        yield bridge


def by_renaming(path: Path, text: str) -> None:
    """Put another file in its place, as a package manager does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def in_place(path: Path, text: str) -> None:
    """Write it anew; its size stays."""
    assert len(text) == path.stat().st_size
    path.write_text(text)


@pytest.mark.parametrize("replace", [by_renaming, in_place])
@pytest.mark.parametrize("look", [Bridge.tick, Bridge.send_sighup])
def test_a_new_file_counts_from_the_next_interval_on(
    bridge: Bridge, replace: Callable[[Path, str], None], look: Callable[[Bridge], None]
) -> None:
    """The running interval keeps the old file, so that no client has two countries in one interval."""
    bridge.visitors.visit(3)
    replace(bridge.geoip, NEW)
    look(bridge)
    bridge.wait_until_used()
    bridge.visitors.visit(3)
    bridge.end_interval()
    bridge.visitors.visit(3)
    assert bridge.countries() == [{"de"}, {"fr"}]
    assert bridge.refusals() == 0


def _rubbish(path: Path) -> None:
    path.write_bytes(b"\x1f\x8b\x08" + bytes(range(256)) * 10)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut_short(path: Path) -> None:
    path.write_text(NEW[:15])


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


SPOILT = [_rubbish, _empty, _cut_short, _folder, _pipe]


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_spoilt_file_is_refused_once_and_the_old_one_goes_on(bridge: Bridge, spoil: Callable[[Path], None]) -> None:
    """Not at every tick, nor in the next interval; a good one after it is used."""
    bridge.visitors.visit(2)
    spoil(bridge.geoip)
    bridge.tick()
    bridge.wait_until_refused(1)
    for _ in range(3):
        bridge.tick()
    bridge.end_interval()
    bridge.visitors.visit(2)
    if bridge.geoip.is_dir():
        bridge.geoip.rmdir()
    by_renaming(bridge.geoip, NEW)
    bridge.tick()
    bridge.wait_until_used()
    bridge.end_interval()
    bridge.visitors.visit(3)
    assert bridge.countries() == [{"de"}, {"de"}, {"fr"}]
    bridge.running.child.stop()
    assert bridge.refusals() == 1


@pytest.mark.parametrize("remove", [os.unlink, _dangling])
def test_a_file_that_is_missing_changes_nothing(bridge: Bridge, remove: Callable[[Path], None]) -> None:
    """While a package manager replaces it, there may be none for a moment: nothing is logged, the old one stays."""
    bridge.visitors.visit(2)
    remove(bridge.geoip)
    for _ in range(3):
        bridge.tick()
    bridge.end_interval()
    bridge.visitors.visit(2)
    by_renaming(bridge.geoip, NEW)
    bridge.tick()
    bridge.wait_until_used()
    bridge.end_interval()
    bridge.visitors.visit(3)
    assert bridge.countries() == [{"de"}, {"de"}, {"fr"}]
    bridge.running.child.stop()
    assert bridge.refusals() == 0


@pytest.mark.parametrize("spoil", [*SPOILT, os.unlink])
def test_sighup_with_a_spoilt_file_is_logged_each_time(bridge: Bridge, spoil: Callable[[Path], None]) -> None:
    """Clients are counted as before."""
    spoil(bridge.geoip)
    for times in (1, 2):
        bridge.send_sighup()
        bridge.wait_until_refused(times)
        bridge.visitors.visit(2)
    bridge.end_interval()
    bridge.visitors.visit(2)
    assert bridge.countries() == [{"de"}, {"de"}]


@pytest.mark.parametrize("times", [1, 5])
def test_while_a_large_file_is_read_clients_are_served(tmp_path: Path, times: int) -> None:
    """As many ranges as the real one has, one core, any number of SIGHUPs: no client waits until it is read."""
    with counting(tmp_path, cpu=min(os.sched_getaffinity(0))) as bridge:
        by_renaming(bridge.geoip, many_ranges() + NEW)
        for _ in range(times):
            bridge.send_sighup()
        before = len(bridge.visitors.served)
        while not any(USED in line for line in bridge.running.said()):
            bridge.visitors.visit()
        served = len(bridge.visitors.served) - before
        # The files of the run are searched for addresses, which would take long.
        bridge.geoip.unlink()
        bridge.end_interval()
        bridge.visitors.visit(3)
        assert bridge.countries() == [{"de"}, {"fr"}]
    assert served >= MEANWHILE


def test_while_a_large_file_is_read_the_program_ends_at_once(bridge: Bridge) -> None:
    """SIGTERM while it is read: the program has ended within a second, as always."""
    by_renaming(bridge.geoip, many_ranges() * LARGE)
    bridge.send_sighup()
    # By then reading has begun.
    bridge.visitors.visit()
    began = time.monotonic()
    bridge.running.child.send_signal(signal.SIGTERM)
    assert bridge.running.child.wait() == 0
    took = time.monotonic() - began
    bridge.geoip.unlink()
    assert took < 1.0


def many_ranges() -> str:
    """Make a large file's ranges, all below those of the test's own."""
    first = int.from_bytes(bytes((11, 0, 0, 0)), "big")
    return "".join(f"{start},{start + 255},US\n" for start in range(first, first + (MANY_RANGES << 8), 256))
