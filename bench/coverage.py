"""How sure our estimate is: how often its 90 % intervals hold the truth, what forgers move, and what it costs.

Bridges are simulated with all that disturbs: churn, restarts, lost reports, silent bridges, rhythm and trend, reports
that end at any second of the day. The tables of the store go in, nothing of the truth does. A day's truth is the users
of all bridges that ran on it, requests / 10, whether or not they reported. An archive's first and last day are left
out: reports cover only a part of them.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc

from bench.report import main, progress
from bench.worlds import make_documents, make_tables, open_tables
from obfstats.analyse.clients import estimate_clients
from obfstats.analyse.robust import estimate_users
from obfstats.analyse.simulate import PLAIN, Forgery, Settings, simulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from obfstats.analyse.simulate import World

    Floats = NDArray[np.float64]

COUNTRIES = ("ru", "ir", "us", "de")
SHARES = (0.667, 0.3, 0.03, 0.003)
NAMES = {"": "total", "ir": "30 %", "us": "3 %", "de": "0.3 %"}
"""What is looked at: the total, a large, a small and a tiny country."""

SIZES = {"gamma": ("even sizes", 0.7), "lognormal": ("heavy tail", 1.5)}
NOISE = (0.0, 0.15, 0.5)
USERS_PER_BRIDGE = 20
DAYS = 42
DOCUMENT_BRIDGES = 300
EPSILON = 0.5
GOAL = (0.85, 0.95)
FORGERS = 10
FORGERY_DAY = 30


class Plan(NamedTuple):
    """How much to measure.

    Attributes:
        worlds: how many worlds of each case, by number of bridges.
        document_worlds: the same for documents.
        forgery_days: days of the worlds with forgers.
        timed_days: days of the world that is timed.
    """

    worlds: dict[int, int]
    document_worlds: int
    forgery_days: int
    timed_days: int


_DOCUMENT_NUMBERS = ("addresses", "connections")

_FULL = Plan({1_000: 20, 50: 60}, 20, 84, 84)
_QUICK = Plan({50: 6}, 2, 0, 0)


@dataclass
class Score:
    """One case and cell, over all its worlds.

    Attributes:
        hits: share of the days whose interval held the truth, a world each.
        biases: sum of the estimates to that of the truth, less 1, a world each.
        widths: width of the interval to the truth, a world each.
    """

    hits: list[float] = field(default_factory=list)
    biases: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)

    def add(self, truth: Floats, cell: Cell) -> None:
        """Add a world."""
        self.hits.append(float(((cell.lower <= truth) & (truth <= cell.upper)).mean()))
        self.biases.append(float(cell.users.sum() / truth.sum() - 1))
        self.widths.append(float((cell.upper - cell.lower).sum() / truth.sum()))

    def text(self) -> str:
        """Write coverage, bias and width; coverage out of its goal is bold."""
        coverage = float(np.mean(self.hits))
        shown = f"{coverage:.0%}" if GOAL[0] <= round(coverage, 2) <= GOAL[1] else f"**{coverage:.0%}**"
        return f"{shown}, {np.mean(self.biases):+.1%}, {np.mean(self.widths):.0%}"


class Cell(NamedTuple):
    """Columns of one cell by day."""

    users: Floats
    lower: Floats
    upper: Floats
    capped: Floats


def measure(plan: Plan) -> str:
    """Measure everything, and write the tables."""
    parts = [measure_coverage(plan), measure_documents(plan)]
    if plan.forgery_days:
        parts.append(measure_forgers(plan.forgery_days))
    if plan.timed_days:
        parts.append(measure_time(plan.timed_days))
    return "\n\n".join(parts)


def measure_coverage(plan: Plan) -> str:
    """Measure how often intervals hold, by number of bridges, sizes, noise and size of the country."""
    rows = [f"| bridges | sizes | noise | {' | '.join(NAMES.values())} |", "|---|---|---|" + "---|" * len(NAMES)]
    errors = []
    for bridges, worlds in plan.worlds.items():
        for sizes, (name, shape) in SIZES.items():
            for noise in NOISE:
                progress(f"{worlds} worlds of {bridges:,} bridges, {name}, noise {noise}")
                scores = {country: Score() for country in NAMES}
                first = len(rows) * 1_000
                # Cases share no seed: which bridges are silent is luck, and the same for all days of a world.
                for seed in range(first, first + worlds):
                    world = _simulate(bridges, DAYS, seed=seed, sizes=sizes, size_shape=shape, noise=noise)
                    cells = estimate(world)
                    for country, score in scores.items():
                        score.add(world.truth(country)[1:-1], cells[country])
                texts = " | ".join(score.text() for score in scores.values())
                rows.append(f"| {bridges:,} | {name} | {noise} | {texts} |")
                progress(rows[-1])
                errors += [float(np.std(score.hits) / np.sqrt(worlds)) for score in scores.values()]
    note = (
        "Each field: share of the days whose 90 % interval held the truth (goal 85 to 95 %; bold where it is missed), "
        "bias, width of the interval. Means of "
        + ", ".join(f"{worlds} worlds of {bridges:,} bridges" for bridges, worlds in plan.worlds.items())
        + f" and {DAYS} days; standard error of a coverage up to {max(errors):.1%}."
    )
    return "\n".join([*rows, "", note])


def measure_documents(plan: Plan) -> str:
    """Measure the same of addresses and connections, which come from our own documents, rounded or with noise."""
    rows = [f"| documents | noise | of | {' | '.join(NAMES.values())} |", "|---|---|---|" + "---|" * len(NAMES)]
    for kind, noisy in (("rounded", 0.0), (f"epsilon {EPSILON}", 1.0)):
        for noise in NOISE:
            progress(
                f"{plan.document_worlds} worlds of {DOCUMENT_BRIDGES} bridges with documents, {kind}, noise {noise}"
            )
            scores = {(of, country): Score() for of in _DOCUMENT_NUMBERS for country in NAMES}
            first = len(rows) * 1_000
            for seed in range(first, first + plan.document_worlds):
                settings = {"documents": 1.0, "noisy_documents": noisy, "epsilon": EPSILON, "noise": noise}
                world = _simulate(DOCUMENT_BRIDGES, DAYS, seed=seed, **settings)
                for of, cells in estimate_documents(world).items():
                    for country, cell in cells.items():
                        scores[of, country].add(_count_clients(world, of, country)[1:-1], cell)
            for of in _DOCUMENT_NUMBERS:
                if of == "connections" and noisy:
                    continue
                texts = " | ".join(scores[of, country].text() for country in NAMES)
                rows.append(f"| {kind} | {noise} | {of} | {texts} |")
                progress(rows[-1])
    note = (
        f"{plan.document_worlds} worlds of {DOCUMENT_BRIDGES} bridges, all of which write documents, and {DAYS} days."
    )
    return "\n".join([*rows, "", note])


def estimate_documents(world: World) -> dict[str, dict[str, Cell]]:
    """Estimate addresses and connections of a world; days but the first and the last."""
    days = range(world.first_day, world.first_day + world.settings.days)
    statuses = make_tables(world, transports=False)["statuses"]
    table = estimate_clients(open_tables(make_documents(world) | {"statuses": statuses}), days)
    table = table.filter(pc.equal(table["transport"], ""))
    country = np.array(table["country"].to_pylist(), dtype=object)
    result: dict[str, dict[str, Cell]] = {}
    for of in _DOCUMENT_NUMBERS:
        users, lower, upper = (table[name].to_numpy() for name in (of, f"{of}_lower", f"{of}_upper"))
        result[of] = {}
        for one in NAMES:
            at = np.flatnonzero(country == one)[1:-1]
            result[of][one] = Cell(users[at], lower[at], upper[at], np.zeros(len(at)))
    return result


def _count_clients(world: World, of: str, country: str) -> Floats:
    """Count the true addresses or connections by day, of the bridges that write documents."""
    result = np.zeros(world.settings.days)
    for one in [country] if country else world.countries:
        for name in world.transports:
            if name != PLAIN:
                drawn = world.addresses(one, name) if of == "addresses" else world.connections(one, name)
                result += drawn[world.documents].sum(axis=0)
    return result


def measure_forgers(days: int) -> str:
    """Measure what ten forgers among a thousand bridges move, and would move without caps."""
    attacks = {"at once, 5,000 requests a day each": (5_000, 0), "four times as much every fortnight": (1_000_000, 14)}
    rows = [
        "| ten forgers of 1,000 | claim | total | their country | without caps: total | country |",
        "|" + "---|" * 6,
    ]
    for sizes, (name, shape) in SIZES.items():
        settings = {"sizes": sizes, "size_shape": shape, "noise": 0.15}
        quiet = estimate(
            _simulate(1_000, days, seed=1, forgeries=(Forgery(FORGERS, "ir", FORGERY_DAY, 0),), **settings)
        )
        for country in ("ir", "us", "de"):
            for attack, (requests, fourfold) in attacks.items():
                progress(f"forgers in a country of {NAMES[country]}, {attack}")
                forgery = Forgery(FORGERS, country, FORGERY_DAY, requests, fourfold)
                forged = estimate(_simulate(1_000, days, seed=1, forgeries=(forgery,), **settings))
                moved = [_largest(forged[cell].users, quiet[cell].users) for cell in ("", country)]
                free = [
                    _largest(forged[cell].users + forged[cell].capped, quiet[cell].users + quiet[cell].capped)
                    for cell in ("", country)
                ]
                shown = [f"{one:+.1%}" if abs(one) <= 0.1 else f"**{one:+.1%}**" for one in moved]
                texts = " | ".join([*shown, *(f"{one:+,.0%}" for one in free)])
                rows.append(f"| {name}, {NAMES[country]} | {attack} | {texts} |")
                progress(rows[-1])
    note = f"The largest change of any day in {days} days, against the same bridges without forgers; goal 10 %."
    return "\n".join([*rows, "", note])


def measure_time(days: int) -> str:
    """Measure the processor time of 250 countries."""
    countries = tuple(f"{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(250))
    progress(f"timing 2,000 bridges, 250 countries, {days} days")
    world = simulate(replace(Settings(bridges=2_000, days=days, users=40_000.0), countries=countries))
    tables = make_tables(world)
    query = open_tables(tables)
    cells = len(tables["cells"]) / (days * 2_000)
    begun = time.process_time()
    users = estimate_users(query, range(world.first_day, world.first_day + days)).users
    spent = time.process_time() - begun
    return (
        f"2,000 bridges, 250 countries, {len(tables['cells']):,} cells ({cells:.0f} a bridge and day) of {days} days, "
        f"transports included: {spent:.0f} s of CPU time for {len(users):,} numbers with intervals; "
        f"365 days would be {spent * 365 / days:.0f} s (goal 120 s)."
    )


def estimate(world: World) -> dict[str, Cell]:
    """Estimate the total and the countries of a world; days but the first and the last."""
    days = range(world.first_day, world.first_day + world.settings.days)
    users = estimate_users(open_tables(make_tables(world, transports=False)), days).users
    users = users.filter(pc.equal(users["transport"], ""))
    country = np.array(users["country"].to_pylist(), dtype=object)
    columns = [users[name].to_numpy() for name in Cell._fields]
    return {one: Cell(*(column[country == one][1:-1] for column in columns)) for one in NAMES}


def _simulate(bridges: int, days: int, **settings: object) -> World:
    fixed = Settings(
        bridges=bridges,
        days=days,
        users=float(USERS_PER_BRIDGE * bridges),
        countries=COUNTRIES,
        country_shares=SHARES,
    )
    return simulate(replace(fixed, **settings))  # type: ignore[arg-type]


def _largest(after: Floats, before: Floats) -> float:
    change = after / before - 1
    return float(change[np.abs(change).argmax()])


if __name__ == "__main__":
    sys.exit(main("coverage", measure, _FULL, _QUICK))
