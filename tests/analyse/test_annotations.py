"""Annotations: CSV, the table of metrics-timeline, damaged lines, and which events they explain."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.analyse.annotations import (
    COLUMNS,
    Annotation,
    AnnotationsError,
    Damage,
    find_annotations,
    read_annotations,
)

HEADER = ",".join(COLUMNS) + "\n"

TIMELINE = """\
# Timeline

What may affect the graphs of Tor Metrics.

|start date|end date|places|protocols|description|links|?|
|----------|--------|------|---------|-----------|-----|-|
|2018-03-07|2018-03-15|lk||Sri Lanka blocks [some](https://example.org/) services.|[graph](https://example.org/a)| |
|~2019-10-01 12:00:00|ongoing|cn tm|obfs4 <OR>|a \\| b||X|
"""


def find(text: str, day: str, country: str = "", transport: str = "") -> list[str]:
    """The descriptions of the entries that may explain an event."""
    found = find_annotations(read_annotations(HEADER + text)[0], date.fromisoformat(day), country, transport)
    return [annotation.description for annotation in found]


def test_csv_is_read_by_the_names_of_its_columns() -> None:
    """Columns may come in any order and more of them may be there; cells may hold commas."""
    text = 'description,links,note,start,end,places,protocols\n"Blocked, mostly.",,x,2026-03-01,2026-03-09,ir,bridge\n'
    expected = Annotation(date(2026, 3, 1), date(2026, 3, 9), False, ("ir",), ("bridge",), "Blocked, mostly.", "")
    assert read_annotations(text) == ([expected], [])


def test_the_table_of_metrics_timeline_is_read() -> None:
    """Approximate dates, times of day, open ends, links in descriptions, escaped bars."""
    annotations, damage = read_annotations(TIMELINE)
    assert damage == []
    assert annotations == [
        Annotation(
            date(2018, 3, 7), date(2018, 3, 15), False, ("lk",), (), "Sri Lanka blocks some services.",
            "[graph](https://example.org/a)",
        ),
        Annotation(date(2019, 10, 1), None, True, ("cn", "tm"), ("obfs4", "<OR>"), "a | b", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2026-03-01,,ir,,x", "not as many columns as the header names"),
        ("March,,ir,,x,", "a date is not YYYY-MM-DD"),
        ("2026-02-30,,ir,,x,", "a date does not exist"),
        (",,ir,,x,", "a date is not YYYY-MM-DD"),
        ("2026-03-02,2026-03-01,ir,,x,", "it ends before it starts"),
        ("2026-03-01,,IR,,x,", "a place is not a country code in lower case"),
        ("2026-03-01,,ir,obfs4;meek,x,", "a protocol is not a name"),
        ("2026-03-01,,ir,,,", "it has no description"),
        ("2026-03-01,,ir,,\x1b[2J,", "not printable"),
        ('2026-03-01,,ir,,"x"y,', "not as many columns as the header names"),
    ],
)
def test_a_damaged_line_is_named_and_the_others_are_read(line: str, reason: str) -> None:
    """The file is not refused for one line."""
    annotations, damage = read_annotations(f"{HEADER}2026-01-01,,,,before,\n{line}\n2026-01-02,,,,after,\n")
    assert damage == [Damage(3, reason)]
    assert [annotation.description for annotation in annotations] == ["before", "after"]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "# Title\n\nNo table.\n", "\0"])
def test_a_file_without_the_columns_is_refused(text: str) -> None:
    """It is probably another file."""
    with pytest.raises(AnnotationsError, match="start,end,places,protocols,description,links"):
        read_annotations(text)


WORDS = st.text(st.sampled_from("abcXYZ .,\"'é"), min_size=1, max_size=20).filter(lambda text: bool(text.strip()))
DAYS = st.dates(date(2000, 1, 1), date(2099, 1, 1))


@given(DAYS, st.none() | st.integers(0, 400), st.lists(st.sampled_from(("ir", "cn", "??"))), WORDS, WORDS)
def test_what_is_written_is_read(
    start: date, days: int | None, places: list[str], description: str, links: str
) -> None:
    """Every entry that csv can write."""
    end = None if days is None else start + timedelta(days)
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(COLUMNS)
    rows.writerow((start, end or "ongoing", " ".join(places), "", description, links))
    expected = Annotation(start, end, False, tuple(places), (), " ".join(description.split()), " ".join(links.split()))
    assert read_annotations(out.getvalue()) == ([expected], [])


@given(st.text(st.sampled_from('|-,"\n\r~2016 onging\\[]()ir:\0é')) | st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    """Any text after a header is entries and damaged lines, each on a line that exists."""
    for header in (HEADER, f"|{'|'.join(COLUMNS)}|\n"):
        annotations, damage = read_annotations(header + text)
        lines = text.count("\n") + text.count("\r") + 2
        assert len(annotations) + len(damage) <= lines
        assert all(1 < line <= lines for line, _ in damage)


def test_an_entry_explains_events_near_its_start_and_its_end() -> None:
    """Three days of slack; what lasts for months does not explain everything that happens in between."""
    short = "2026-03-10,2026-03-20,ir,,short,\n"
    assert [bool(find(short, day, "ir")) for day in ("2026-03-06", "2026-03-07", "2026-03-15", "2026-03-23")] == [
        False, True, True, True,
    ]  # fmt: skip
    long = "2026-03-10,2026-06-20,ir,,long,\n"
    assert [bool(find(long, day, "ir")) for day in ("2026-03-12", "2026-05-01", "2026-06-18", "2026-06-24")] == [
        True, False, True, False,
    ]  # fmt: skip
    assert find("2026-03-10,ongoing,ir,,x,\n", "2026-03-12", "ir")
    assert not find("2026-03-10,ongoing,ir,,x,\n", "2026-05-12", "ir")
    assert find("~2026-03-10,,ir,,x,\n", "2026-03-20", "ir")


def test_an_entry_without_places_explains_events_everywhere() -> None:
    """One with places explains those of its countries, and never a change of all countries."""
    entries = "2026-03-10,,,,everywhere,\n2026-03-10,,ir tm,,there,\n"
    assert find(entries, "2026-03-10", "ir") == ["everywhere", "there"]
    assert find(entries, "2026-03-10", "de") == ["everywhere"]
    assert find(entries, "2026-03-10", "") == ["everywhere"]


def test_an_entry_about_a_transport_explains_that_transport_and_the_sum() -> None:
    """Entries about relays say nothing about bridges."""
    entries = "2026-03-10,,,obfs4,obfs4,\n2026-03-10,,,bridge,bridge,\n2026-03-10,,,relay onion,relay,\n"
    assert find(entries, "2026-03-10", transport="obfs4") == ["obfs4", "bridge"]
    assert find(entries, "2026-03-10", transport="snowflake") == ["bridge"]
    assert find(entries, "2026-03-10") == ["obfs4", "bridge"]
