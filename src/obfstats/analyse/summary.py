"""The command `obfstats summary`: what an analysis found, on one screen.

It reads our tables below DIR/tables: users, from Tor's descriptors, and addresses, from our documents. Every number has
its 90 % interval. Events are those of our detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from obfstats.analyse.events import OBFSTATS, TOR
from obfstats.analyse.outputs import TABLES_FOLDER
from obfstats.commandline import fail
from obfstats.country_names import ALL, country_name
from obfstats.terminal import format_number, make_console, print_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

WEEK: Final = timedelta(days=7)
_LEAST_SHOWN: Final = 0.5
"""A smaller number is printed as 0."""

COMPARED_DAYS: Final = 14
"""Days before a day that tell how many bridges usually report."""

COMPLETE: Final = 0.75
"""How many report on a complete day, as a share of that."""

EVENT_DAYS: Final = 14
MAX_EVENTS: Final = 15
"""Events that are shown, the latest ones."""


class NoAnalysisError(Exception):
    """A folder has no analysis, or none of a day. The text is one sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number of a day.

    Attributes:
        name: country or transport; empty for all.
        value: the estimate.
        lower: lower end of its 90 % interval.
        upper: upper end.
        week_before: the estimate seven days before; None if there is none.
        is_change_sure: whether the intervals of the two days do not overlap.
        peak: the largest estimate until this day.
        peak_date: its day.
    """

    name: str
    value: float
    lower: float
    upper: float
    week_before: float | None
    is_change_sure: bool
    peak: float
    peak_date: date


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of a day.

    Attributes:
        total: of all countries and transports.
        countries: the largest first.
        transports: the largest first.
    """

    total: Number
    countries: Sequence[Number]
    transports: Sequence[Number]


@dataclass(frozen=True, slots=True)
class Summary:
    """What an analysis found until a day.

    Attributes:
        day: the day of the numbers.
        first: the first day of the analysis.
        last: the last day of the analysis.
        last_complete: the last day whose reports have arrived.
        users: from Tor's descriptors; None if there is no estimate of that day.
        addresses: different addresses of clients, from our documents; None if there are none of that day.
        events: rows of the table of events of the last two weeks, of both detectors, the latest first.
        bridges: the day's row of the table of bridges; empty if there is none.
    """

    day: date
    first: date
    last: date
    last_complete: date
    users: Numbers | None
    addresses: Numbers | None
    events: Sequence[Mapping[str, Any]]
    bridges: Mapping[str, Any]


def run_summary(options: argparse.Namespace) -> int:
    """Run the command.

    Args:
        options: folder, date, top.

    Returns:
        The exit status: 0; 2 if the folder has no analysis or none of that day.
    """
    try:
        summary = summarise(options.folder, options.date)
    except NoAnalysisError as error:
        return fail("obfstats summary", str(error))
    print_summary(make_console(), summary, options.top)
    return 0


def summarise(folder: Path, day: date | None = None) -> Summary:
    """Read the tables of an analysis.

    Args:
        folder: where `obfstats analyse` wrote.
        day: the day of the numbers; by default the last one that is complete.

    Raises:
        NoAnalysisError: if there is no analysis in the folder, or none of that day.
    """
    users, clients = read_result(folder, "obfstats-users"), read_result(folder, "obfstats-clients")
    if users is None and clients is None:
        raise NoAnalysisError(f"{folder} has no analysis; make one with: obfstats analyse INPUT... --to {folder}")
    dates = [pc.min_max(table["date"]) for table in (users, clients) if table is not None and len(table)]
    if not dates:
        raise NoAnalysisError(f"the analysis in {folder} has no numbers: its input had no reports of bridges")
    first, last = min(ends["min"].as_py() for ends in dates), max(ends["max"].as_py() for ends in dates)
    bridges = read_result(folder, "obfstats-bridges")
    last_complete = min(last, (bridges is not None and find_complete_day(bridges)) or last)
    chosen = last_complete if day is None else day
    numbers = _compare(users, "users", chosen), _compare(clients, "addresses", chosen)
    if numbers == (None, None):
        raise NoAnalysisError(f"the analysis in {folder} has no numbers of {chosen}; it is of {first} to {last}")
    rows = [] if bridges is None else bridges.filter(pc.equal(bridges["date"], pa.scalar(chosen))).to_pylist()
    return Summary(
        day=chosen,
        first=first,
        last=last,
        last_complete=last_complete,
        users=numbers[0],
        addresses=numbers[1],
        events=select_events(read_result(folder, "obfstats-events"), chosen),
        bridges=rows[0] if rows else {},
    )


def find_complete_day(bridges: pa.Table) -> date | None:
    """Find the last day whose reports have arrived. Reports of a day come until a day and a half after its end.

    Args:
        bridges: date, running (null where there is no status), reporting; one row a day.

    Returns:
        The last day on which the share of running bridges that report is at least three quarters of the median of the
        two weeks before; without statuses, the number that report. None for an empty table.
    """
    rows = bridges.select(["date", "running", "reporting"]).sort_by("date").to_pylist()
    for index in range(len(rows) - 1, 0, -1):
        if not rows[index]["reporting"]:
            continue
        running = rows[index]["running"]
        earlier = rows[max(0, index - COMPARED_DAYS) : index]
        if running:
            share = rows[index]["reporting"] / running
            shares = [row["reporting"] / row["running"] for row in earlier if row["running"]]
        else:
            share = rows[index]["reporting"]
            shares = [row["reporting"] for row in earlier]
        if not shares or share >= COMPLETE * median(shares):
            day: date = rows[index]["date"]
            return day
    return rows[0]["date"] if rows else None


def read_result(folder: Path, name: str) -> pa.Table | None:
    """Read a table of an analysis; give None if it is not there.

    Raises:
        NoAnalysisError: if it cannot be read.
    """
    try:
        return parquet.read_table(folder / TABLES_FOLDER / f"{name}.parquet")
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowInvalid):
        raise NoAnalysisError(f"cannot read the table {name} in {folder}; run obfstats analyse again") from None


def _compare(table: pa.Table | None, value: str, day: date) -> Numbers | None:
    """Make the numbers of a day; None if there are none.

    Args:
        table: date, country, transport, the value, and the ends of its interval.
        value: the column of the value.
        day: the day.
    """
    if table is None:
        return None
    lower, upper = ("lower", "upper") if value == "users" else (f"{value}_lower", f"{value}_upper")
    names = ["country", "transport"]
    table = table.select(["date", *names, value, lower, upper]).rename_columns(
        ["date", *names, "value", "lower", "upper"]
    )
    table = table.filter(pc.and_(pc.less_equal(table["date"], pa.scalar(day)), pc.is_valid(table["value"])))
    peaks = table.sort_by([("value", "descending"), ("date", "ascending")])
    peaks = peaks.group_by(names, use_threads=False).aggregate([("value", "first"), ("date", "first")])
    peak_by_name = {(row["country"], row["transport"]): row for row in peaks.to_pylist()}
    earlier = _rows_by_name(table, day - WEEK)
    numbers = {}
    for name, row in _rows_by_name(table, day).items():
        before = earlier.get(name)
        numbers[name] = Number(
            name=name[0] or name[1],
            value=row["value"],
            lower=row["lower"],
            upper=row["upper"],
            week_before=None if before is None else before["value"],
            is_change_sure=before is not None and (row["upper"] < before["lower"] or row["lower"] > before["upper"]),
            peak=peak_by_name[name]["value_first"],
            peak_date=peak_by_name[name]["date_first"],
        )
    if ("", "") not in numbers:
        return None
    return Numbers(
        total=numbers["", ""],
        countries=_sort(number for (country, transport), number in numbers.items() if country and not transport),
        transports=_sort(number for (country, transport), number in numbers.items() if transport and not country),
    )


def _rows_by_name(table: pa.Table, day: date) -> dict[tuple[str, str], dict[str, Any]]:
    rows = table.filter(pc.equal(table["date"], pa.scalar(day))).to_pylist()
    return {(row["country"], row["transport"]): row for row in rows}


def _sort(numbers: Iterable[Number]) -> list[Number]:
    """Sort numbers, the largest first, without those that are and were 0."""
    shown = (number for number in numbers if max(number.upper, number.week_before or 0) >= _LEAST_SHOWN)
    return sorted(shown, key=lambda number: (-number.value, number.name))


def select_events(events: pa.Table | None, day: date) -> list[dict[str, Any]]:
    """Select the events of the two weeks until a day, the latest first."""
    if events is None:
        return []
    is_recent = pc.and_(
        pc.less_equal(events["date"], pa.scalar(day)),
        pc.greater(events["date"], pa.scalar(day - timedelta(days=EVENT_DAYS))),
    )
    order = [("date", "descending"), ("detector", "ascending"), ("country", "ascending"), ("transport", "ascending")]
    rows: list[dict[str, Any]] = events.filter(is_recent).sort_by(order).to_pylist()
    return rows


def print_summary(console: Console, summary: Summary, top: int) -> None:
    """Print a summary.

    Args:
        console: where.
        summary: what.
        top: how many countries and transports to name; the others are one row.
    """
    console.print(f"Bridges on {summary.day:%A}, {summary.day} (UTC); the analysis begins on {summary.first}.")
    if summary.last_complete < summary.last:
        console.print(f"Not all reports of the days after {summary.last_complete} have arrived.")
    if summary.bridges:
        console.print(_describe_bridges(summary.bridges))
    console.print()
    for title, numbers in (("users", summary.users), ("addresses", summary.addresses)):
        if numbers is None:
            continue
        countries = _format_largest(numbers.countries, top, country_name)
        transports = _format_largest(numbers.transports, top, _transport_name)
        headings = [title, "90 % interval", "week before", "change", "peak", "on"]
        right_aligned = (1, 2, 3, 4, 5)
        print_table(console, ["country", *headings], [_format(numbers.total, ALL), *countries], right_aligned)
        if transports:
            print_table(console, ["transport", *headings], transports, right_aligned)
    console.print("A change in brackets may be none: the intervals of the two days overlap.")
    _print_events(console, summary)


def _describe_bridges(bridges: Mapping[str, Any]) -> str:
    """Describe how many bridges the numbers come from; what is not known is left out."""
    parts = [
        f"{round(bridges[name]):,} {'bridge' if round(bridges[name]) == 1 else 'bridges'} {verb}"
        for name, verb in (("running", "ran"), ("reporting", "reported"))
        if bridges.get(name) is not None
    ]
    if bridges.get("served_share"):
        parts.append(
            f"{bridges['served_share']:.0%} write served=, and the published estimate counts only what they completed; "
            "ours counts all"
        )
    if bridges.get("series_break"):
        parts.append("the published series breaks on this day")
    return f"{'; '.join(parts)}."


def _transport_name(transport: str) -> str:
    return "<OR>, no transport" if transport == "<OR>" else transport


def _format_largest(numbers: Sequence[Number], top: int, name_of: Callable[[str], str]) -> list[list[str]]:
    """Write a row for each of the largest, and one for the others."""
    rows = [_format(number, name_of(number.name)) for number in numbers[:top]]
    return [*rows, _format_rest(numbers[top:])] if numbers[top:] else rows


def _format(number: Number, name: str) -> list[str]:
    return [
        name,
        format_number(number.value),
        f"{format_number(number.lower)} to {format_number(number.upper)}",
        "" if number.week_before is None else format_number(number.week_before),
        _format_change(number.value, number.week_before, is_sure=number.is_change_sure),
        format_number(number.peak),
        f"{number.peak_date}",
    ]


def _format_rest(numbers: Sequence[Number]) -> list[str]:
    """Write the sum of several numbers. Errors are partly common, so intervals cannot be added."""
    before = [number.week_before or 0 for number in numbers]
    value = sum(number.value for number in numbers)
    change = _format_change(value, sum(before), is_sure=False)
    name = "1 other" if len(numbers) == 1 else f"{len(numbers)} others"
    return [name, format_number(value), "", format_number(sum(before)), change, "", ""]


def _format_change(value: float, before: float | None, *, is_sure: bool) -> str:
    if before is None:
        return "new"
    if round(before) == 0:
        return ""
    change = f"{value / before - 1:+.0%}"
    return change if is_sure else f"({change})"


def _print_events(console: Console, summary: Summary) -> None:
    ours = [event for event in summary.events if event["detector"] == OBFSTATS]
    if ours:
        print_events(console, ours[:MAX_EVENTS])
        if len(ours) > MAX_EVENTS:
            console.print(f"{len(ours) - MAX_EVENTS} earlier events of these {EVENT_DAYS} days: obfstats-events.csv.")
    else:
        console.print(f"No events in the {EVENT_DAYS} days until {summary.day}.")
    if len(ours) < len(summary.events):
        console.print(f"Events of Tor's own detector in the same days: {len(summary.events) - len(ours)}.")


def print_events(console: Console, events: Iterable[Mapping[str, Any]]) -> None:
    """Print rows of the table of events; those of Tor's detector are marked."""
    rows = [
        [
            f"{event['date']} {event['direction']}{' (Tor)' if event['detector'] == TOR else ''}",
            country_name(event["country"]),
            event["transport"] or "all",
            format_number(event["value"]),
            f"{format_number(event['expected_lower'])} to {format_number(event['expected_upper'])}",
            event["annotations"],
        ]
        for event in events
    ]
    print_table(console, ["event", "country", "transport", "users", "expected", "annotations"], rows, (3, 4))
