"""What the demonstration prints: headings, columns, colour on a terminal, progress, and the text of each part."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from typing import TYPE_CHECKING, TextIO

from demo.clients import NETWORKS
from demo.observed import HEADINGS, SCRIPT, true_tables
from obfstats.formats.logline import UNKNOWN_COUNTRY
from peers.clocks import find_faketime

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from demo.bridge import Bridge
    from demo.observed import Day, Observed, Stop

WIDTH = 96
_SPARSE_SECONDS = 2.0
_REWRITE_SECONDS = 0.05
_BAR = 30
_FIRST_LINES = 8
_TRUTH_COLUMN = 50

_STYLES = {"bold": "1", "dim": "2", "red": "1;31", "green": "32"}


class Screen:
    """Standard output for the story, standard error for the progress."""

    def __init__(self) -> None:
        self._coloured = _takes_colour(sys.stdout)
        self._rewrites = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def heading(self, text: str) -> None:
        """Begin a part."""
        self.line()
        self.line(self.style(text, "bold"))

    def text(self, text: str) -> None:
        """Write sentences, broken into lines."""
        self.line(textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))

    def line(self, text: str = "") -> None:
        """Write a line as it is."""
        sys.stdout.write(f"{text}\n")
        # At once: a reader of a pipe sees it grow as well.
        sys.stdout.flush()

    def command(self, text: str) -> None:
        """Write a command line, broken between words where it is too long."""
        lines = textwrap.wrap(text, WIDTH - 4, break_long_words=False, break_on_hyphens=False)
        self.line("  " + " \\\n      ".join(lines))

    def columns(self, label: str, width: int, text: str, remark: str) -> None:
        """Write sentences beside a label, and a remark below them.

        Args:
            label: what the first line begins with.
            width: its width as it is seen, which is where the sentences begin.
            text: the sentences.
            remark: what follows them, dimmed.
        """
        lines = textwrap.wrap(text, WIDTH - width, break_on_hyphens=False)
        remarks = [self.style(line, "dim") for line in textwrap.wrap(remark, WIDTH - width, break_on_hyphens=False)]
        self.line(label + f"\n{' ' * width}".join([*lines, *remarks]))

    def style(self, text: str, name: str) -> str:
        """Give text in a style, where there are any."""
        return f"\x1b[{_STYLES[name]}m{text}\x1b[0m" if self._coloured else text

    def progress(self, what: str, total: int) -> Callable[[int], None]:
        """Begin to show progress.

        Args:
            what: what is done, in a few words.
            total: how much there is of it.

        Returns:
            A function to call with how much is done.
        """
        shown = 0.0 if self._rewrites else time.monotonic()

        def show(done: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if self._rewrites:
                if done == total:
                    self.clear()
                elif now - shown >= _REWRITE_SECONDS:
                    shown = now
                    bar = ("#" * (done * _BAR // total)).ljust(_BAR, ".")
                    _write_progress(f"\r\x1b[K  {what}  [{bar}] {done} of {total} connections")
            elif done == total or now - shown >= _SPARSE_SECONDS:
                shown = now
                _write_progress(f"demo: {what}: {done} of {total} connections\n")

        return show

    def clear(self) -> None:
        """Remove an unfinished progress line."""
        if self._rewrites:
            _write_progress("\r\x1b[K")


def show_introduction(screen: Screen) -> None:
    """Print what is going to happen."""
    screen.line(screen.style("Counting who a bridge helps, and from where, without remembering who they are", "bold"))
    screen.line()
    screen.text(
        "Real obfs3 and obfs2 clients connect to two real servers on this machine, which count them as ticket 5047 "
        "describes it. All clients have loopback addresses, and those have no country. So this demonstration has a "
        "GeoIP file of its own:"
    )
    known = [f"{country} {network}" for country, network in NETWORKS.items() if country != UNKNOWN_COUNTRY]
    for line in _in_columns(known, 4):
        screen.line(f"    {line}")
    screen.text(f"Some clients are in {NETWORKS[UNKNOWN_COUNTRY]}, which is not in the file: {UNKNOWN_COUNTRY}.")


def show_start(screen: Screen, bridges: Collection[Bridge]) -> None:
    """Print what is running."""
    screen.heading("Two bridges start, each with a log of its own")
    for bridge in bridges:
        screen.line(f"  $ {bridge.command}")
        for line in bridge.output():
            screen.line(f"  {line}")
    if find_faketime():
        screen.text("Both are the installed program, unchanged; libfaketime moves their clocks from outside.")
    else:
        screen.text(
            "libfaketime is not installed (Debian: apt-get install faketime), so the programs were started with a "
            "clock that this demonstration moves, and look at it more often. All else is as installed."
        )


def show_day(screen: Screen, which: str, days: Mapping[str, Day], seconds: float) -> None:
    """Print who connected on a day."""
    connections = sum(len(day.connections) for day in days.values())
    clients = sum(day.clients_by_country.total() for day in days.values())
    screen.heading(f"The {which} day: {connections} connections of {clients} clients, all served in {seconds:.1f} s")
    for name, day in days.items():
        by_country = day.connections_by_country.most_common()
        cells = [f"{country} {number} ({day.clients_by_country[country]})" for country, number in by_country]
        for index, line in enumerate(_in_columns(cells, 6)):
            screen.line(f"  {'' if index else name:5}  {line}")
    screen.line(screen.style("         connections by country, and how many clients made them", "dim"))


def show_night(screen: Screen, clock: str, hours: int, delay: int, minutes: int) -> None:
    """Print that the clocks were moved.

    Args:
        screen: where.
        clock: what the main bridge's clock showed afterwards.
        hours: by how many hours they were moved.
        delay: minutes at most that an interval's last lines wait.
        minutes: by how many minutes they were moved once more.
    """
    screen.heading("The night between")
    screen.text(
        f"The bridges' clocks are moved on by {hours} hours: for the obfs3 bridge it is {clock}. The next client makes "
        f"it see that its 24 hours are over. The old day's last lines wait for a random delay of up to {delay} "
        f"minutes, so the clocks are moved by {minutes} minutes more."
    )


def show_stop(screen: Screen, stops: Mapping[str, Stop]) -> None:
    """Print how the bridges ended."""
    times = " and ".join(f"{name} after {stop.seconds * 1000:.0f} ms" for name, stop in stops.items())
    screen.heading("The end")
    screen.text(f"Both bridges are sent SIGTERM. They were gone: {times}.")


def show_log(screen: Screen, log: Path) -> None:
    """Print the beginning of a log."""
    lines = log.read_text("ascii").splitlines()
    screen.heading(f"{log.name}, the first {_FIRST_LINES} of {len(lines)} lines")
    for line in lines[:_FIRST_LINES]:
        screen.line(f"  {line}")


def show_tables(screen: Screen, seen: Observed) -> None:
    """Print the conversion script's tables, and beside them the true numbers."""
    screen.heading("What may be published")
    names = " ".join(bridge.log.name for bridge in seen.bridges.values())
    screen.line(
        f"  $ python3 {SCRIPT.name} {names}".ljust(_TRUTH_COLUMN) + screen.style("what really connected", "dim")
    )
    for line in seen.remarks.splitlines():
        screen.line(f"  {line}")
    true = true_tables(seen.finished_days())
    table = 0
    for line in seen.tables.splitlines():
        if line in HEADINGS:
            table = HEADINGS.index(line)
            screen.line(f"  {line}")
            continue
        number = true[table].get(line.rpartition(" ")[0], 0)
        unit = ("connection", "client")[table] + ("" if number == 1 else "s")
        screen.line(f"  {line}".ljust(_TRUTH_COLUMN) + screen.style(f"{number:3} {unit}", "dim"))


def _in_columns(cells: Sequence[str], columns: int) -> list[str]:
    """Arrange short texts in columns of one width."""
    width = max(map(len, cells)) + 3
    return [
        "".join(cell.ljust(width) for cell in cells[start : start + columns]).rstrip()
        for start in range(0, len(cells), columns)
    ]


def _write_progress(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _takes_colour(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal with colours, and whether they are wanted (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
