"""The machine slept for days, or its clock was set: one flush, no empty intervals, no line with a wrong label."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed
from tests.proxy.honest import Visitors, countries, is_served, lines, warnings
from tests.proxy.moved import DAY, Time
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from peers.obfuscated import ObfuscatedClient

VISITS = 5

MINUTE, HOUR = 60, 3600

CLOSING_TICKS = 21
"""Ticks within which an interval's last lines are written: ten minutes."""

A_LITTLE = 30.0
"""Seconds that the test itself may take, on a busy machine."""

WAS_SET = "the clock was set: a new interval has begun, and what was in the buffer is dropped"

# The program with a clock of the test's: wall time differs from the machine's by the number in a file, boot time does
# not. From outside, a single process cannot be given such a clock.
_SET_FROM_A_FILE = """
import sys, time
from pathlib import Path
from obfstats.bridge.obfsproxy import main
from obfstats.record.clock import SystemClock

class Clock(SystemClock):
    def wall(self):
        return time.time() + int(Path(sys.argv[1]).read_text())

sys.exit(main(sys.argv[2:], clock=Clock()))
"""


class Bridge:
    """A bridge whose clocks are moved.

    Attributes:
        log: its statistics log.
        visitors: its clients.
        staying: the first of them, which stays connected.
    """

    def __init__(self, folder: Path, running: managed.Managed, moved: Time, staying: contextlib.ExitStack) -> None:
        self.log = folder / "log"
        self.visitors = Visitors(running.methods["obfs3"])
        self.staying: ObfuscatedClient = staying.enter_context(self.visitors.connect())
        self._moved = moved
        self._running = running
        self._set = folder / "set"
        self._ahead = 0

    def sleep(self, seconds: int) -> None:
        """Let time pass, on all clocks."""
        self._moved.clock.move(seconds)

    def set_clock(self, by: int) -> None:
        """Set the wall clock."""
        self._ahead += by
        # The program may read it at any moment: the file is replaced, never half written.
        fresh = self._set.with_suffix(".new")
        fresh.write_text(str(self._ahead))
        fresh.replace(self._set)

    def tick(self, number: int = 1) -> None:
        """Let the program tick. No client connects, but the staying one is served all the time."""
        for _ in range(number):
            self._moved.tick(self.serve)

    def serve(self) -> None:
        """Have the staying client served: twice, so that the program's loop turns more than once."""
        assert is_served(self.staying)
        assert is_served(self.staying)

    def now(self) -> float:
        """Return the wall time that the program sees."""
        return self._moved.clock.now() + self._ahead

    def starts(self) -> list[float]:
        """Return the starts of the intervals in the log, in the order of the lines, each once."""
        texts = dict.fromkeys(line.start for line in lines(self.log))
        return [datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp() for text in texts]

    def count_messages(self, words: str) -> int:
        """Count the program's messages that contain some words."""
        return sum(words in line for line in self._running.said())

    def warnings(self) -> list[str]:
        """End the program, and return its warnings."""
        self._running.child.stop()
        return warnings(self._running)


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    """A bridge with a visitor that stays connected."""
    moved = Time(tmp_path)
    (tmp_path / "set").write_text("0")
    ours = managed.ours(*managed.counting(tmp_path / "log"))
    argv = (sys.executable, "-c", _SET_FROM_A_FILE, str(tmp_path / "set"), *ours[3:])
    with (
        extended.orport(tmp_path) as tor,
        managed.server(tmp_path / "state", tor, argv=argv, environment=moved.environment) as running,
        contextlib.ExitStack() as stack,
    ):
        yield Bridge(tmp_path, running, moved, stack)


def test_after_three_days_of_sleep_there_is_one_flush(bridge: Bridge) -> None:
    """It has the line that was left, with its own day; the next interval is three days later, to the second."""
    began = bridge.now()
    bridge.visitors.visit(2)
    bridge.sleep(3 * DAY)
    sizes = set()
    for _ in range(CLOSING_TICKS):
        bridge.tick()
        sizes.add(bridge.log.stat().st_size)
    assert wait_until(lambda: countries(bridge.log) == {"de": 3})
    assert sizes <= {2 * 64, 3 * 64}
    assert bridge.count_messages("uptime is 3 day(s)") == 1
    bridge.visitors.visit(VISITS + 1, "tr")
    assert countries(bridge.log) == {"de": 3, "tr": VISITS}
    first, second = bridge.starts()
    assert abs(first - began) < A_LITTLE
    assert second - first == 3 * DAY
    assert bridge.warnings() == []


def test_a_client_right_after_the_sleep_is_in_its_own_interval(bridge: Bridge) -> None:
    """After a month of sleep: the first client is not counted in one of the days between."""
    bridge.visitors.visit(2)
    bridge.sleep(30 * DAY)
    bridge.visitors.visit(VISITS + 1, "tr")
    assert countries(bridge.log) == {"de": 3, "tr": VISITS}
    first, second = bridge.starts()
    assert second - first == 30 * DAY


def test_without_clients_there_is_nothing_to_flush(bridge: Bridge) -> None:
    """Three days with visitors on the first and the last of them: the days between have no line."""
    bridge.visitors.visit(VISITS)
    for _ in range(3):
        bridge.sleep(DAY)
        bridge.tick(CLOSING_TICKS)
    bridge.visitors.visit(VISITS + 1, "tr")
    assert wait_until(lambda: countries(bridge.log) == {"de": VISITS + 1, "tr": VISITS})
    first, second = bridge.starts()
    assert second - first == 3 * DAY


@pytest.mark.parametrize("by", [-400 * DAY, -2 * HOUR, -11 * MINUTE, 11 * MINUTE, 2 * HOUR, 400 * DAY])
def test_when_the_clock_is_set_no_line_has_a_wrong_label(bridge: Bridge, by: int) -> None:
    """The buffer is dropped and a new interval begun, which is logged once; clients are counted as before."""
    bridge.visitors.visit(2)
    bridge.set_clock(by)
    bridge.tick()
    assert wait_until(lambda: bridge.count_messages(WAS_SET) == 1)
    set_at = bridge.now()
    bridge.visitors.visit(VISITS + 1, "tr")
    assert countries(bridge.log) == {"de": 2, "tr": VISITS}
    first, start = bridge.starts()
    # Dated back by a random time: the change may have been noticed when a client connected.
    assert set_at - 10 * MINUTE - A_LITTLE < start <= set_at
    bridge.sleep(DAY)
    bridge.tick(CLOSING_TICKS)
    assert wait_until(lambda: countries(bridge.log) == {"de": 2, "tr": VISITS + 1})
    assert bridge.starts() == [first, start]
    assert bridge.warnings() == [WAS_SET]


def test_a_clock_that_is_set_back_and_forward_again_is_followed_twice(bridge: Bridge) -> None:
    """A day back, and then corrected: two intervals, each with the label of its own time."""
    bridge.visitors.visit(2)
    for by in (-DAY, DAY):
        bridge.set_clock(by)
        bridge.tick()
        bridge.visitors.visit(VISITS, "tr")
    bridge.visitors.visit(1, "tr")
    # The line that each of both intervals had in its buffer was dropped.
    assert countries(bridge.log) == {"de": 2, "tr": 2 * VISITS - 1}
    _, before, start = bridge.starts()
    assert abs(bridge.now() - DAY - before) < 10 * MINUTE + 2 * A_LITTLE
    assert abs(bridge.now() - start) < 10 * MINUTE + 2 * A_LITTLE
    assert bridge.warnings() == [WAS_SET] * 2


@pytest.mark.parametrize("by", [-5 * MINUTE, 5 * MINUTE])
def test_a_correction_by_minutes_changes_nothing(bridge: Bridge, by: int) -> None:
    """As network time does it: the interval goes on, nothing is dropped and nothing logged."""
    began = bridge.now()
    bridge.visitors.visit(2)
    bridge.set_clock(by)
    bridge.tick(3)
    bridge.visitors.visit(VISITS - 2)
    assert countries(bridge.log) == {"de": VISITS}
    (start,) = bridge.starts()
    assert abs(start - began) < A_LITTLE
    assert bridge.warnings() == []
