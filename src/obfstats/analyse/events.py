"""The table of events: what both detectors find, with the annotations that may explain it.

- `tor`: Tor Metrics' detector on the published estimate. An event is a number outside of its range; of consecutive days
  in the same direction the first one counts.
- `obfstats`: ours on our estimate (detector.py), for countries, transports and the total.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from obfstats.analyse.annotations import find_annotations
from obfstats.analyse.detector import DEFAULT, detect_changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from obfstats.analyse.annotations import Annotation
    from obfstats.analyse.detector import Settings

TOR: Final = "tor"
OBFSTATS: Final = "obfstats"
DROP: Final = "drop"
RISE: Final = "rise"

EVENTS_SCHEMA: Final = pa.schema(
    [
        pa.field("date", pa.date32()),
        pa.field("country", pa.string()),  # empty: all
        pa.field("transport", pa.string()),  # empty: all
        pa.field("detector", pa.string()),  # tor or obfstats
        pa.field("direction", pa.string()),  # drop or rise
        pa.field("value", pa.int64()),  # users
        pa.field("expected_lower", pa.int64()),
        pa.field("expected_upper", pa.int64()),
        pa.field("annotations", pa.string()),  # descriptions, separated by semicolons
    ]
)
"""The columns of the table of events."""

EXPECTED_SCHEMA: Final = pa.schema(
    [
        pa.field("date", pa.date32()),
        pa.field("country", pa.string()),  # empty: all
        pa.field("transport", pa.string()),  # empty: all
        pa.field("lower", pa.int64()),  # null where the series has no past
        pa.field("upper", pa.int64()),
    ]
)
"""The columns of the table of what our detector expected: a row for each number that it has looked at."""

ANNOTATIONS_SCHEMA: Final = pa.schema(
    [
        pa.field("start", pa.date32()),
        pa.field("end", pa.date32()),  # null: ongoing
        pa.field("approximate", pa.bool_()),
        pa.field("places", pa.string()),  # separated by spaces; empty: all
        pa.field("protocols", pa.string()),  # separated by spaces; empty: all
        pa.field("description", pa.string()),
        pa.field("links", pa.string()),
    ]
)
"""The columns of the table of annotations."""

_SORT_ORDER: Final = [(name, "ascending") for name in ("date", "country", "transport", "detector", "direction")]


class _Series(NamedTuple):
    """The rows of a table by day and series.

    Attributes:
        keys: country and transport of each series.
        first: the first day's number.
        days: the row's day, counted from the first one.
        columns: the row's series.
    """

    keys: list[tuple[str, str]]
    first: int
    days: NDArray[np.int64]
    columns: NDArray[np.int64]

    def spread(self, column: pa.ChunkedArray) -> NDArray[np.float64]:
        """Arrange a column's numbers as [day, series]; NaN where there is none."""
        numbers = np.full((int(self.days.max(initial=-1)) + 1, len(self.keys)), np.nan)
        numbers[self.days, self.columns] = column.cast(pa.float64()).fill_null(np.nan).to_numpy()
        return numbers


def find_events(clients: pa.Table, users: pa.Table, annotations: Sequence[Annotation]) -> tuple[pa.Table, pa.Table]:
    """Find the events of both detectors and join what may explain them.

    Args:
        clients: the published estimate with ranges (`tor_detector.add_ranges`); only bridges are looked at.
        users: our estimate: date, country, transport, users, lower, upper.
        annotations: what is known to have happened.

    Returns:
        The events, with the columns of `EVENTS_SCHEMA`, and what our detector expected, with those of
        `EXPECTED_SCHEMA`; both sorted by date.
    """
    ours, expected = _detect(users, DEFAULT)
    events = pa.concat_tables([find_tor_events(clients), ours]).sort_by(_SORT_ORDER)
    return join_annotations(events, annotations), expected


def find_tor_events(clients: pa.Table) -> pa.Table:
    """Find numbers of bridge users that are outside of Tor Metrics' ranges.

    Args:
        clients: as `tor_detector.add_ranges` gives it.
    """
    table = clients.filter(pc.and_(pc.equal(clients["node"], "bridge"), pc.is_valid(clients["lower"])))
    series = _split(table)
    users, lower, upper = (series.spread(table[name]) for name in ("clients", "lower", "upper"))
    begins = []
    for outside in (users < lower, users > upper):
        outside[1:] &= ~outside[:-1]
        begins.append(outside)
    return _make_events(series, TOR, begins, users, (lower, upper))


def find_our_events(users: pa.Table, settings: Settings = DEFAULT) -> pa.Table:
    """Run our detector.

    Args:
        users: date, country, transport (at most one of the two is given), users, and the ends of its 90 % interval,
            lower and upper.
        settings: what is assumed.

    Returns:
        The events without annotations, with the columns of `EVENTS_SCHEMA`.
    """
    return _detect(users, settings)[0]


def make_annotations_table(annotations: Sequence[Annotation]) -> pa.Table:
    """Make the table of annotations, for those who draw them."""
    rows = [
        {
            "start": annotation.start,
            "end": annotation.end,
            "approximate": annotation.is_approximate,
            "places": " ".join(annotation.places),
            "protocols": " ".join(annotation.protocols),
            "description": annotation.description,
            "links": annotation.links,
        }
        for annotation in sorted(annotations, key=lambda annotation: annotation.start)
    ]
    return pa.Table.from_pylist(rows, ANNOTATIONS_SCHEMA)


def _detect(users: pa.Table, settings: Settings) -> tuple[pa.Table, pa.Table]:
    """Run our detector.

    Returns:
        The events without annotations, and what was expected.
    """
    series = _split(users)
    numbers, lower, upper = (series.spread(users[name]) for name in ("users", "lower", "upper"))
    countries = np.flatnonzero([bool(country) for country, _ in series.keys])
    found = detect_changes(numbers, lower, upper, [countries], settings)
    expected = np.floor(found.lower), np.ceil(found.upper)
    ends = [
        pa.array(numbers[series.days, series.columns], from_pandas=True).cast(pa.int64(), safe=False)
        for numbers in expected
    ]
    rows = pa.table([users["date"], users["country"], users["transport"], *ends], schema=EXPECTED_SCHEMA)
    return _make_events(series, OBFSTATS, (found.drops, found.rises), numbers, expected), rows


def join_annotations(events: pa.Table, annotations: Sequence[Annotation]) -> pa.Table:
    """Fill the column `annotations`."""
    texts = [
        "; ".join(
            annotation.description
            for annotation in find_annotations(annotations, event["date"], event["country"], event["transport"])
        )
        for event in events.select(["date", "country", "transport"]).to_pylist()
    ]
    return events.set_column(events.schema.get_field_index("annotations"), "annotations", pa.array(texts, pa.string()))


def _split(table: pa.Table) -> _Series:
    """Number the series of a table in the order of their names."""
    names = list(zip(table["country"].to_pylist(), table["transport"].to_pylist(), strict=True))
    keys = sorted(set(names))
    numbers = {key: number for number, key in enumerate(keys)}
    days = table["date"].cast(pa.int32()).to_numpy().astype(np.int64)
    first = int(days.min()) if len(days) else 0
    return _Series(keys, first, days - first, np.array([numbers[name] for name in names], dtype=np.int64))


def _make_events(
    series: _Series,
    detector: str,
    begins: Sequence[NDArray[np.bool_]],
    users: NDArray[np.float64],
    expected: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> pa.Table:
    """Make rows of the days on which drops and rises begin."""
    tables = []
    for direction, begin in zip((DROP, RISE), begins, strict=True):
        days, columns = np.nonzero(begin)
        rows = {
            "date": pa.array((series.first + days).astype(np.int32)).cast(pa.date32()),
            "country": [series.keys[column][0] for column in columns],
            "transport": [series.keys[column][1] for column in columns],
            "detector": [detector] * len(days),
            "direction": [direction] * len(days),
            "value": np.rint(users[begin]).astype(np.int64),
            "expected_lower": expected[0][begin].astype(np.int64),
            "expected_upper": expected[1][begin].astype(np.int64),
            "annotations": [""] * len(days),
        }
        tables.append(pa.table(rows, schema=EVENTS_SCHEMA))
    return pa.concat_tables(tables).sort_by(_SORT_ORDER)
