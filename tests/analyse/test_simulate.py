"""A simulated world keeps its promises: the truth is exact, and every setting does what it says."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from obfstats.analyse.simulate import (
    PLAIN,
    Blocking,
    Forgery,
    ManyInstances,
    Settings,
    World,
    discrete_laplace,
    round_up,
    simulate,
)

SMALL = Settings(bridges=40, days=20, users=4_000, countries=("ru", "ir", "??"), seed=3)
CALM = replace(SMALL, noise=0, weekly=0, trend=0, churn=0, restarts=0, silent=0, lost_reports=0, affinity=0)


def everything(world: World) -> list[bytes]:
    """All that a world says, as bytes."""
    arrays = [world.transport, world.documents, world.epsilon, world.hours, world.served, world.report_end]
    arrays += [world.report_requests(code) for code in world.countries]
    arrays += [world.report_connections(code) for code in world.countries]
    arrays += [world.requests(code, name) for code in world.countries for name in world.transports]
    return [array.tobytes() for array in arrays] + [str((world.first_day, world.bridge.tolist())).encode()]


def test_the_same_settings_give_the_same_world() -> None:
    """Numbers do not depend on the order in which they are asked for; another seed gives other ones."""
    first, second = simulate(SMALL), simulate(SMALL)
    second.addresses("??")
    second.truth()
    assert everything(first) == everything(second)
    assert everything(first) != everything(simulate(replace(SMALL, seed=4)))


CHANGED: dict[str, Any] = {
    "bridges": 41,
    "days": 21,
    "first_day": SMALL.first_day.replace(day=2),
    "seed": 4,
    "users": 5_000.0,
    "countries": ("ru", "ir", "us"),
    "country_shares": (0.1, 0.1, 0.8),
    "zipf": 2.0,
    "transports": (("obfs4", 0.5), (PLAIN, 0.5)),
    "plain": 0.5,
    "sizes": "pareto",
    "size_shape": 2.0,
    "affinity": 0.0,
    "noise": 0.5,
    "weekly": 0.5,
    "daily": 0.0,
    "trend": 0.0,
    "churn": 0.1,
    "restarts": 0.5,
    "silent": 0.5,
    "lost_reports": 0.5,
    "missing_statuses": 0.5,
    "unreachable": 0.5,
    "served_first": 0.5,
    "served_last": 0.5,
    "addresses_per_request": 0.9,
    "documents": 1.0,
    "noisy_documents": 1.0,
    "epsilon": 2.0,
    "blockings": (Blocking("ir", 10, 3, 1.0),),
    "forgeries": (Forgery(1, "ir", 5, 500),),
    "many": (ManyInstances(3, 0.5),),
}
ONLY_IN_FILES = {"incomplete", "repeats", "second_statuses"}


@pytest.mark.parametrize("name", [field.name for field in fields(Settings) if field.name not in ONLY_IN_FILES])
def test_every_setting_has_an_effect(name: str) -> None:
    """A setting that is changed changes the world."""
    assert everything(simulate(replace(SMALL, **{name: CHANGED[name]}))) != everything(simulate(SMALL))


def test_users_are_as_many_as_the_settings_say() -> None:
    """Without trends and churn the total and each country's share are those of the settings."""
    world = simulate(CALM)
    assert world.truth() == pytest.approx(np.full(20, 4_000.0), rel=0.05)
    assert world.truth("ru").mean() == pytest.approx(4_000 * 6 / 11, rel=0.05)


@pytest.mark.parametrize("transport", ["", "obfs4", PLAIN])
def test_the_truth_adds_up(transport: str) -> None:
    """Countries add up to the total, bridges to the truth, transports to the country."""
    world = simulate(replace(SMALL, many=(ManyInstances(3, 0.2),)))
    total = sum(world.truth(code, transport) for code in world.countries)
    assert world.truth("", transport) == pytest.approx(total)
    assert world.truth("ir", transport) == pytest.approx(world.requests("ir", transport).sum(axis=0) / 10)
    parts = sum(world.requests("ir", name) for name in world.transports)
    assert np.array_equal(world.requests("ir"), parts)


def test_reports_contain_each_request_once() -> None:
    """Where nothing is lost, reports of 24 hours hold all requests between the ends of the first and the last."""
    world = simulate(CALM)
    assert (world.report_end >= 0).all()
    assert world.reported.all()
    daily, reports = world.requests("ru").sum(axis=1), world.report_requests("ru").sum(axis=1)
    # Shifted by what the first day's report has of the day before, and the next report of the last day.
    assert np.abs(daily - reports).max() < 0.2 * daily.max()
    assert abs(daily.sum() - reports.sum()) < 0.01 * daily.sum()
    inner = world.report_requests("ru")[:, 1:-1].sum(axis=1)
    assert (inner <= daily).all()


def test_a_restart_loses_the_interval_and_moves_its_end() -> None:
    """After a restart the report of that interval is missing and the next ones end at another second."""
    world = simulate(replace(CALM, restarts=0.05, daily=0.0, bridges=200))
    restarted = [
        (instance, day)
        for instance, end in enumerate(world.report_end.tolist())
        for day in range(1, 19)
        if end[day] == -1 and end[day - 1] >= 0 and end[day + 1] >= 0
    ]
    assert len(restarted) > 20
    assert all(
        world.report_end[instance, day + 1] != world.report_end[instance, day - 1] for instance, day in restarted
    )
    assert not any(world.reported[instance, day] for instance, day in restarted)
    assert all(world.report_requests("ru")[instance, day] == 0 for instance, day in restarted)
    assert sum(world.requests("ru")[instance, day] for instance, day in restarted) > 0


def test_whole_days_are_reported_only_by_two_reports() -> None:
    """A day counts as reported where a report ends on it and the next one on the following day at the same second."""
    world = simulate(replace(SMALL, restarts=0.2))
    ends, reported = world.report_end, world.reported
    instance, day = np.nonzero(reported[:, :-1])
    assert len(day) > 100
    assert (ends[instance, day] >= 0).all()
    assert np.array_equal(ends[instance, day], ends[instance, day + 1])
    assert not (reported & ~world.running).any()


def test_bridges_come_and_go() -> None:
    """With churn about as many run on each day; one that has gone does not come back and gets no requests."""
    world = simulate(replace(SMALL, churn=0.05, bridges=100))
    assert len(world.bridge) == pytest.approx(100 * (1 + 0.05 * 22), rel=0.2)
    assert (world.running.sum(axis=0) >= 100).all()
    assert not world.requests("ru")[~world.running].any()
    assert not world.hours[~world.running].any()
    changes = np.abs(np.diff(world.running.astype(int), axis=1)).sum(axis=1)
    assert changes.max() <= 2
    assert len(set(world.fingerprints)) == len(world.bridge)


def test_a_blocking_is_visible_where_and_when_it_is_said() -> None:
    """The share of requests is lost on its days in its country and transport, and nowhere else."""
    blocked = simulate(replace(CALM, blockings=(Blocking("ir", 5, 4, 0.9, "obfs4"),))).truth("ir", "obfs4")
    free = simulate(CALM).truth("ir", "obfs4")
    ratio = blocked / free
    assert ratio[5:9] == pytest.approx(np.full(4, 0.1), abs=0.04)
    assert ratio[:5] == pytest.approx(np.ones(5), abs=0.15)
    assert ratio[9:] == pytest.approx(np.ones(11), abs=0.15)
    other = simulate(replace(CALM, blockings=(Blocking("ir", 5, 4, 0.9, "obfs4"),)))
    assert np.array_equal(other.truth("ru"), simulate(CALM).truth("ru"))
    rise = simulate(replace(CALM, blockings=(Blocking("ir", 5, 4, -1.0),))).truth("ir")
    assert rise[5:9].mean() == pytest.approx(2 * rise[:5].mean(), rel=0.1)


def test_forgers_claim_what_is_said() -> None:
    """So many bridges claim so much from the day on, at once or in a slow ramp; the truth does not know of it."""
    honest = simulate(SMALL)
    at_once = simulate(replace(SMALL, forgeries=(Forgery(3, "ir", 4, 500),)))
    assert at_once.forgers.sum() == 3
    assert np.array_equal(at_once.claims("ir") == 500, at_once.forgers[:, np.newaxis] & (np.arange(20) >= 4))
    assert not at_once.claims("ru").any()
    with_claim = at_once.report_requests("ir")[at_once.forgers][:, 6:]
    assert (with_claim[with_claim > 0] >= 500).all()
    assert at_once.truth("ir").sum() == pytest.approx(honest.truth("ir").sum(), rel=0.2)
    ramp = simulate(replace(SMALL, forgeries=(Forgery(1, "ir", 2, 1_000, fourfold_days=7),))).claims("ir")[0]
    assert ramp.tolist()[:3] == [0, 0, 10]
    assert (ramp[9], ramp[16]) == (40, 160)
    long = simulate(replace(SMALL, days=60, forgeries=(Forgery(1, "ir", 2, 1_000, fourfold_days=7),))).claims("ir")[0]
    assert long[-1] == 1_000


def test_many_instances_share_a_fingerprint() -> None:
    """A bridge of several instances has one number and several nicknames, and the share of users that is said."""
    world = simulate(replace(CALM, many=(ManyInstances(4, 0.5),)))
    several = world.bridge == world.bridge[-1]
    assert several.sum() == 4
    assert len({world.nicknames[instance] for instance in np.nonzero(several)[0]}) == 4
    assert world.transports[world.transport[-1]] == "snowflake"
    assert world.requests("ru")[several].sum() == pytest.approx(world.requests("ru").sum() / 2, rel=0.05)


def test_noise_of_a_bridge_is_the_same_in_all_countries() -> None:
    """The log-sd of large numbers is that of the settings, and countries of a bridge move together."""
    world = simulate(replace(CALM, noise=0.3, bridges=30, days=60, users=300_000, sizes="lognormal", size_shape=0.1))
    logs = [np.log(world.requests(code)) for code in ("ru", "ir")]
    assert logs[0].std(axis=1).mean() == pytest.approx(0.3, rel=0.1)
    assert np.corrcoef(logs[0].ravel(), logs[1].ravel())[0, 1] > 0.9


def test_served_spreads_by_upgrades_that_restart_tor() -> None:
    """The share of instances with served= goes from the first to the last day's, and none goes back."""
    world = simulate(replace(CALM, served_first=0.1, served_last=0.9, bridges=400))
    share = world.served.mean(axis=0)
    assert share[[0, -1]] == pytest.approx([0.1, 0.9], abs=0.05)
    assert not (world.served[:, :-1] & ~world.served[:, 1:]).any()
    upgraded = np.nonzero(world.served[:, 1:] & ~world.served[:, :-1])
    assert not world.reported[upgraded[0], upgraded[1] + 1].any()


def test_silent_bridges_report_nothing() -> None:
    """The share of bridges that is said has no report and no documents, and still has users."""
    world = simulate(replace(CALM, silent=0.5, documents=1.0, bridges=200))
    is_silent = (world.report_end < 0).all(axis=1)
    assert is_silent.mean() == pytest.approx(0.5, abs=0.1)
    assert not world.documents[is_silent].any()
    assert world.requests("ru")[is_silent].sum() > 0


def test_addresses_and_connections_belong_to_requests() -> None:
    """There are never more addresses than requests or than connections, and they vary as the number of people does."""
    world = simulate(SMALL)
    requests, addresses = world.requests("ir", "obfs4"), world.addresses("ir", "obfs4")
    assert (addresses <= requests).all()
    assert addresses.sum() == pytest.approx(world.settings.addresses_per_request * requests.sum(), rel=0.05)
    assert (world.connections("ir", "obfs4") >= addresses).all()
    reports, report_addresses = world.report_requests("ir"), world.report_addresses("ir")
    assert (report_addresses <= reports).all()
    assert (world.report_connections("ir") >= report_addresses).all()


def test_rounding_is_tors() -> None:
    """0 stays 0, 1 to 8 become 8."""
    assert round_up([0, 1, 8, 9, 17]).tolist() == [0, 8, 8, 16, 24]


def test_discrete_laplace_has_its_variance() -> None:
    """The mean is 0 and the variance 2 q / (1 - q)^2 with q = exp(-epsilon)."""
    draws = discrete_laplace(np.random.default_rng(1), 0.5, 200_000)
    q = np.exp(-0.5)
    assert draws.mean() == pytest.approx(0, abs=0.05)
    assert draws.var() == pytest.approx(2 * q / (1 - q) ** 2, rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"country_shares": (1.0,)},
        {"forgeries": (Forgery(41, "ir", 0, 8),)},
        {"forgeries": (Forgery(1, "xx", 0, 8),)},
        {"blockings": (Blocking("xx", 0, 1, 1.0),)},
        {"blockings": (Blocking("ir", 0, 1, 1.0, "obfs9"),)},
        {"blockings": (Blocking("ir", -1, 1, 1.0),)},
        {"days": 10_001},
        {"many": (ManyInstances(2, 1.1),)},
        {"sizes": "zipf"},
    ],
    ids=str,
)
def test_contradictions_are_refused(wrong: dict[str, Any]) -> None:
    """Settings that contradict each other are an error with a reason."""
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        simulate(replace(SMALL, **wrong))
