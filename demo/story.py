"""The demonstration itself, in the order in which things happen: two days of two bridges, and what is left of them.

The main bridge speaks obfs3, and its log is the one that is shown. Beside it runs an obfs2 bridge with fewer clients
and a log of its own: the conversion reads both.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from demo import report
from demo.bridge import Bridge
from demo.checks import check_all
from demo.convert import convert
from demo.crowd import MARK, Call, EchoServer, knock, send
from demo.observed import Day, Observed, Stop, read_log, written_time
from demo.screen import Screen
from demo.visitors import Population, draw_strangers, geoip
from obfstats.record.recorder import CLOSING_DELAY, DEFAULT_BUFFER
from obfstats.wire.transports import make_transport
from peers.clocks import ProgramClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from demo.visitors import Visitor

MAIN, OTHER = "obfs3", "obfs2"

STARTS = {MAIN: -36 * 3600, OTHER: -34 * 3600}
"""Where each bridge's clock begins, from now: the first day is over by the true clock as well, the second is not."""

NIGHT = 27 * 3600
"""Seconds that the clocks are moved on after the first day: more than 24 hours, to see that TS is not the time."""

MORNING = int(CLOSING_DELAY) + 60
"""Seconds that they are moved on once more: by then the first day's last lines must have been written."""

SECOND_DAY = DEFAULT_BUFFER + 31
"""The main bridge's connections on the second day: a full buffer, and some that never reach the disk."""

STRANGERS = 6


def tell(*, keep: bool) -> bool:
    """Run everything; gives whether every claim held."""
    screen = Screen()
    began = time.monotonic()
    with _folder(screen, keep=keep) as folder:
        with EchoServer() as echo, ExitStack() as running:
            story = Story(screen, folder, echo.address, running)
            try:
                story.begin()
                story.first_day()
                story.night()
                story.second_day()
                story.stop()
                story.publish()
                story.start_again()
            finally:
                screen.clear()
        claims = check_all(story.seen)
        screen.heading("What was kept and what was forgotten, step by step as ticket 5047 has it")
        claims.show(screen)
        screen.heading(f"{claims.summary()}, in {time.monotonic() - began:.0f} s")
    return not claims.failed


@contextmanager
def _folder(screen: Screen, *, keep: bool) -> Iterator[Path]:
    """Give a folder for everything that is written."""
    folder = Path(tempfile.mkdtemp(prefix="obfstats-demo-"))
    try:
        yield folder
    finally:
        if keep:
            screen.line(f"The logs, and what the programs said, are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


class Story:
    """One run.

    Attributes:
        seen: what it saw.
    """

    def __init__(self, screen: Screen, folder: Path, destination: str, running: ExitStack) -> None:
        """Draw who will come.

        Args:
            screen: where it is shown.
            folder: where everything is written.
            destination: where the bridges pass on to.
            running: ends the bridges.
        """
        self._screen, self._destination, self._running = screen, destination, running
        addresses: set[str] = set()
        self._people = {name: Population(name, addresses) for name in STARTS}
        self._clocks = {name: ProgramClock(folder / f"{name}.clock", offset) for name, offset in STARTS.items()}
        self._transports = {name: make_transport(name) for name in STARTS}
        self.seen = Observed(folder, self._people[MAIN].loners[0], addresses, MARK)

    def begin(self) -> None:
        """Step 1: start both bridges."""
        seen = self.seen
        (seen.folder / "geoip").write_text(geoip())
        report.introduce(self._screen)
        for name in STARTS:
            seen.bridges[name] = self._start(name)
        for bridge in seen.bridges.values():
            bridge.wait()
        report.started(self._screen, seen.bridges.values())
        seen.mode = seen.bridges[MAIN].log.stat().st_mode
        seen.locked = seen.bridges[MAIN].locked_memory()
        seen.note_size("started")

    def first_day(self) -> None:
        """Steps 2, 4 and 5: clients fill the main bridge's buffer, then comes one more, then come all the others."""
        seen = self.seen
        main, other = seen.bridges.values()
        visits, others = (people.draw_day() for people in self._people.values())
        progress = self._screen.progress("first day", len(visits) + len(others))
        began = time.monotonic()
        self._send(self._calls(main, visits[:DEFAULT_BUFFER]), progress)
        seen.note_size("buffer full")
        done = DEFAULT_BUFFER + 1
        self._send(self._calls(main, visits[DEFAULT_BUFFER:done]))
        seen.note_size("one more")
        self._send(
            self._calls(main, visits[done:]) + self._calls(other, others), lambda number: progress(done + number)
        )
        seen.first = {MAIN: Day(visits), OTHER: Day(others)}
        report.arrived(self._screen, "first", seen.first, time.monotonic() - began)
        for address in draw_strangers(STRANGERS, seen.addresses):
            knock(address, main.address)
            seen.strangers += 1
        seen.note_size("evening")

    def night(self) -> None:
        """Step 3: 24 hours go by.

        The new day's first client lets the bridge see that the old day is over. The old day's last lines are written
        when a random delay is over as well.
        """
        seen = self.seen
        main, other = seen.bridges.values()
        early = {MAIN: [seen.loner, *self._people[MAIN].draw(1)], OTHER: self._people[OTHER].draw(2)}
        for client, seconds in enumerate((NIGHT, MORNING)):
            for clock in self._clocks.values():
                clock.move(seconds)
            seen.morning = seen.morning or self._clocks[MAIN].now()
            self._send(self._calls(main, [early[MAIN][client]]) + self._calls(other, [early[OTHER][client]]))
        seen.note_size("night")
        report.night(self._screen, written_time(seen.morning), NIGHT // 3600, int(CLOSING_DELAY) // 60, MORNING // 60)
        seen.second = {name: Day(visits) for name, visits in early.items()}

    def second_day(self) -> None:
        """Clients of the day before come again, more than the main bridge's buffer holds: it is written once."""
        seen = self.seen
        main = seen.bridges[MAIN]
        more = self._people[MAIN].draw(SECOND_DAY - len(seen.second[MAIN].visits))
        fill = DEFAULT_BUFFER - len(seen.second[MAIN].visits)
        progress = self._screen.progress("second day", len(more))
        began = time.monotonic()
        self._send(self._calls(main, more[:fill]), progress)
        seen.note_size("second buffer full")
        self._send(self._calls(main, more[fill:]), lambda number: progress(fill + number))
        seen.second[MAIN] = Day([*seen.second[MAIN].visits, *more])
        report.arrived(self._screen, "second", seen.second, time.monotonic() - began)

    def stop(self) -> None:
        """Step 6: SIGTERM."""
        for name, bridge in self.seen.bridges.items():
            before = bridge.log.stat().st_size
            seconds, status = bridge.stop()
            self.seen.stops[name] = Stop(seconds, status, before, bridge.log.stat().st_size)
        report.stopped(self._screen, self.seen.stops)

    def publish(self) -> None:
        """Show the main log, and what the conversion script makes of both."""
        seen = self.seen
        logs = [bridge.log for bridge in seen.bridges.values()]
        seen.logs = {name: read_log(bridge.log) for name, bridge in seen.bridges.items()}
        seen.tables, seen.remarks = convert(seen.folder, [log.name for log in logs])
        report.first_lines(self._screen, logs[0])
        report.tables(self._screen, seen)

    def start_again(self) -> None:
        """Start the main bridge once more on its log, with a buffer so small that the loner's line is written soon."""
        seen = self.seen
        with self._start(MAIN, "--stats-buffer", "1").wait() as bridge:
            self._send(self._calls(bridge, [seen.loner]))
            self._send(self._calls(bridge, [seen.loner]))
        seen.again = read_log(bridge.log)[len(seen.logs[MAIN]) :]

    def _start(self, name: str, *options: str) -> Bridge:
        """Start a bridge that ends with the run at the latest."""
        bridge = Bridge(self.seen.folder, name, self._clocks[name], self._destination, ("--geoip", "geoip", *options))
        return self._running.enter_context(bridge)

    def _calls(self, bridge: Bridge, visitors: Sequence[Visitor]) -> list[Call]:
        """Make visits to a bridge of these."""
        return [Call(visitor, self._transports[bridge.transport], bridge.address) for visitor in visitors]

    def _send(self, calls: Sequence[Call], progress: Callable[[int], None] = lambda _done: None) -> None:
        """Have them come, and wait until all were served: each is counted before the first byte comes back to it."""
        self.seen.echoed += send(calls, progress)
