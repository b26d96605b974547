"""The heartbeat, on a clock that is moved."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from obfstats.bridge.heartbeat import Heartbeat
from obfstats.proxy.privacy import LogFormatter
from peers.clocks import DAY
from tests.record.surroundings import Bench

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

HOUR = 3600.0


class Beating:
    """A heartbeat and its recorder on a clock that the test moves."""

    def __init__(self, folder: Path, caplog: pytest.LogCaptureFixture, *, safe: bool = True, counts: bool = True):
        caplog.set_level(logging.DEBUG, "obfstats")
        self._caplog = caplog
        self.bench = Bench(folder / "log")
        recorder = self.bench.recorder if counts else None
        self.heart = Heartbeat("obfsproxy", self.bench.clock.boot(), recorder, LogFormatter(safe=safe))

    def after(self, seconds: float) -> list[str]:
        """Move the clock; return what was logged."""
        self._caplog.clear()
        self.bench.clock.pass_time(seconds)
        self.bench.recorder.tick()
        self.heart.tick(self.bench.clock.boot())
        return [message for message in self._caplog.messages if message.startswith("Heartbeat")]


def test_it_beats_once_an_hour_in_the_c_programs_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Uptime, then connections and addresses since the start of the interval, rounded up to 8."""
    beating = Beating(tmp_path, caplog)
    beating.bench.fill(9)
    assert beating.after(HOUR - 1) == []
    assert beating.after(1) == [
        "Heartbeat: obfsproxy's uptime is 0 day(s), 1 hour(s), and 0 minute(s).",
        "Heartbeat: During the last 1 hour(s) we saw 16 connection(s) from 16 unique address(es).",
    ]
    assert beating.after(HOUR - 1) == []
    beating.bench.fill(3)
    assert beating.after(61) == [
        "Heartbeat: obfsproxy's uptime is 0 day(s), 2 hour(s), and 1 minute(s).",
        "Heartbeat: During the last 2 hour(s) we saw 16 connection(s) from 16 unique address(es).",
    ]


def test_with_safe_logging_off_numbers_are_exact(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nine clients, three of them twice."""
    beating = Beating(tmp_path, caplog, safe=False)
    beating.bench.fill(9)
    beating.bench.fill(3)
    assert beating.after(HOUR)[1].endswith("we saw 12 connection(s) from 9 unique address(es).")


def test_where_nobody_came_there_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As in the old programs."""
    assert len(Beating(tmp_path, caplog).after(HOUR)) == 1


def test_where_nothing_is_counted_there_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With --no-stats there are no numbers."""
    beating = Beating(tmp_path, caplog, counts=False)
    beating.bench.fill(3)
    assert len(beating.after(HOUR)) == 1


def test_the_day_that_ended_is_said_whole_and_then_a_new_one_begins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first beat after the end of an interval reports all 24 hours; the next one reports the new interval."""
    beating = Beating(tmp_path, caplog)
    beating.bench.fill(20)
    assert "During the last 23 hour(s)" in beating.after(23 * HOUR)[1]
    assert beating.after(HOUR)[1].startswith("Heartbeat: During the last 24 hour(s) we saw 24 connection(s)")
    beating.bench.fill(1)
    assert beating.after(HOUR)[1].startswith("Heartbeat: During the last 1 hour(s) we saw 8 connection(s)")


def test_a_client_that_ends_the_interval_before_the_beat_takes_nothing_from_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The total of the ended interval is kept for the next beat."""
    beating = Beating(tmp_path, caplog)
    beating.bench.fill(20)
    beating.after(DAY - HOUR)
    beating.bench.clock.pass_time(HOUR - 1)
    beating.bench.fill(1)
    beating.bench.clock.pass_time(1)
    beating.bench.fill(1)
    assert beating.after(0)[1].startswith("Heartbeat: During the last 24 hour(s) we saw 24 connection(s)")


def test_a_machine_that_slept_for_three_days_beats_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And again an hour later, at its usual minute."""
    beating = Beating(tmp_path, caplog)
    assert beating.after(3 * DAY + 1800) == ["Heartbeat: obfsproxy's uptime is 3 day(s), 0 hour(s), and 30 minute(s)."]
    assert beating.after(1799) == []
    assert len(beating.after(1)) == 1


def test_no_beat_holds_an_address(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With safe logging on or off."""
    beating = Beating(tmp_path, caplog, safe=False)
    beating.bench.fill(3)
    said = "\n".join(beating.after(HOUR))
    assert said.count("Heartbeat") == 2
    assert re.search(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+", said) is None
