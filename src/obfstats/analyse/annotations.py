"""Annotations: what is known to have happened, from a file with the columns of Tor's metrics-timeline.

    start,end,places,protocols,description,links
    2026-03-01,ongoing,ir,obfs4 meek,Providers block most bridges.,https://example.org/report
    ~2026-03-04,,,,The archive has no descriptors of two hours.,

The file is CSV, or text with such a table in Markdown, as metrics-timeline has it (columns `start date`, `end date`).
More columns are allowed.

- Dates are UTC. `~` in front marks an approximate one; a time of day may follow. No end: the entry is about one day.
  `ongoing`: it has not ended.
- Places are country codes in lower case, separated by spaces; none is everywhere.
- Protocols are `relay`, `bridge`, `onion` or names of transports, separated by spaces; none is all.
- A damaged line is left out and reported with its number. Its text is never repeated.
"""

from __future__ import annotations

import csv
import re
from datetime import date, timedelta
from io import StringIO
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

COLUMNS: Final = ("start", "end", "places", "protocols", "description", "links")

SLACK: Final = timedelta(days=3)
"""How far an event may be from what an annotation explains. People and detectors notice a change late."""

APPROXIMATE_SLACK: Final = timedelta(days=10)
"""The same for an approximate date."""

_SHORT: Final = timedelta(days=31)
"""An annotation that lasts longer explains events at its start and at its end only."""

_ALIASES: Final = {"start date": "start", "end date": "end"}
_DATE = re.compile(r"(~?) *([0-9]{4}-[0-9]{2}-[0-9]{2})(?: [0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?")
_PLACE = re.compile(r"[a-z][a-z0-9]|\?\?")
_PROTOCOL = re.compile(r"[A-Za-z0-9_.<>?-]{1,64}")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_SEPARATOR = re.compile(r"[|:\- ]+")


class AnnotationsError(ValueError):
    """A file has no table of annotations. The text is one sentence for the operator."""


class Annotation(NamedTuple):
    """One entry.

    Attributes:
        start: its first day.
        end: its last day; None if it is ongoing.
        is_approximate: whether one of them is.
        places: country codes; none is everywhere.
        protocols: `relay`, `bridge`, `onion`, transports; none is all.
        description: what happened.
        links: as in the file.
    """

    start: date
    end: date | None
    is_approximate: bool
    places: tuple[str, ...]
    protocols: tuple[str, ...]
    description: str
    links: str


class Damage(NamedTuple):
    """A line that is left out.

    Attributes:
        line: its number, counted from 1.
        reason: what is wrong with it.
    """

    line: int
    reason: str


def load_annotations(path: Path, warn: Callable[[str], None]) -> list[Annotation]:
    """Read a file, and report its damaged lines.

    Args:
        path: of the file.
        warn: gets one sentence for the operator if lines are damaged.

    Raises:
        AnnotationsError: if it cannot be read, or has no table of annotations.
    """
    try:
        annotations, damage = read_annotations(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise AnnotationsError(f"cannot read {path}: {error.strerror}") from None
    except AnnotationsError as error:
        raise AnnotationsError(f"{path}: {error}") from None
    if damage:
        first = damage[0]
        warn(f"{path}: {len(damage)} lines are damaged and left out, the first is line {first.line}: {first.reason}")
    return annotations


def read_annotations(text: str) -> tuple[list[Annotation], list[Damage]]:
    """Read a file.

    Args:
        text: the whole file.

    Returns:
        The entries in the order of the file, and the damaged lines.

    Raises:
        AnnotationsError: if no line of it names the columns.
    """
    text = text.removeprefix("\ufeff")
    annotations: list[Annotation] = []
    damage: list[Damage] = []
    columns: list[str] = []
    is_csv = set(COLUMNS) <= set(_read_header(text.partition("\n")[0].split(",")))
    for line, cells in _split_csv(text) if is_csv else _split_markdown(text):
        header = _read_header(cells)
        if set(COLUMNS) <= set(header):
            columns = header
        elif cells and columns:
            try:
                annotations.append(_read_entry(columns, cells))
            except ValueError as error:
                damage.append(Damage(line, str(error)))
    if not columns:
        raise AnnotationsError(f"no line names the columns: {','.join(COLUMNS)}")
    return annotations, damage


def _read_header(cells: Iterable[str]) -> list[str]:
    names = [cell.strip().strip('"').lower() for cell in cells]
    return [_ALIASES.get(name, name) for name in names]


def _split_csv(text: str) -> Iterator[tuple[int, list[str]]]:
    """Split lines of CSV into cells; a line that is none gives one cell."""
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader)
        except csv.Error:
            yield line, [""]
        except StopIteration:
            return


def _split_markdown(text: str) -> Iterator[tuple[int, list[str]]]:
    """Split the lines of Markdown's tables into cells."""
    for line, row in enumerate(text.split("\n"), 1):
        cells = row.strip()
        if cells.startswith("|") and not _SEPARATOR.fullmatch(cells):
            cells = cells.removeprefix("|").removesuffix("|")
            yield line, [cell.replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", cells)]


def _read_entry(columns: Sequence[str], cells: Sequence[str]) -> Annotation:
    """Read a line's cells.

    Raises:
        ValueError: if they are no entry; its text is the reason.
    """
    if len(cells) != len(columns):
        raise ValueError("not as many columns as the header names")
    entry = {column: " ".join(cell.split()) for column, cell in zip(columns, cells, strict=True)}
    if not all(cell.isprintable() for cell in entry.values()):
        raise ValueError("not printable")
    start, is_start_approximate = _read_date(entry["start"])
    end: date | None = start
    is_end_approximate = False
    if entry["end"].lower() == "ongoing":
        end = None
    elif entry["end"]:
        end, is_end_approximate = _read_date(entry["end"])
    if end is not None and end < start:
        raise ValueError("it ends before it starts")
    places, protocols = tuple(entry["places"].split()), tuple(entry["protocols"].split())
    if not all(_PLACE.fullmatch(place) for place in places):
        raise ValueError("a place is not a country code in lower case")
    if not all(_PROTOCOL.fullmatch(protocol) for protocol in protocols):
        raise ValueError("a protocol is not a name")
    if not entry["description"]:
        raise ValueError("it has no description")
    description = _LINK.sub(r"\1", entry["description"])
    is_approximate = is_start_approximate or is_end_approximate
    return Annotation(start, end, is_approximate, places, protocols, description, entry["links"])


def _read_date(text: str) -> tuple[date, bool]:
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError("a date is not YYYY-MM-DD")
    try:
        return date.fromisoformat(match[2]), bool(match[1])
    except ValueError:
        raise ValueError("a date does not exist") from None


def find_annotations(annotations: Iterable[Annotation], day: date, country: str, transport: str) -> list[Annotation]:
    """Find what may explain a change of bridge users.

    Args:
        annotations: all entries.
        day: the day of the change.
        country: a code; empty for all countries. An entry about some countries does not explain a change of all.
        transport: its name; empty for all transports. An entry about a transport may explain a change of all.
    """
    return [
        annotation
        for annotation in annotations
        if _is_near(annotation, day)
        and (not annotation.places or country in annotation.places)
        and _is_about(annotation.protocols, transport)
    ]


def _is_near(annotation: Annotation, day: date) -> bool:
    slack = APPROXIMATE_SLACK if annotation.is_approximate else SLACK
    start, end = annotation.start, annotation.end
    if abs(day - start) <= slack or (end is not None and abs(day - end) <= slack):
        return True
    return end is not None and start <= day <= end <= start + _SHORT


def _is_about(protocols: Sequence[str], transport: str) -> bool:
    if not protocols or "bridge" in protocols:
        return True
    return transport in protocols or (not transport and bool(set(protocols) - {"relay", "onion"}))
