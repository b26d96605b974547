"""The table of events."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from obfstats.analyse.annotations import Annotation
from obfstats.analyse.events import (
    ANNOTATIONS_SCHEMA,
    EVENTS_SCHEMA,
    EXPECTED_SCHEMA,
    find_events,
    find_our_events,
    find_tor_events,
    make_annotations_table,
)
from obfstats.analyse.tor_detector import CLIENTS_CSV_SCHEMA, add_ranges

FIRST = date(2026, 1, 1)
COUNTRIES = ["br", "by", "cn", "de", "eg", "fr", "ir", "ru", "tm", "us"]


def make_users(seed: int = 1, days: int = 60, blocked: int = 10) -> np.ndarray[Any, Any]:
    """Ten countries; Iran, the seventh, is blocked from day 40 on."""
    users = np.random.default_rng(seed).poisson(1000, (days, len(COUNTRIES))).astype(float)
    users[40 : 40 + blocked, 6] *= 0.3
    return users


def make_estimate(users: np.ndarray[Any, Any]) -> Any:
    """Our estimate, with the total."""
    rows = [
        {"date": FIRST + timedelta(day), "country": country, "transport": "", "users": number}
        for day, numbers in enumerate(users)
        for country, number in zip(["", *COUNTRIES], [np.nansum(numbers), *numbers], strict=True)
    ]
    for row in rows:
        row |= {"lower": row["users"] * 0.95, "upper": row["users"] * 1.05}
    return pa.Table.from_pylist(rows).cast(
        pa.schema(
            [("date", pa.date32()), ("country", pa.string()), ("transport", pa.string())]
            + [(name, pa.float64()) for name in ("users", "lower", "upper")]
        )
    )


def make_published(users: np.ndarray[Any, Any], node: str = "bridge") -> Any:
    """The published estimate."""
    rows = [
        {
            "date": FIRST + timedelta(day),
            "node": node,
            "country": COUNTRIES[country],
            "transport": "",
            "version": "",
            "frac": 90,
            "users": int(number),
        }
        for (day, country), number in np.ndenumerate(users)
    ]
    return pa.Table.from_pylist(rows)


@pytest.mark.parametrize(("blocked", "rises"), [(10, (50, 51)), (3, (47, 44))])
def test_both_detectors_find_a_blocking(blocked: int, rises: tuple[int, int]) -> None:
    """Both find its start and its end; of a short one Tor's sees, instead of the end, an echo seven days later."""
    users = make_users(blocked=blocked)
    events, _ = find_events(add_ranges(make_published(users)), make_estimate(users), [])
    assert events.schema.equals(EVENTS_SCHEMA)
    found = {
        (event["detector"], event["direction"], (event["date"] - FIRST).days, event["country"])
        for event in events.to_pylist()
    }
    of_tor, ours = rises
    assert found == {
        ("tor", "drop", 40, "ir"), ("tor", "rise", of_tor, "ir"),
        ("obfstats", "drop", 41, "ir"), ("obfstats", "rise", ours, "ir"),
    }  # fmt: skip
    drop = next(event for event in events.to_pylist() if event["detector"] == "obfstats")
    assert drop["value"] < drop["expected_lower"] < drop["expected_upper"]


def test_annotations_are_joined_by_place_and_time() -> None:
    """The descriptions of all that fit, separated by semicolons."""
    users = make_users()
    known = [
        Annotation(FIRST + timedelta(40), None, False, ("ir",), (), "Iran blocks.", ""),
        Annotation(FIRST + timedelta(41), None, False, (), (), "Everywhere.", ""),
        Annotation(FIRST + timedelta(41), None, False, ("cn",), (), "China blocks.", ""),
    ]
    events = find_events(add_ranges(make_published(users)), make_estimate(users), known)[0].to_pylist()
    drops = {(event["detector"], event["annotations"]) for event in events if event["direction"] == "drop"}
    assert ("obfstats", "Iran blocks.; Everywhere.") in drops
    assert not any("China" in text for _, text in drops)


def test_a_run_of_days_outside_of_tors_range_is_one_event() -> None:
    """The first day counts; relays are not bridges."""
    users = make_users()
    tables = [make_published(users), make_published(users, "relay")]
    clients = add_ranges(pa.concat_tables(tables))
    drops = [event for event in find_tor_events(clients).to_pylist() if event["direction"] == "drop"]
    assert [(event["country"], event["date"]) for event in drops] == [("ir", FIRST + timedelta(40))]


def test_tables_without_rows_have_no_events() -> None:
    """An archive of a day has no published estimate yet."""
    empty = make_estimate(make_users()).slice(0, 0)
    assert [len(table) for table in find_events(CLIENTS_CSV_SCHEMA.empty_table(), empty, [])] == [0, 0]


def test_later_days_and_new_countries_do_not_change_past_events() -> None:
    """The rows of the first days are the same as on the evening of the last of them."""
    users = make_users()
    users[:45, 2] = np.nan
    estimate = make_estimate(users)
    estimate = estimate.filter(pa.compute.invert(pa.compute.is_nan(estimate["users"])))
    on_that_day = estimate.filter(pa.compute.less(estimate["date"], pa.scalar(FIRST + timedelta(45))))
    at_the_end, early = find_our_events(estimate), find_our_events(on_that_day)
    past = at_the_end.filter(pa.compute.less(at_the_end["date"], pa.scalar(FIRST + timedelta(45))))
    assert past.to_pylist() == early.to_pylist()
    assert len(past)


def test_what_was_expected_is_written_for_each_number() -> None:
    """A row for each number, so that it can be drawn; none is expected of a series without a past."""
    users = make_users()
    _, expected = find_events(add_ranges(make_published(users)), make_estimate(users), [])
    assert expected.schema.equals(EXPECTED_SCHEMA)
    assert len(expected) == 60 * 11
    rows = {((row["date"] - FIRST).days, row["country"]): (row["lower"], row["upper"]) for row in expected.to_pylist()}
    assert rows[0, "ir"] == (None, None)
    lower, upper = rows[40, "ir"]
    assert users[40, 6] < lower < users[39, 6] < upper
    assert upper - lower < 800


def test_annotations_become_a_table() -> None:
    """In the order of their start; no end means ongoing."""
    known = [
        Annotation(FIRST, FIRST, True, (), (), "Everywhere.", ""),
        Annotation(FIRST - timedelta(1), None, False, ("ir", "tm"), ("obfs4",), "Blocked.", "https://example.org/"),
    ]
    table = make_annotations_table(known)
    assert table.schema.equals(ANNOTATIONS_SCHEMA)
    assert table.to_pylist()[0] == {
        "start": FIRST - timedelta(1),
        "end": None,
        "approximate": False,
        "places": "ir tm",
        "protocols": "obfs4",
        "description": "Blocked.",
        "links": "https://example.org/",
    }
