"""From the tables to arrays: who ran, who reported and what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from bench.worlds import open_tables
from obfstats.analyse.days import DAY
from obfstats.analyse.panel import affected_days, load_panel, plan_blocks
from obfstats.analyse.store import SCHEMAS

if TYPE_CHECKING:
    import numpy as np

    from obfstats.analyse.panel import Panel

FIRST = 20_000
"""Number of the first day of these tests."""

NOON = DAY // 2
ALL_DAY = (1 << 24) - 1


def report(number: int, fingerprint: str, day: int, second: int = NOON, **changes: Any) -> dict[str, Any]:
    """Make a report of the 24 hours that end at a second of a day, with 16 requests."""
    end = (FIRST + day) * DAY + second
    row = {
        "report": number,
        "source": 1,
        "day": end // DAY,
        "fingerprint": fingerprint,
        "nickname": "one",
        "published": end + 60,
        "stats_end": end,
        "stats_seconds": DAY,
        "ok": 16,
        "served": None,
        "has_requests": True,
        "bridge_end": end,
        "bridge_seconds": DAY,
    }
    return row | changes


def cell(number: int, day: int, key: str, value: int, line: str = "requests") -> dict[str, Any]:
    """Make a cell of a report."""
    return {"report": number, "source": 1, "day": FIRST + day, "line": line, "key": key, "number": value}


def status(fingerprint: str, day: int, hours: int = ALL_DAY) -> dict[str, Any]:
    """Make a day of a bridge in the statuses."""
    return {"source": 1, "day": FIRST + day, "fingerprint": fingerprint, "hours": hours}


def load(
    reports: list[dict[str, Any]],
    cells: list[dict[str, Any]] | None = None,
    statuses: list[dict[str, Any]] | None = None,
    days: int = 5,
) -> Panel:
    """Load the panel of so many days."""
    rows = {"reports": reports, "cells": cells or [], "statuses": statuses or []}
    query = open_tables({name: pa.Table.from_pylist(rows[name], SCHEMAS[name]) for name in rows})
    return load_panel(query, FIRST, FIRST + days - 1)


def covered(panel: Panel) -> np.ndarray[Any, Any]:
    """Give the share of each instance's days that reports cover."""
    return panel.window(0, panel.days - 1)[0].covered


def test_a_report_covers_parts_of_two_days() -> None:
    """A report that ends at 06:00 covers a quarter of its day and three quarters of the day before."""
    panel = load([report(1, "A", 2, DAY // 4)])
    assert covered(panel).tolist() == [[0, 0.75, 0.25, 0, 0]]


def test_a_report_that_ends_at_midnight_covers_one_day() -> None:
    """24 hours that end at midnight are the day before."""
    panel = load([report(1, "A", 3, 0)])
    assert covered(panel).tolist() == [[0, 0, 1, 0, 0]]


def test_a_repeated_descriptor_counts_once() -> None:
    """Of two descriptors of the same interval, the last published one counts."""
    later = report(1, "A", 2, ok=24, published=(FIRST + 3) * DAY)
    panel = load([later, report(2, "A", 2)], [cell(1, 2, "de", 24), cell(2, 2, "de", 16)])
    assert panel.total.tolist() == [24]
    assert panel.countries.numbers.tolist() == [24]


def test_an_interval_that_overlaps_the_one_before_is_left_out() -> None:
    """A day is not counted twice; the interval after the overlapping one counts again."""
    panel = load([report(1, "A", 1), report(2, "A", 1, NOON + 3600), report(3, "A", 2), report(4, "B", 1, NOON + 60)])
    assert panel.day.tolist() == [1, 2, 1]
    assert covered(panel).max() == 1


@pytest.mark.parametrize("change", [{"stats_seconds": 3600}, {"ok": None}, {"published": (FIRST + 10) * DAY}])
def test_odd_reports_are_left_out(change: dict[str, Any]) -> None:
    """Other intervals than 24 hours, reports without responses, and such as were published after a week."""
    assert len(load([report(1, "A", 1, **change)]).day) == 0


def test_served_counts_where_it_is_written() -> None:
    """The total is what was served, which `ok` meant before; what was completed is kept beside it."""
    panel = load([report(1, "A", 1, ok=8, served=24), report(2, "B", 1)])
    assert panel.total.tolist() == [24, 16]
    assert panel.completed.tolist() == [8, -1]


def test_instances_of_a_fingerprint_are_told_apart() -> None:
    """Two instances report the same day, and both are expected while the bridge is listed."""
    reports = [report(number, "A", number % 2 + 1, nickname=f"snow{number // 2}") for number in range(4)]
    panel = load(reports, statuses=[status("A", day) for day in range(5)])
    assert panel.nicknames == ["snow0", "snow1"]
    assert panel.running.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]


def test_a_new_nickname_is_no_second_instance() -> None:
    """Where one instance follows the other, the bridge is expected to run once."""
    reports = [report(1, "A", 1, nickname="old"), report(2, "A", 3, nickname="new")]
    panel = load(reports, statuses=[status("A", day) for day in range(5)])
    assert panel.running.sum(axis=0).tolist() == [1, 1, 1, 1, 1]


def test_a_bridge_that_never_reports_is_expected() -> None:
    """A fingerprint of the statuses without a report is an instance with nothing but missing reports."""
    panel = load([report(1, "A", 1)], statuses=[status("A", 1), status("B", 1)])
    window, _ = panel.window(0, 4)
    assert panel.fingerprints == ["A", "B"]
    assert window.missing[:, 1].tolist() == [0.5, 1.0]


def test_hours_without_a_status_say_nothing() -> None:
    """Running is a share of the hours that have a status, of whatever bridge; a day without one has none missing."""
    half = (1 << 12) - 1
    panel = load([report(1, "A", 1)], statuses=[status("A", 1, 0b111111), status("B", 1, half)])
    assert panel.running[:, 1].tolist() == [0.5, 1.0]
    assert panel.has_status.tolist() == [False, True, False, False, False]
    assert panel.running[:, 0].tolist() == [0, 0]


def test_cells_are_sorted_by_name_and_absent_ones_are_zero() -> None:
    """Numbers are kept by cell; a number of 0 and cells of other reports take no place."""
    cells = [cell(1, 1, "us", 8), cell(2, 2, "de", 16), cell(1, 1, "de", 24), cell(2, 2, "fr", 0), cell(9, 2, "it", 8)]
    panel = load([report(1, "A", 1), report(2, "A", 2)], cells)
    assert list(panel.countries.places) == ["de", "us"]
    place = panel.countries.places["de"]
    assert dict(zip(panel.countries.reports[place].tolist(), panel.countries.numbers[place].tolist(), strict=True)) == {
        0: 24,
        1: 16,
    }


def test_an_empty_store_is_an_empty_panel() -> None:
    """Nothing read is nothing there."""
    panel = load([])
    assert panel.fingerprints == []
    assert panel.window(0, 4)[0].covered.shape == (0, 5)


def test_a_block_learns_from_four_weeks() -> None:
    """Every day is in one block, with 28 days to learn from where the archive has them."""
    blocks = plan_blocks(range(100), 10, 94)
    days = [day for block in blocks for day in range(block.first, block.last + 1)]
    assert days == list(range(10, 95))
    for block in blocks:
        assert block.window_last - block.window_first == 27
        assert block.window_first <= block.first <= block.last <= block.window_last


def test_a_changed_day_affects_the_blocks_that_learn_from_it() -> None:
    """Whoever learns from a changed day is estimated again."""
    for changed in range(40, 60):
        affected = affected_days([changed])
        for block in plan_blocks(range(200), 0, 199):
            if block.window_first - 1 <= changed <= block.window_last + 1:
                assert set(range(block.first, block.last + 1)) <= affected
