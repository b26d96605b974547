"""Addresses and connections from our own documents, on simulated bridges whose truth is known."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from bench.worlds import make_documents, open_tables
from obfstats.analyse.clients import CLIENTS_SCHEMA, estimate_clients, laplace_variance
from obfstats.analyse.simulate import PLAIN, Settings, discrete_laplace, simulate
from obfstats.analyse.store import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from obfstats.analyse.fit import Floats
    from obfstats.analyse.simulate import World

SETTINGS = Settings(
    bridges=150,
    users=3_000,
    days=30,
    documents=1.0,
    noisy_documents=0.0,
    silent=0.0,
    churn=0.0,
    countries=("ru", "ir", "de"),
    country_shares=(0.68, 0.3, 0.02),
)
INNER = slice(1, -1)


def estimate(world: World) -> pa.Table:
    """Estimate all days of a world, without statuses."""
    tables = make_documents(world) | {"statuses": SCHEMAS["statuses"].empty_table()}
    return estimate_clients(open_tables(tables), range(world.first_day, world.first_day + world.settings.days))


def column(table: pa.Table, name: str, country: str = "", transport: str = "") -> Floats:
    """Give a column of one cell by day, without the first and the last."""
    rows = [row for row in table.to_pylist() if (row["country"], row["transport"]) == (country, transport)]
    return np.array([row[name] for row in rows])[INNER]


def truth(world: World, country: str, transport: str = "") -> Floats:
    """Give the true addresses by day of the bridges that write documents."""
    names = [transport] if transport else [name for name in world.transports if name != PLAIN]
    numbers = sum(world.addresses(country, name)[world.documents].sum(axis=0) for name in names)
    return np.asarray(numbers, dtype=np.float64)[INNER]


def test_addresses_and_connections_are_those_of_all_bridges() -> None:
    """Missing documents are predicted: the numbers are those of every bridge that writes documents."""
    world = simulate(dataclasses.replace(SETTINGS, lost_reports=0.1))
    table = estimate(world)
    assert column(table, "addresses", "ru").sum() == pytest.approx(truth(world, "ru").sum(), rel=0.03)
    names = [name for name in world.transports if name != PLAIN]
    connections = sum(world.connections("ru", name)[world.documents].sum(axis=0) for name in names)
    assert column(table, "connections", "ru").sum() == pytest.approx(np.asarray(connections)[INNER].sum(), rel=0.04)


def test_country_by_transport() -> None:
    """A country's addresses by transport have intervals of their own, and no connections, as documents have none."""
    world = simulate(SETTINGS)
    table = estimate(world)
    found = column(table, "addresses", "ru", "obfs4")
    assert found.sum() == pytest.approx(truth(world, "ru", "obfs4").sum(), rel=0.05)
    assert (column(table, "addresses_lower", "ru", "obfs4") < found).all()
    assert (column(table, "addresses_upper", "ru", "obfs4") > found).all()
    assert set(column(table, "connections", "ru", "obfs4")) == {None}


def test_noise_biases_nothing() -> None:
    """Where every document has noise, sums over bridges and days are right, in a small country too."""
    world = simulate(dataclasses.replace(SETTINGS, noisy_documents=1.0, epsilon=0.5))
    table = estimate(world)
    assert column(table, "addresses", "ru").sum() == pytest.approx(truth(world, "ru").sum(), rel=0.03)
    assert column(table, "addresses", "de").sum() == pytest.approx(truth(world, "de").sum(), rel=0.15)


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 3.0])
def test_variance_of_the_noise(epsilon: float) -> None:
    """The formula agrees with drawn noise."""
    drawn = discrete_laplace(np.random.default_rng(1), epsilon, 400_000)
    assert drawn.var() == pytest.approx(laplace_variance(np.array(epsilon)), rel=0.03)


def test_totals_are_sums_of_countries() -> None:
    """Documents have no totals, so ours are those of the countries."""
    table = estimate(simulate(SETTINGS))
    sums = np.sum([column(table, "addresses", country) for country in SETTINGS.countries], axis=0)
    assert column(table, "addresses") == pytest.approx(sums)


def test_two_instances_behind_one_fingerprint_are_two_bridges() -> None:
    """They count as two bridges with a fingerprint each, as two nicknames of tor's do; so do two without any."""
    world = simulate(dataclasses.replace(SETTINGS, bridges=20, users=400))
    tables = make_documents(world) | {"statuses": SCHEMAS["statuses"].empty_table()}

    def estimate_named(names: Mapping[str, Callable[[str], str]]) -> pa.Table:
        of_bridge = [row["fingerprint"] for row in tables["documents"].to_pylist()]
        columns = {name: pa.array([rename(bridge) for bridge in of_bridge]) for name, rename in names.items()}
        documents = tables["documents"]
        for name, column in columns.items():
            documents = documents.set_column(documents.schema.get_field_index(name), name, column)
        query = open_tables(tables | {"documents": documents.cast(SCHEMAS["documents"])})
        return estimate_clients(query, range(world.first_day, world.first_day + world.settings.days))

    expected = estimate_named({"instance": lambda _: ""})
    assert expected["bridges"].to_pylist()[15] > 15
    assert estimate_named({"fingerprint": lambda _: "A" * 40, "instance": str}) == expected
    assert estimate_named({"fingerprint": lambda _: "", "instance": str}) == expected


def test_no_documents_no_rows() -> None:
    """An archive of Tor's descriptors alone has no addresses."""
    names = ("documents", "document_cells", "statuses")
    query = open_tables({name: SCHEMAS[name].empty_table() for name in names})
    assert estimate_clients(query, range(20_000, 20_010)) == CLIENTS_SCHEMA.empty_table()
