"""Tor Metrics' detector: its own numbers, its distribution, its known faults."""

from __future__ import annotations

import lzma
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv

from obfstats.analyse.tor_detector import CLIENTS_CSV_SCHEMA, TAIL, add_ranges, compute_ranges, poisson_range

GOLDEN = Path(__file__).parent / "golden"


def read_golden(name: str) -> Any:
    """A file that Tor Metrics' own code read or wrote."""
    texts = {name: pa.string() for name in ("node", "country", "transport", "version")}
    numbers = {name: pa.int64() for name in ("users", "clients", "frac", "lower", "upper")}
    options = csv.ConvertOptions(column_types={"date": pa.date32(), **texts, **numbers})
    return csv.read_csv(pa.BufferReader(lzma.decompress((GOLDEN / name).read_bytes())), convert_options=options)


def make_table(users: np.ndarray[Any, Any], node: str = "bridge") -> Any:
    """A table of one node's countries."""
    rows = [
        {
            "date": date(2026, 1, 1) + timedelta(day),
            "node": node,
            "country": f"{chr(97 + country // 26)}{chr(97 + country % 26)}",
            "transport": "",
            "version": "",
            "frac": 90,
            "users": int(number),
        }
        for (day, country), number in np.ndenumerate(users)
    ]
    return pa.Table.from_pylist(rows)


def test_it_gives_what_tor_metrics_gives() -> None:
    """Every row of the file that Tor Metrics' detector writes for the same numbers."""
    expected = read_golden("detector-expected.csv.xz").cast(CLIENTS_CSV_SCHEMA)
    assert add_ranges(read_golden("detector-input.csv.xz")).to_pylist() == expected.to_pylist()


def test_the_order_of_the_rows_does_not_matter() -> None:
    """A table that is not sorted gives the same."""
    table = read_golden("detector-input.csv.xz")
    shuffled = table.take(np.random.default_rng(1).permutation(len(table)))
    assert add_ranges(shuffled).equals(add_ranges(table))


def test_bridge_users_get_ranges_of_their_own() -> None:
    """Bridges and relays are looked at apart: the changes of one say nothing about the other."""
    users = np.random.default_rng(2).poisson(300, (20, 12))
    bridges = make_table(users)
    together = add_ranges(pa.concat_tables([bridges, make_table(users * np.arange(1, 21)[:, None], "relay")]))
    assert together.filter(pa.compute.equal(together["node"], "bridge")).equals(add_ranges(bridges))
    assert together["lower"].null_count < len(together)


def test_a_day_with_seven_countries_has_no_ranges() -> None:
    """Seven ratios do not tell what is normal, eight do."""
    users = np.random.default_rng(3).poisson(300, (8, 8)).astype(float)
    assert np.isnan(compute_ranges(users[:, :7]).lower).all()
    assert not np.isnan(compute_ranges(users).lower[7]).any()


@given(st.integers(1, 400))
def test_quantiles_are_those_of_the_definition(mean: int) -> None:
    """The smallest number whose cumulated probability is not below the wanted one, in exact arithmetic."""
    # exp(-mean) is replaced by the sum of enough terms.
    terms, term = [], Fraction(1)
    for number in range(mean + 30 * int(mean**0.5) + 60):
        terms.append(term)
        term = term * mean / (number + 1)
    total = sum(terms)
    found = []
    for tail in (Fraction(TAIL), 1 - Fraction(TAIL)):
        cumulated, number = terms[0], 0
        while cumulated < tail * total:
            number += 1
            cumulated += terms[number]
        found.append(number)
    assert poisson_range(mean) == tuple(found)


# What scipy.stats.poisson.ppf gives (SciPy 1.17).
@pytest.mark.parametrize(
    ("mean", "quantiles"), [(1, (0, 6)), (10_000, (9_630, 10_374)), (10_000_000, (9_988_242, 10_011_763))]
)
def test_quantiles_of_large_means(mean: int, quantiles: tuple[int, int]) -> None:
    """They stay exact where the probabilities themselves are below the smallest double."""
    assert poisson_range(mean) == quantiles
