"""The tables of `obfstats analyse` are read: what the public site shows.

Rules:

- Columns are found by their names. A row that cannot be read is left out and counted.
- Names and texts come from outside. Control characters, and those that turn the direction of writing, become U+FFFD;
  what is too long is cut.
- A day is missing if there is no number of all users on it. On other days a country or transport without a row has 0:
  no bridge reported anybody.
- The last day is the last one that the detector has looked at: later ones have too few reports.
"""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

NONE: Final = math.nan
"""In a series: there is no number."""

ALL: Final = ("", "")
"""The series of all countries and transports."""

OURS: Final = "obfstats"
"""The detector whose events are drawn."""

_MAX_DAYS: Final = 20 * 366
_ONE_BREAK: Final = timedelta(days=60)
_YEARS: Final = range(2000, 2500)
_MAX_NUMBER: Final = 1e12
_MAX_NAME: Final = 64
_MAX_TEXT: Final = 500
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")

_Row = TypeVar("_Row")

Key = tuple[str, str]
"""Country and transport; empty means all."""


class ResultsError(Exception):
    """The tables cannot be read. The text is one sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers of consecutive days, from the first day of the results on; NaN where there is none.

    Attributes:
        values: users, or addresses.
        lower: lower end of the interval of 90 %.
        upper: its upper end.
        expected_lower: lower end of what the detector expected.
        expected_upper: its upper end.
    """

    values: array[float]
    lower: array[float]
    upper: array[float]
    expected_lower: array[float]
    expected_upper: array[float]

    def columns(self) -> tuple[array[float], ...]:
        """Give all numbers, in the order of the attributes."""
        return self.values, self.lower, self.upper, self.expected_lower, self.expected_upper


class Event(NamedTuple):
    """A drop or a rise that a detector has found. Attributes are the columns of obfstats-events.csv."""

    date: date
    country: str
    transport: str
    detector: str
    is_drop: bool
    value: float
    expected_lower: float
    expected_upper: float
    annotations: str

    @property
    def key(self) -> Key:
        """Which series it is about."""
        return self.country, self.transport


class Annotation(NamedTuple):
    """What is known to have happened. Attributes are the columns of obfstats-annotations.csv."""

    start: date
    end: date | None
    is_approximate: bool
    places: frozenset[str]
    protocols: frozenset[str]
    description: str
    links: Sequence[str]

    @property
    def web_links(self) -> list[tuple[str, str]]:
        """The web addresses among its links, each with the name of its server."""
        found = []
        for link in self.links:
            try:
                parts = urlsplit(link)
            except ValueError:
                continue
            if parts.scheme in {"http", "https"} and parts.hostname:
                found.append((link, parts.hostname))
        return found

    def is_about(self, key: Key) -> bool:
        """Tell whether it may explain a series: as analyse joins annotations to events."""
        country, transport = key
        if self.places and country not in self.places:
            return False
        if not self.protocols or "bridge" in self.protocols:
            return True
        return transport in self.protocols or (not transport and bool(self.protocols - {"relay", "onion"}))


class Bridges(NamedTuple):
    """The bridges of a day. Attributes are columns of obfstats-bridges.csv; NaN where there is no number."""

    running: float
    reporting: float


@dataclass(frozen=True, slots=True)
class Results:
    """What the tables say.

    Attributes:
        first: the first day.
        last: the last day; the same as the first if there is none.
        users: users by country, by transport, of all.
        addresses: addresses of our documents by country, by transport, by both, of all.
        bridges: bridges by day.
        breaks: days from which the published series counts otherwise.
        events: of both detectors, in order.
        annotations: in order of their start.
        damaged: rows that are left out.
    """

    first: date
    last: date
    users: Mapping[Key, Series]
    addresses: Mapping[Key, Series]
    bridges: Mapping[date, Bridges]
    breaks: Sequence[date]
    events: Sequence[Event]
    annotations: Sequence[Annotation]
    damaged: int

    @property
    def days(self) -> int:
        """The number of days from the first to the last one."""
        return (self.last - self.first).days + 1

    def index(self, day: date) -> int:
        """Give a day's place in a series."""
        return (day - self.first).days

    def our_events(self, key: Key) -> Iterator[Event]:
        """Give the events of a series that our detector has found."""
        return (event for event in self.events if event.key == key and event.detector == OURS)

    def is_missing(self, index: int) -> bool:
        """Tell whether there is no number of all users on a day."""
        return math.isnan(self.users[ALL].values[index])


class _Tables:
    """Reads tables of a folder.

    Attributes:
        damaged: rows that were left out so far.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged = 0

    def read(self, name: str, columns: Sequence[str], *, is_needed: bool = False) -> Iterator[Sequence[str]]:
        """Read the cells of some columns, row by row.

        Raises:
            ResultsError: if the file cannot be read or does not have the columns; if it is missing, only if it is
                needed.
        """
        path = self.folder / f"{name}.csv"
        try:
            with path.open(encoding="utf-8", errors="replace", newline="") as file:
                rows = csv.reader(file)
                header = next(rows, [])
                try:
                    places = [header.index(column) for column in columns]
                except ValueError:
                    names = ", ".join(columns)
                    raise ResultsError(
                        f"{path} does not have the columns {names}; run obfstats analyse again with the same --to"
                    ) from None
                for row in rows:
                    if len(row) == len(header):
                        yield [row[place] for place in places]
                    else:
                        self.damaged += 1
        except FileNotFoundError:
            if is_needed:
                raise ResultsError(
                    f"{path} is missing; give --from the folder that --to of obfstats analyse named"
                ) from None
        except OSError as error:
            raise ResultsError(f"cannot read {path}: {error.strerror}") from None
        except csv.Error as error:
            raise ResultsError(f"cannot read {path}: {error}") from None

    def parse(self, rows: Iterator[Sequence[str]], parse: Callable[[Sequence[str]], _Row]) -> Iterator[_Row]:
        """Parse rows; leave out and count those that cannot be parsed."""
        for row in rows:
            try:
                yield parse(row)
            except ValueError:
                self.damaged += 1


def read_results(folder: Path) -> Results:
    """Read the tables.

    Args:
        folder: what `--to` of `obfstats analyse` named.

    Raises:
        ResultsError: if they cannot be read.
    """
    tables = _Tables(folder)
    key_columns = ("date", "country", "transport")
    users = _read_rows(tables, "obfstats-users", (*key_columns, "users", "lower", "upper"), is_needed=True)
    expected = _read_rows(tables, "obfstats-expected", (*key_columns, "lower", "upper"))
    addresses = _read_rows(
        tables, "obfstats-clients", (*key_columns, "addresses", "addresses_lower", "addresses_upper")
    )
    bridges, breaks = {}, []
    for day, running, reporting, is_break in tables.parse(
        tables.read("obfstats-bridges", ("date", "running", "reporting", "series_break")), _parse_bridges
    ):
        bridges[day] = Bridges(running, reporting)
        if is_break:
            breaks.append(day)
    days = [day for row in (expected or users).values() for day in row[:: 3 if expected else 4]]
    last = int(max(days, default=0))
    first = max(int(min((day for row in users.values() for day in row[::4]), default=last)), last - _MAX_DAYS)
    spread_users = _spread(users, expected, first, last)
    if ALL not in spread_users:
        spread_users = {}
    event_columns = (*key_columns, "detector", "direction", "value", "expected_lower", "expected_upper", "annotations")
    note_columns = ("start", "end", "approximate", "places", "protocols", "description", "links")
    return Results(
        date.fromordinal(max(first, 1)),
        date.fromordinal(max(last, 1)),
        spread_users,
        _spread(addresses, {}, first, last),
        bridges,
        _first_of_each(sorted(breaks)),
        sorted(
            event
            for event in tables.parse(tables.read("obfstats-events", event_columns), _parse_event)
            if first <= event.date.toordinal() <= last
        ),
        sorted(
            tables.parse(tables.read("obfstats-annotations", note_columns), _parse_annotation),
            key=lambda annotation: annotation.start,
        ),
        tables.damaged,
    )


def _first_of_each(breaks: Sequence[date]) -> list[date]:
    """Leave out a break soon after another one: while bridges upgrade, half of the reports come and go."""
    kept: list[date] = []
    for day in breaks:
        if not kept or day - kept[-1] > _ONE_BREAK:
            kept.append(day)
    return kept


def clean(text: str, length: int) -> str:
    """Replace what is not to be seen in a text, and cut it."""
    text = _UNSEEN.sub("\ufffd", text)
    return text if len(text) <= length else text[: length - 1] + "…"


def _read_rows(
    tables: _Tables, name: str, columns: Sequence[str], *, is_needed: bool = False
) -> dict[Key, array[float]]:
    """Read numbers by day, country and transport: by series, one after the other, each row's day number first."""
    rows: dict[Key, array[float]] = defaultdict(lambda: array("d"))
    days: dict[str, int] = {}
    keys: dict[Key, Key] = {}
    for day, country, transport, *cells in tables.read(name, columns, is_needed=is_needed):
        try:
            if day not in days:
                days[day] = _parse_date(day).toordinal()
            numbers = [days[day], *_parse_interval(cells)]
            if (country, transport) not in keys:
                keys[country, transport] = clean(country, _MAX_NAME), clean(transport, _MAX_NAME)
        except ValueError:
            tables.damaged += 1
        else:
            rows[keys[country, transport]].extend(numbers)
    return rows


def _spread(
    rows: Mapping[Key, array[float]], expected: Mapping[Key, array[float]], first: int, last: int
) -> dict[Key, Series]:
    """Arrange rows by day, and write 0 where only other series have a number."""
    days = last - first + 1
    every = rows.get(ALL, array("d"))
    known = [int(day) - first for day in every[::4] if first <= day <= last]
    spread = {}
    for key, numbers in rows.items():
        columns = [array("d", [NONE]) * days for _ in range(5)]
        if key != ALL:
            for index in known:
                for column in columns[:3]:
                    column[index] = 0
        _fill(columns[:3], numbers, first, last)
        _fill(columns[3:], expected.get(key, array("d")), first, last)
        spread[key] = Series(*columns)
    return spread


def _fill(columns: Sequence[array[float]], numbers: array[float], first: int, last: int) -> None:
    width = len(columns) + 1
    for place in range(0, len(numbers), width):
        day = int(numbers[place])
        if first <= day <= last:
            for offset, column in enumerate(columns, place + 1):
                column[day - first] = numbers[offset]


def _parse_date(text: str) -> date:
    day = date.fromisoformat(text)
    if day.year not in _YEARS:
        raise ValueError("a date of another century")
    return day


def _parse_number(text: str) -> float:
    """Read a number; nothing is none."""
    if not text:
        return NONE
    number = float(text)
    if not 0 <= number <= _MAX_NUMBER:
        raise ValueError("not a number of users")
    return number


def _parse_interval(cells: Sequence[str]) -> list[float]:
    """Read a number with the ends of its interval, or two ends alone; an interval with one end is none."""
    numbers = [_parse_number(cell) for cell in cells]
    if any(math.isnan(number) for number in numbers):
        value, ends = numbers[:-2], numbers[-2:]
        return [*value, *(NONE for _ in ends)]
    return numbers


def _parse_bridges(row: Sequence[str]) -> tuple[date, float, float, bool]:
    day, running, reporting, is_break = row
    return _parse_date(day), _parse_number(running), _parse_number(reporting), is_break == "true"


def _parse_event(row: Sequence[str]) -> Event:
    day, country, transport, detector, direction, value, lower, upper, annotations = row
    if direction not in {"drop", "rise"}:
        raise ValueError("neither a drop nor a rise")
    if not (value and lower and upper):
        raise ValueError("an event without numbers")
    return Event(
        _parse_date(day),
        clean(country, _MAX_NAME),
        clean(transport, _MAX_NAME),
        clean(detector, _MAX_NAME),
        direction == "drop",
        _parse_number(value),
        _parse_number(lower),
        _parse_number(upper),
        clean(annotations, _MAX_TEXT),
    )


def _parse_annotation(row: Sequence[str]) -> Annotation:
    start, end, approximate, places, protocols, description, links = row
    return Annotation(
        _parse_date(start),
        _parse_date(end) if end else None,
        approximate == "true",
        frozenset(clean(place, _MAX_NAME) for place in places.split()),
        frozenset(clean(protocol, _MAX_NAME) for protocol in protocols.split()),
        clean(description, _MAX_TEXT),
        [clean(link, _MAX_TEXT) for link in links.split()],
    )
