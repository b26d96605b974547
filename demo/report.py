"""The parts of the story as they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.convert import HEADINGS, SCRIPT, true_tables
from demo.visitors import NETWORKS
from obfstats.formats.logline import UNKNOWN_COUNTRY
from peers.clocks import find_faketime

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from demo.bridge import Bridge
    from demo.observed import Day, Observed, Stop
    from demo.screen import Screen

_FIRST_LINES = 8
_TRUTH_AT = 50


def introduce(screen: Screen) -> None:
    """Say what is going to happen."""
    screen.line(screen.style("Counting who a bridge helps, and from where, without remembering who they are", "bold"))
    screen.line()
    screen.text(
        "Real obfs3 and obfs2 clients connect to two real servers on this machine, which count them as ticket 5047 "
        "has it. All clients come from loopback addresses, and those have no country. So this demonstration brings "
        "a GeoIP file of its own, which says:"
    )
    known = [f"{country} {network}" for country, network in NETWORKS.items() if country != UNKNOWN_COUNTRY]
    for line in in_columns(known, 4):
        screen.line(f"    {line}")
    screen.text(f"Some clients come from {NETWORKS[UNKNOWN_COUNTRY]}, which is not in the file: {UNKNOWN_COUNTRY}.")


def started(screen: Screen, bridges: Collection[Bridge]) -> None:
    """Say what is running."""
    screen.heading("Two bridges start, each with a log of its own")
    for bridge in bridges:
        screen.line(f"  $ {bridge.command}")
        for words in bridge.words():
            screen.line(f"  {words}")
    if find_faketime():
        screen.text("Both are the installed program, unchanged; libfaketime moves their clocks from outside.")
    else:
        screen.text(
            "libfaketime is not here (Debian: apt-get install faketime), so the programs were started with a clock "
            "that this demonstration hands to them. All else is as installed."
        )


def arrived(screen: Screen, which: str, days: Mapping[str, Day], seconds: float) -> None:
    """Say who came on a day."""
    visits = sum(len(day.visits) for day in days.values())
    clients = sum(day.clients.total() for day in days.values())
    screen.heading(f"The {which} day: {visits} connections of {clients} clients, all served in {seconds:.1f} s")
    for name, day in days.items():
        cells = [f"{country} {number} ({day.clients[country]})" for country, number in day.connections.most_common()]
        for line, text in enumerate(in_columns(cells, 6)):
            screen.line(f"  {'' if line else name:5}  {text}")
    screen.line(screen.style("         connections by country, and how many clients made them", "dim"))


def in_columns(cells: Sequence[str], columns: int) -> list[str]:
    """Lay short texts out in columns of one width."""
    width = max(map(len, cells)) + 3
    return [
        "".join(cell.ljust(width) for cell in cells[start : start + columns]).rstrip()
        for start in range(0, len(cells), columns)
    ]


def night(screen: Screen, clock: str, hours: int, delay: int, minutes: int) -> None:
    """Say that the clocks were moved.

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


def stopped(screen: Screen, stops: Mapping[str, Stop]) -> None:
    """Say how the bridges ended."""
    times = " and ".join(f"{name} after {stop.seconds * 1000:.0f} ms" for name, stop in stops.items())
    screen.heading("The end")
    screen.text(f"Both bridges are sent SIGTERM. They were gone: {times}.")


def first_lines(screen: Screen, log: Path) -> None:
    """Show how the log begins."""
    lines = log.read_text("ascii").splitlines()
    screen.heading(f"{log.name}, the first {_FIRST_LINES} of {len(lines)} lines")
    for line in lines[:_FIRST_LINES]:
        screen.line(f"  {line}")


def tables(screen: Screen, seen: Observed) -> None:
    """Show what the conversion script printed, and beside it what really came."""
    screen.heading("What may be published")
    names = " ".join(bridge.log.name for bridge in seen.bridges.values())
    screen.line(f"  $ python3 {SCRIPT.name} {names}".ljust(_TRUTH_AT) + screen.style("what really came", "dim"))
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
        screen.line(f"  {line}".ljust(_TRUTH_AT) + screen.style(f"{number:3} {unit}", "dim"))
