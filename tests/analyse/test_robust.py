"""Our estimate of users, on simulated bridges whose truth is known."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bench.worlds import make_tables, open_tables
from obfstats.analyse.robust import BRIDGES_SCHEMA, USERS_SCHEMA, estimate_users
from obfstats.analyse.simulate import Blocking, Forgery, ManyInstances, Settings, World, round_up, simulate
from obfstats.analyse.store import SCHEMAS
from obfstats.analyse.transports import MAX_TRANSPORTS

if TYPE_CHECKING:
    from obfstats.analyse.fit import Floats
    from obfstats.analyse.robust import Tables

CALM = Settings(
    bridges=120,
    users=2_400,
    days=35,
    noise=0.0,
    trend=0.0,
    churn=0.0,
    restarts=0.0,
    silent=0.0,
    lost_reports=0.0,
    missing_statuses=0.0,
    unreachable=0.0,
    countries=("ru", "ir", "us", "de"),
    country_shares=(0.66, 0.3, 0.03, 0.01),
)
LIVELY = dataclasses.replace(
    CALM, noise=0.15, trend=0.3, churn=0.003, restarts=0.02, silent=0.05, lost_reports=0.02, unreachable=0.02
)

INNER = slice(1, -1)
"""Days that are not the archive's first or last, which reports cover only in part."""


def estimate(world: World, *, transports: bool = False, without: str = "") -> Tables:
    """Estimate all days of a world, perhaps without one of its tables."""
    tables = make_tables(world, transports=transports)
    if without:
        tables[without] = SCHEMAS[without].empty_table()
    return estimate_users(open_tables(tables), range(world.first_day, world.first_day + world.settings.days))


def column(tables: Tables, name: str, country: str = "", transport: str = "") -> Floats:
    """Give a column of one cell by day."""
    rows = tables.users.to_pylist()
    return np.array([row[name] for row in rows if (row["country"], row["transport"]) == (country, transport)])


def test_without_any_disturbance_the_total_is_exact() -> None:
    """Where every bridge reports, only the rounding is left, and it cancels out over many bridges."""
    world = simulate(CALM)
    tables = estimate(world)
    assert column(tables, "users")[INNER] == pytest.approx(world.truth()[INNER], rel=0.04)
    assert column(tables, "users")[INNER].sum() == pytest.approx(world.truth()[INNER].sum(), rel=0.003)


def test_rounding_is_undone_in_small_countries() -> None:
    """A country with one or two requests a bridge is not three times as large as it is."""
    world = simulate(CALM)
    tables = estimate(world)
    published = round_up(world.requests("de")).sum(axis=0) / 10
    truth = world.truth("de")[INNER].sum()
    assert published[INNER].sum() > 2 * truth
    assert column(tables, "users", "de")[INNER].sum() == pytest.approx(truth, rel=0.06)


def test_intervals_hold_the_truth() -> None:
    """Over some worlds with noise and missing reports, about nine of ten intervals hold; bench/coverage.py has more."""
    hits = []
    for seed in range(6):
        world = simulate(dataclasses.replace(LIVELY, seed=seed))
        tables = estimate(world)
        for country in ("", "ru", "us", "de"):
            lower, upper = column(tables, "lower", country), column(tables, "upper", country)
            truth = world.truth(country)
            hits.append(((lower <= truth) & (truth <= upper))[INNER].mean())
    assert 0.8 <= np.mean(hits) <= 0.99


def test_a_sudden_change_is_not_smeared() -> None:
    """Reports end at any second of the day; the day on which a country is blocked is told from the day before."""
    world = simulate(dataclasses.replace(CALM, blockings=(Blocking("ir", 20, 8, 0.9),)))
    users = column(estimate(world), "users", "ir")
    truth = world.truth("ir")
    assert users[19] == pytest.approx(truth[19], rel=0.1)
    assert users[20] == pytest.approx(truth[20], abs=0.05 * truth[19])


def test_bridges_that_report_nothing_are_predicted() -> None:
    """A third of the bridges is silent; the total has them, and says which part of it was predicted."""
    world = simulate(dataclasses.replace(CALM, silent=0.33))
    tables = estimate(world)
    users, predicted = column(tables, "users")[INNER], column(tables, "predicted")[INNER]
    assert users.sum() == pytest.approx(world.truth()[INNER].sum(), rel=0.15)
    assert 0.2 < predicted.sum() / users.sum() < 0.45


def test_without_statuses_nothing_is_predicted() -> None:
    """What ran is not known then; the numbers are those of the reports, and `running` is null."""
    tables = estimate(simulate(LIVELY), without="statuses")
    assert column(tables, "predicted").max() == 0
    assert tables.bridges["running"].null_count == len(tables.bridges)


def test_many_instances_of_one_fingerprint_all_count() -> None:
    """A bridge of eight instances has 60 % of all users, and they are counted."""
    world = simulate(dataclasses.replace(CALM, many=(ManyInstances(8, 0.6),)))
    users = column(estimate(world), "users")
    assert users[INNER].sum() == pytest.approx(world.truth()[INNER].sum(), rel=0.01)


@pytest.mark.parametrize(("requests", "fourfold_days"), [(5_000, 0), (100_000, 14)])
def test_forgers_move_no_total_much(requests: int, fourfold_days: int) -> None:
    """One forger in a hundred, all at once or as a slow ramp, moves neither the total nor its country by 10 %."""
    settings = dataclasses.replace(CALM, bridges=200, users=4_000, days=84)
    quiet = estimate(simulate(dataclasses.replace(settings, forgeries=(Forgery(2, "us", 20, 0),))))
    forged = estimate(
        simulate(dataclasses.replace(settings, forgeries=(Forgery(2, "us", 20, requests, fourfold_days),)))
    )
    for country in ("", "us"):
        before, after = column(quiet, "users", country), column(forged, "users", country)
        assert after[INNER] == pytest.approx(before[INNER], rel=0.1)
    assert column(forged, "capped").max() > 10 * column(quiet, "capped").max()
    assert forged.bridges["capped_bridges"].to_pylist()[82] >= 2


def test_transports_add_up_to_the_total() -> None:
    """Requests are divided among transports: their numbers add up, and each is near its truth."""
    world = simulate(CALM)
    tables = estimate(world, transports=True)
    sums = np.sum([column(tables, "users", transport=name) for name in world.transports], axis=0)
    assert sums[INNER] == pytest.approx(column(tables, "users")[INNER], rel=0.03)
    truth = world.truth(transport="obfs4")[INNER]
    assert column(tables, "users", transport="obfs4")[INNER].sum() == pytest.approx(truth.sum(), rel=0.05)


def test_invented_transports_take_no_place_of_real_ones() -> None:
    """Forged bridges name hundreds of transports: those that most reports have are estimated, and no more."""
    world = simulate(CALM)
    tables = make_tables(world, transports=True)
    invented = tables["cells"].filter(pc.equal(tables["cells"]["line"], "transports")).slice(0, 200)
    names = pa.array([f"a{number}" for number in range(200)])
    forged = invented.set_column(invented.schema.get_field_index("key"), "key", names)
    tables["cells"] = pa.concat_tables([tables["cells"], forged.cast(SCHEMAS["cells"])])
    users = estimate_users(open_tables(tables), range(world.first_day, world.first_day + world.settings.days)).users
    found = set(users["transport"].to_pylist())
    assert {"", *world.transports} <= found
    # Days are estimated in three blocks.
    assert len(found) <= 3 * MAX_TRANSPORTS


def test_the_break_of_the_published_series_is_marked_once() -> None:
    """Bridges upgrade to a tor that writes served=: our total goes on, and the day of the break is marked."""
    world = simulate(dataclasses.replace(CALM, served_first=0.1, served_last=0.9))
    tables = estimate(world)
    assert column(tables, "users")[INNER].sum() == pytest.approx(world.truth()[INNER].sum(), rel=0.03)
    breaks = tables.bridges["series_break"].to_pylist()
    assert breaks.count(True) == 1
    share = tables.bridges["served_share"].to_pylist()
    assert share[breaks.index(True)] >= 0.5 > share[breaks.index(True) - 1]
    completed = tables.bridges["completed_share"].to_pylist()
    assert completed[-2] == pytest.approx(0.92, abs=0.04)


def test_days_can_be_estimated_one_by_one() -> None:
    """A day has the same numbers, whether it is estimated with all others or alone."""
    world = simulate(LIVELY)
    query = open_tables(make_tables(world, transports=False))
    days = range(world.first_day, world.first_day + world.settings.days)
    together = estimate_users(query, days)
    alone = estimate_users(query, [world.first_day + 20])
    date = alone.users["date"][0]
    same = together.users.filter(pa.compute.equal(together.users["date"], date))
    assert alone.users.select(["country", "transport"]) == same.select(["country", "transport"])
    for name in ("users", "lower", "upper"):
        assert alone.users[name].to_numpy() == pytest.approx(same[name].to_numpy(), rel=1e-6, abs=1e-9)


def test_wrong_clocks_do_not_stretch_the_archive() -> None:
    """Single reports of other decades add no days, and do not make what follows the archive's first fortnight."""
    world = simulate(dataclasses.replace(CALM, bridges=110))
    tables = make_tables(world, transports=False)
    rows = tables["reports"].slice(0, 2).to_pylist()
    for row, day in zip(rows, (300, 40_000), strict=True):
        row |= {"report": -day, "day": day, "stats_end": day * 86_400 + 5, "published": day * 86_400 + 6}
    strange = pa.concat_tables([tables["reports"], pa.Table.from_pylist(rows, SCHEMAS["reports"])])
    days = [*range(world.first_day, world.first_day + world.settings.days), 300, 40_000]
    with_them = estimate_users(open_tables(tables | {"reports": strange}), days)
    assert with_them.users == estimate_users(open_tables(tables), days).users


def test_an_empty_archive_gives_empty_tables() -> None:
    """No report, no number."""
    query = open_tables({name: SCHEMAS[name].empty_table() for name in ("reports", "cells", "statuses")})
    tables = estimate_users(query, range(20_000, 20_010))
    assert tables.users == USERS_SCHEMA.empty_table()
    assert tables.bridges == BRIDGES_SCHEMA.empty_table()
