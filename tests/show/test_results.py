"""The tables of analyse are read: numbers by day, zeros, missing days, damage."""

from __future__ import annotations

import math
import os
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

from obfstats.show.results import ALL, ResultsError, clean, read_results
from tests.show.tables import LAST, Tables, add_users, make_tables

if TYPE_CHECKING:
    from pathlib import Path


def test_numbers_are_arranged_by_day(tmp_path: Path) -> None:
    """From the first day to the last one that the detector has looked at; later days are incomplete."""
    tables = make_tables(10)
    tables.add("obfstats-users", str(LAST + timedelta(days=1)), "", "", 1, 1, 1)
    results = read_results(tables.write(tmp_path))
    assert (results.first, results.last, results.days) == (LAST - timedelta(days=9), LAST, 10)
    series = results.users["ru", ""]
    assert len(series.values) == 10
    assert all(
        lower < value < upper for value, lower, upper in zip(series.values, series.lower, series.upper, strict=True)
    )
    assert results.addresses["ir", "obfs4"].values[0] == 77
    assert results.bridges[LAST] == (200, 190)


def test_zeros_are_not_missing_days(tmp_path: Path) -> None:
    """Where all users have a number, a country without one has 0; where they have none, the day is missing."""
    tables = Tables()
    for day, users in ((1, {"": 50.0, "de": 50.0}), (2, {"": 60.0}), (4, {"": 70.0, "de": 70.0})):
        for country, number in users.items():
            add_users(tables, date(2026, 1, day), (country, ""), number)
    results = read_results(tables.write(tmp_path))
    assert list(results.users["de", ""].values[:2]) == [50, 0]
    assert [results.is_missing(index) for index in range(4)] == [False, False, True, False]
    assert math.isnan(results.users["de", ""].values[2])


def test_older_results_have_no_expected_ranges(tmp_path: Path) -> None:
    """Only the table of users is needed: without the others there is less to show."""
    make_tables(10).write(tmp_path)
    for name in ("expected", "annotations", "events", "clients", "bridges"):
        (tmp_path / f"obfstats-{name}.csv").unlink()
    results = read_results(tmp_path)
    assert results.last == LAST
    assert math.isnan(results.users[ALL].expected_lower[-1])
    assert not results.events


def test_a_break_is_one_though_half_of_the_reports_come_and_go(tmp_path: Path) -> None:
    """Analyse marks each day on which the share passes one half."""
    tables = Tables()
    for day in range(1, 5):
        add_users(tables, date(2026, 1, day), ALL, 1)
        tables.add("obfstats-bridges", f"2026-01-0{day}", 1, 1, 0.5, 1, 0, 0, "true" if day in {2, 4} else "false")
    assert read_results(tables.write(tmp_path)).breaks == [date(2026, 1, 2)]


@pytest.mark.parametrize(
    "row",
    [
        ("2026-13-01", "de", "", 1, 1, 1),
        ("1026-01-01", "de", "", 1, 1, 1),
        (str(LAST), "de", "", "nan", 1, 1),
        (str(LAST), "de", "", "inf", 1, 1),
        (str(LAST), "de", "", -1, 1, 1),
        (str(LAST), "de", "", "=1+1", 1, 1),
        (str(LAST), "de", "", "1e300", 1, 1),
    ],
)
def test_a_damaged_row_is_left_out_and_counted(tmp_path: Path, row: tuple[str | float, ...]) -> None:
    """The others are read."""
    tables = make_tables(3)
    tables.add("obfstats-users", *row)
    results = read_results(tables.write(tmp_path))
    assert results.damaged == 1
    assert results.days == 3


def test_unusual_bytes_are_read(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, and a row that is cut off."""
    make_tables(3).write(tmp_path)
    with (tmp_path / "obfstats-events.csv").open("ab") as file:
        file.write(b"2026-11-28,\xff\xfe,,obfstats,drop,1,2,3,\x00\x1b[31m\n2026-11-28,de")
    results = read_results(tmp_path)
    assert results.damaged == 1
    assert results.events[-1].annotations == "\ufffd\ufffd[31m"


def test_text_is_cleaned() -> None:
    """Control characters and those that turn the direction of writing are replaced; other scripts stay."""
    assert clean("a\u202eb\x00c", 10) == "a\ufffdb\ufffdc"
    assert clean("ایران می\u200cشود", 20) == "ایران می\u200cشود"
    assert clean("x" * 11, 10) == "x" * 9 + "…"


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A folder of something else, a table of something else, a folder in place of a file."""
    with pytest.raises(ResultsError, match=r"obfstats-users\.csv is missing"):
        read_results(tmp_path)
    make_tables(3).write(tmp_path)
    (tmp_path / "obfstats-users.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ResultsError, match="does not have the columns date, country"):
        read_results(tmp_path)
    (tmp_path / "obfstats-users.csv").unlink()
    (tmp_path / "obfstats-users.csv").mkdir()
    with pytest.raises(ResultsError, match=os.strerror(21)):
        read_results(tmp_path)


def test_an_annotation_is_about_places_and_transports(tmp_path: Path) -> None:
    """As analyse joins annotations to events; only web addresses are links."""
    (annotation,) = read_results(make_tables(40).write(tmp_path)).annotations
    assert annotation.is_about(("ir", ""))
    assert not annotation.is_about(("ru", ""))
    assert not annotation.is_about(ALL)
    assert annotation.web_links == [("https://example.org/report", "example.org")]
    of_obfs4 = annotation._replace(places=frozenset(), protocols=frozenset(["obfs4"]))
    assert [of_obfs4.is_about(key) for key in (ALL, ("", "obfs4"), ("", "meek"))] == [True, True, False]
    of_relays = annotation._replace(places=frozenset(), protocols=frozenset(["relay"]))
    assert not of_relays.is_about(ALL)
