"""The published estimate gives Tor Metrics' own numbers."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.analyse.engine import DuckDbEngine
from obfstats.analyse.outputs import to_csv
from obfstats.analyse.published import affected_days, compute_fracs, estimate_published, round_estimates
from obfstats.analyse.published_sums import sum_responses
from tests.analyse.literal import DAY, WEEK, estimate_literally
from tests.analyse.stores import GOLDEN, GOLDEN_DAYS, write_store

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.analyse.published_sums import PublishedSums
    from obfstats.analyse.store import Store

FIRST = 20_000
Rows = list[dict[str, Any]]


# Golden


def test_userstats_are_those_of_tor_metrics(engine: DuckDbEngine, golden_store: Store) -> None:
    """Every row, in the same order, written with the same bytes."""
    tables = estimate_published(engine, golden_store, GOLDEN_DAYS)
    assert to_csv(tables.userstats, empty='""') == (GOLDEN / "estimated.csv").read_bytes()


def test_combined_numbers_are_those_of_tor_metrics(engine: DuckDbEngine, golden_store: Store) -> None:
    """The same for countries by transports."""
    tables = estimate_published(engine, golden_store, GOLDEN_DAYS)
    assert to_csv(tables.combined) == (GOLDEN / "combined.csv").read_bytes()


@pytest.mark.parametrize("length", [3, 35])
def test_days_do_not_depend_on_each_other(engine: DuckDbEngine, golden_store: Store, length: int) -> None:
    """An archive is estimated in chunks of days; their length changes nothing."""
    whole = estimate_published(engine, golden_store, GOLDEN_DAYS)
    engine.days_at_once = length
    chunks = estimate_published(engine, golden_store, GOLDEN_DAYS)
    assert chunks == whole


def test_only_the_days_asked_for_are_estimated(engine: DuckDbEngine, golden_store: Store) -> None:
    """They have the rows that they have among all days, though their reports end on other days too."""
    days = [20_514, 20_515, 20_520]
    some = estimate_published(engine, golden_store, days).userstats.to_pylist()
    every = estimate_published(engine, golden_store, GOLDEN_DAYS).userstats.to_pylist()
    dates = {date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 8)}
    assert some == [row for row in every if row["date"] in dates]


def test_an_empty_store_gives_empty_tables(engine: DuckDbEngine, tmp_path: Path) -> None:
    """With the same columns."""
    tables = estimate_published(engine, write_store(tmp_path), range(FIRST, FIRST + 3))
    nothing = estimate_published(engine, write_store(tmp_path), [])
    assert to_csv(tables.userstats) == to_csv(nothing.userstats) == b"date,node,country,transport,version,frac,users\n"
    assert to_csv(tables.combined) == to_csv(nothing.combined)
    assert tables.userstats.schema == nothing.userstats.schema


def test_a_changed_day_concerns_the_day_before() -> None:
    """A report has seconds of the day that it ends on and of the one before."""
    assert affected_days([FIRST, FIRST + 5]) == {FIRST - 1, FIRST, FIRST + 4, FIRST + 5}


# Against the rules taken literally


FINGERPRINTS = st.sampled_from(["A" * 40, "B" * 40])
DAYS = st.integers(FIRST, FIRST + 2)
# Few moments, so that intervals often touch, overlap or repeat.
SECONDS = st.sampled_from([0, 1, 3_600, 30_000, 43_200, 43_201, 80_000])
NUMBERS = st.sampled_from([0, 3, 4, 5, 8, 16, 24, 64])


@st.composite
def reports(draw: st.DrawFn) -> tuple[Rows, Rows]:
    """Reports and their cells."""
    rows: Rows = []
    cells: Rows = []
    for number in range(draw(st.integers(0, 8))):
        day, second = draw(DAYS), draw(SECONDS)
        end = day * DAY + second
        rows.append(
            {
                "report": number,
                "day": day,
                "fingerprint": draw(FINGERPRINTS),
                "nickname": "Unnamed",
                "published": end + draw(st.sampled_from([60, 3_600, WEEK, WEEK + 1])),
                "stats_end": end,
                "stats_seconds": draw(st.sampled_from([DAY, DAY, DAY, DAY - 1])),
                "ok": draw(st.one_of(st.none(), st.integers(0, 100), st.just(2**31 - 1))),
                "has_requests": draw(st.booleans()),
            }
        )
        for line, keys in (
            ("requests", ("??", "de", "ir")),
            ("ips", ("??", "de", "ir")),
            ("transports", ("<OR>", "obfs4", "=x")),
            ("versions", ("v4", "v6")),
        ):
            for key in draw(st.sets(st.sampled_from(keys))):
                cells.append({"report": number, "day": day, "line": line, "key": key, "number": draw(NUMBERS)})
    return rows, cells


@st.composite
def histories(draw: st.DrawFn) -> Rows:
    """Values of dirreq-write-history."""
    rows: Rows = []
    for _ in range(draw(st.integers(0, 12))):
        day = draw(DAYS)
        end = day * DAY + draw(SECONDS)
        rows.append(
            {
                "day": day,
                "fingerprint": draw(FINGERPRINTS),
                "nickname": "Unnamed",
                "published": end + draw(st.sampled_from([60, WEEK, WEEK + 1])),
                "history_end": end,
                "start_time": end - draw(st.sampled_from([900, 14_400, DAY])),
                "end_time": end,
                "bytes": draw(st.integers(0, 10**12)),
            }
        )
    return rows


STATUSES = st.lists(
    st.fixed_dictionaries({"day": DAYS, "fingerprint": FINGERPRINTS, "hours": st.integers(0, 2**24 - 1)}), max_size=6
)


def sums_as_dictionaries(sums: PublishedSums) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Responses and combined numbers by what they are of, in whole numbers instead of tenths."""
    responses = {
        (row["day"], row["country"], row["transport"], row["version"]): row["rrx"] / 10
        for row in sums.responses.to_pylist()
    }
    combined = {
        (row["day"], row["country"], row["transport"]): (row["low"] / 10, row["high"] / 10)
        for row in sums.combined.to_pylist()
    }
    return responses, combined


@given(reported=reports(), written=histories(), statuses=STATUSES, length=st.sampled_from([2, 4]))
@settings(max_examples=40)
def test_sums_are_those_of_the_rules_taken_literally(
    tmp_path_factory: pytest.TempPathFactory, reported: tuple[Rows, Rows], written: Rows, statuses: Rows, length: int
) -> None:
    """Also for twins, repeated and overlapping intervals, and intervals that end at midnight."""
    rows, cells = reported
    folder = tmp_path_factory.mktemp("rows")
    store = write_store(folder, reports=rows, cells=cells, histories=written, statuses=statuses)
    engine = DuckDbEngine(folder)
    engine.days_at_once = length
    sums = sum_responses(engine, store, range(FIRST - 1, FIRST + 3))
    engine.close()
    literal = estimate_literally(rows, cells, written, statuses)
    responses, combined = sums_as_dictionaries(sums)
    assert responses == pytest.approx(literal.responses, rel=1e-9)
    assert combined.keys() == literal.combined.keys()
    for key, numbers in literal.combined.items():
        assert combined[key] == pytest.approx(numbers, rel=1e-9, abs=1e-6)
    assert compute_fracs(sums) == pytest.approx(literal.fracs, rel=1e-9)
    assert len(round_estimates(sums).userstats) <= len(literal.responses)
