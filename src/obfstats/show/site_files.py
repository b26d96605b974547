"""The files of the public site beside its pages: their paths, and CSV with the numbers of each picture."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from obfstats.formats.spreadsheet import escape_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from obfstats.show.results import Event, Key, Results, Series

_COUNTRY = re.compile("[a-z]{2}")
_TRANSPORT = re.compile("[a-zA-Z_][a-zA-Z0-9_]{0,63}")
_SPECIAL: Final = {("??", ""): "country/unknown", ("", "<OR>"): "transport/no-transport", ("", ""): "total"}

Cell = str | float
"""Of CSV; NaN is an empty one."""


def path_of(key: Key) -> str:
    """Give the path of a series' files, without its ending. Names that are no ordinary ones become a digest."""
    country, transport = key
    if key in _SPECIAL:
        return _SPECIAL[key]
    if not transport and _COUNTRY.fullmatch(country):
        return f"country/{country}"
    if not country and _TRANSPORT.fullmatch(transport):
        return f"transport/{transport}"
    digest = sha256(f"{country}\n{transport}".encode()).hexdigest()[:16]
    return f"{'transport' if transport else 'country'}/other-{digest}"


def parse_url(text: str) -> str:
    """Read the address of a site; give it with a slash at its end.

    Raises:
        ValueError: if it is none.
    """
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not text.isascii() or not text.isprintable():
        raise ValueError("not an address such as https://example.org/bridges/")
    if parts.query or parts.fragment or " " in text:
        raise ValueError("an address with a query, a fragment or a space cannot be that of a folder")
    return f"{text.rstrip('/')}/"


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """Write a table. No cell is a formula for a spreadsheet."""
    lines = [",".join(columns)]
    lines += (",".join(map(_write_cell, row)) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def write_series(results: Results, series: Series, key: Key | None, unit: str) -> bytes:
    """Write all days of a series: its numbers, what was expected, and our detector's events. Missing days are empty.

    Args:
        results: which it is of.
        series: its numbers.
        key: of its events; None if it has none.
        unit: the name of the column of its numbers.
    """
    events = {} if key is None else {event.date: event for event in results.our_events(key)}
    days = [results.first + timedelta(days=index) for index in range(results.days)]
    names = [("drop" if events[day].is_drop else "rise") if day in events else "" for day in days]
    if key is None:
        rows = zip(map(str, days), series.values, series.lower, series.upper, strict=True)
        return write_csv(["date", unit, "lower", "upper"], rows)
    columns = ["date", unit, "lower", "upper", "expected_lower", "expected_upper", "event"]
    return write_csv(columns, zip(map(str, days), *series.columns(), names, strict=True))


def write_events(events: Iterable[Event]) -> bytes:
    """Write the events of both detectors, as analyse has them."""
    columns = [
        "date",
        "country",
        "transport",
        "detector",
        "direction",
        "value",
        "expected_lower",
        "expected_upper",
        "annotations",
    ]
    return write_csv(
        columns,
        (
            [
                str(event.date),
                event.country,
                event.transport,
                event.detector,
                "drop" if event.is_drop else "rise",
                event.value,
                event.expected_lower,
                event.expected_upper,
                event.annotations,
            ]
            for event in events
        ),
    )


def _write_cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return escape_text(cell)
    return "" if math.isnan(cell) or math.isinf(cell) else f"{cell:.3f}".rstrip("0").rstrip(".")
