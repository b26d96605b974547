"""The demonstration itself, in the order in which things happen: two days of two bridges, and what remains of them.

journey.py has what happens to their documents afterwards.

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

from demo.bridge import Bridge
from demo.claims import check_all, summarise
from demo.clients import MARK, Clients, Connection, connect_all, draw_strangers, geoip_text, send_noise
from demo.journey import make_journey
from demo.journey_claims import check_journey
from demo.observed import Day, Observed, Stop, convert, read_log, write_time
from demo.screen import (
    Screen,
    show_day,
    show_introduction,
    show_log,
    show_night,
    show_start,
    show_stop,
    show_tables,
)
from obfstats.formats.logline import LINE_LENGTH
from obfstats.record.batches import CLOSING_DELAY, DEFAULT_BUFFER
from obfstats.wire.transports import make_transport
from peers import destinations
from peers.clocks import ProgramClock
from peers.processes import wait_until_idle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from demo.clients import Client

MAIN, OTHER = "obfs3", "obfs2"

STARTS = {MAIN: -36 * 3600, OTHER: -34 * 3600}
"""Where each bridge's clock begins, from now: the first day is over by the true clock as well, the second is not."""

NIGHT = 27 * 3600
"""Seconds that the clocks are moved on after the first day: more than 24 hours, to show that TS is not the time."""

MORNING = int(CLOSING_DELAY) + 60
"""Seconds that they are moved on once more: by then the first day's last lines must be written."""

FULL = DEFAULT_BUFFER + 10
"""Networks that fill a buffer for certain: the bridge knows each by 16 bits, and a few may have the same ones."""

STEP = int(CLOSING_DELAY) // 2 + 31
"""Seconds that the clocks are moved on to have a tick, until a full buffer's random delay is over."""

STRANGERS = 6

MAX_STEPS, MAX_BATCHES = 12, 30

_WRITE_SECONDS = 10.0
_TICK_WAIT = 0.4
_POLL_SECONDS = 0.02


def run_story(*, keep: bool) -> bool:
    """Run everything; give whether every claim held."""
    screen = Screen()
    began = time.monotonic()
    with _folder(screen, keep=keep) as folder, _site_folder() as site:
        with destinations.serve(destinations.echo) as destination, ExitStack() as running:
            story = Story(screen, folder, destination, running)
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
        screen.heading("What was kept and what was forgotten, step by step as ticket 5047 describes it")
        claims.show(screen)
        journey = make_journey(screen, story.seen, site)
        more = check_journey(story.seen, journey)
        screen.heading("What was kept and what was forgotten on the way from the bridges to the site")
        more.show(screen)
    screen.heading(f"{summarise(claims, more)}, in {time.monotonic() - began:.0f} s")
    screen.line(f"The site stays, until you delete its folder. Open {site / 'index.html'}")
    return not claims.failed + more.failed


@contextmanager
def _site_folder() -> Iterator[Path]:
    """Give a folder that stays if the block ends well."""
    folder = Path(tempfile.mkdtemp(prefix="obfstats-demo-site-"))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _folder(screen: Screen, *, keep: bool) -> Iterator[Path]:
    """Give a folder for everything that is written."""
    folder = Path(tempfile.mkdtemp(prefix="obfstats-demo-"))
    try:
        yield folder
    finally:
        if keep:
            screen.line(f"The logs, and what the programs printed, are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


class Story:
    """One run.

    Attributes:
        seen: what it saw.
    """

    def __init__(self, screen: Screen, folder: Path, destination: str, running: ExitStack) -> None:
        """Draw the clients.

        Args:
            screen: where the story is printed.
            folder: where everything is written.
            destination: where the bridges pass connections on to.
            running: ends the bridges.
        """
        self._screen, self._destination, self._running = screen, destination, running
        addresses: set[str] = set()
        self._clients = {name: Clients(name, addresses) for name in STARTS}
        self._clocks = {name: ProgramClock(folder / f"{name}.clock", offset) for name, offset in STARTS.items()}
        self._transports = {name: make_transport(name) for name in STARTS}
        self.seen = Observed(folder, self._clients[MAIN].single[0], addresses, MARK)

    def begin(self) -> None:
        """Step 1: start both bridges."""
        seen = self.seen
        (seen.folder / "geoip").write_text(geoip_text())
        show_introduction(self._screen)
        for name in STARTS:
            seen.bridges[name] = self._start(name)
        for bridge in seen.bridges.values():
            bridge.wait()
        show_start(self._screen, seen.bridges.values())
        seen.mode = seen.bridges[MAIN].log.stat().st_mode
        seen.locked = seen.bridges[MAIN].locked_memory()
        seen.note_size("started")

    def first_day(self) -> None:
        """Steps 2, 4 and 5: clients fill the main bridge's buffer, half of it is written, then all others connect."""
        seen = self.seen
        main, other = seen.bridges.values()
        day, others = (clients.draw_day() for clients in self._clients.values())
        progress = self._screen.progress("first day", len(day) + len(others))
        began = time.monotonic()
        seen.filling = next(number for number in range(len(day)) if _count_networks(day[:number]) == FULL)
        self._connect(self._connections(main, day[: seen.filling]), progress)
        seen.note_size("buffer full")
        done = seen.filling
        for _ in self._pass_time_until_written(main):
            self._connect(self._connections(main, [day[done]]))
            done += 1
        seen.note_size("share written")
        rest = self._connections(main, day[done:]) + self._connections(other, others)
        self._connect(rest, lambda number: progress(done + number))
        seen.first = {MAIN: Day(day), OTHER: Day(others)}
        show_day(self._screen, "first", seen.first, time.monotonic() - began)
        for address in draw_strangers(STRANGERS, seen.addresses):
            send_noise(address, main.address)
            seen.strangers += 1
        seen.note_size("evening")

    def night(self) -> None:
        """Step 3: 24 hours pass.

        The new day's first client makes the bridge see that the old day is over. The old day's last lines are written
        after a random delay, which the clocks pass as well.
        """
        seen = self.seen
        main, other = seen.bridges.values()
        early = {MAIN: [seen.single, *self._clients[MAIN].draw(1)], OTHER: self._clients[OTHER].draw(2)}
        for index, seconds in enumerate((NIGHT, MORNING)):
            for name, clock in self._clocks.items():
                wait_until_idle(seen.bridges[name].pid)
                clock.move(seconds)
            seen.morning = seen.morning or self._clocks[MAIN].now()
            self._connect(
                self._connections(main, [early[MAIN][index]]) + self._connections(other, [early[OTHER][index]])
            )
        for name, day in seen.first.items():
            _wait_for_size(seen.bridges[name].log, len(day.connections) * LINE_LENGTH)
        seen.note_size("night")
        show_night(self._screen, write_time(seen.morning), NIGHT // 3600, int(CLOSING_DELAY) // 60, MORNING // 60)
        seen.second = {name: Day(connections) for name, connections in early.items()}

    def second_day(self) -> None:
        """Clients of the day before connect again, until the single client's line is written; others' lines are not."""
        seen = self.seen
        main = seen.bridges[MAIN]
        connections = list(seen.second[MAIN].connections)
        progress = self._screen.progress("second day", MAX_BATCHES)
        began = time.monotonic()
        for number in range(MAX_BATCHES):
            more = self._clients[MAIN].draw(2 * DEFAULT_BUFFER)
            self._connect(self._connections(main, more))
            for _ in self._pass_time_until_written(main):
                more += self._clients[MAIN].draw(1)
                self._connect(self._connections(main, more[-1:]))
            connections += more
            seen.note_size(f"second day {number}")
            progress(number + 1)
            lines = read_log(main.log)
            if any(line.country == seen.single.country and line.start != lines[0].start for line in lines):
                break
        progress(MAX_BATCHES)
        seen.second[MAIN] = Day(connections)
        show_day(self._screen, "second", seen.second, time.monotonic() - began)

    def stop(self) -> None:
        """Step 6: SIGTERM."""
        for name, bridge in self.seen.bridges.items():
            before = bridge.log.stat().st_size
            seconds, status = bridge.stop()
            self.seen.stops[name] = Stop(seconds, status, before, bridge.log.stat().st_size)
        show_stop(self._screen, self.seen.stops)

    def publish(self) -> None:
        """Show the main log, and what the conversion script makes of both."""
        seen = self.seen
        logs = [bridge.log for bridge in seen.bridges.values()]
        seen.logs = {name: read_log(bridge.log) for name, bridge in seen.bridges.items()}
        seen.tables, seen.remarks = convert(seen.folder, [log.name for log in logs])
        show_log(self._screen, logs[0])
        show_tables(self._screen, seen)

    def start_again(self) -> None:
        """Start the main bridge again on its log, with a buffer so small that the single client's line is written."""
        seen = self.seen
        with self._start(MAIN, "--stats-buffer", "1").wait() as bridge:
            for _ in range(2):
                self._connect(self._connections(bridge, [seen.single]))
        seen.restarted = read_log(bridge.log)[len(seen.logs[MAIN]) :]

    def _pass_time_until_written(self, bridge: Bridge) -> Iterator[None]:
        """Move a bridge's clock until it has written a batch; a client must wake it after each step."""
        size = bridge.log.stat().st_size
        for _ in range(MAX_STEPS):
            wait_until_idle(bridge.pid)
            self._clocks[bridge.transport].move(STEP)
            yield
            deadline = time.monotonic() + _TICK_WAIT
            while time.monotonic() < deadline:
                if bridge.log.stat().st_size > size:
                    return
                time.sleep(_POLL_SECONDS)

    def _start(self, name: str, *options: str) -> Bridge:
        """Start a bridge that ends with the run at the latest."""
        bridge = Bridge(self.seen.folder, name, self._clocks[name], self._destination, ("--geoip", "geoip", *options))
        return self._running.enter_context(bridge)

    def _connections(self, bridge: Bridge, clients: Sequence[Client]) -> list[Connection]:
        """Give a connection to a bridge for each of some clients."""
        return [Connection(client, self._transports[bridge.transport], bridge.address) for client in clients]

    def _connect(self, connections: Sequence[Connection], progress: Callable[[int], None] = lambda _done: None) -> None:
        """Make connections and wait until all were served: each is counted before the first byte is echoed."""
        self.seen.echoed += connect_all(connections, progress)


def _count_networks(clients: Sequence[Client]) -> int:
    return len({client.address.rpartition(".")[0] for client in clients})


def _wait_for_size(log: Path, size: int) -> None:
    """Wait until a log has a size, or some seconds; the claims show whether it got there."""
    deadline = time.monotonic() + _WRITE_SECONDS
    while log.stat().st_size < size and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
