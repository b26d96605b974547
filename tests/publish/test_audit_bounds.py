"""What lines that split up the same clients reveal of each other: totals beside their cells."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.formats.counts import round_up
from obfstats.formats.document import Document, write_document
from obfstats.publish.audit.findings import Code, finding
from obfstats.publish.audit.numbers import Inferred, infer_bounds
from tests.publish.auditing import alarms, values_of

DAY = Document("2012-02-10 09:22:04", 86_400)
SIXTEEN = ["AT", "BE", "BG", "CH", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "GR", "HU", "IE", "IT"]


def rounded(numbers: dict[str, int]) -> dict[str, int]:
    """Round numbers up to multiples of 8."""
    return {name: round_up(number) for name, number in numbers.items()}


def test_countries_and_requests_tell_nothing_of_each_other() -> None:
    """Nothing can be inferred from the ticket's four lines."""
    day = replace(DAY, ips={"DE": 48, "EU": 8}, requests={"DE": 56, "EU": 8})
    assert infer_bounds(day, counts_pairs=False) == Inferred(cells=4)


def test_one_country_alone_is_not_narrowed_by_its_transports() -> None:
    """A client may have used both."""
    cells = {("DE", "obfs2"): 8, ("DE", "obfs3"): 8}
    day = replace(DAY, ips={"DE": 8}, ip_transports={"obfs2": 8, "obfs3": 8}, ip_country_transports=cells)
    assert infer_bounds(day, counts_pairs=False) == Inferred(cells=5)


def test_sixteen_countries_of_sixteen_clients_have_one_each() -> None:
    """Every number is known exactly, as if nothing were rounded: an alarm."""
    day = replace(DAY, ips=dict.fromkeys(SIXTEEN, 8), ip_versions={"v4": 8, "v6": 8})
    assert infer_bounds(day, counts_pairs=False) == Inferred(cells=18, exact=18)
    assert alarms(write_document(day)) == [finding(Code.INFERRED_EXACTLY, numbers=18)]


def test_a_transport_narrows_its_countries() -> None:
    """97 to 104 clients of obfs3, at least 41 and 17 of them elsewhere, are at most 46 in each of the large ones."""
    cells = {("DE", "obfs3"): 48, ("EU", "obfs3"): 48, ("AU", "obfs3"): 24}
    day = replace(DAY, ip_transports={"obfs3": 104}, ip_country_transports=cells)
    assert infer_bounds(day, counts_pairs=False) == Inferred(cells=4, closer=4)
    assert alarms(write_document(day)) == []
    assert values_of(Code.INFERRED_CLOSELY, write_document(day)) == [{"numbers": 4, "cells": 4}]


def test_a_countrys_transports_together_are_at_most_its_requests() -> None:
    """16 requests at most, of at least one client of obfs4: 15 of obfs3 at most, and 7 of obfs4 at most."""
    cells = {("DE", "obfs3"): 16, ("DE", "obfs4"): 8}
    day = replace(DAY, ips={"DE": 16}, requests={"DE": 16}, ip_country_transports=cells)
    assert infer_bounds(day, counts_pairs=False) == Inferred(cells=4, closer=3)
    day = replace(DAY, ips={"DE": 16}, requests={"DE": 16}, ip_transports={"obfs3": 16, "obfs4": 8})
    assert infer_bounds(day, counts_pairs=False) == Inferred(cells=4, closer=3)


def test_a_pair_is_one_client_for_tor_and_two_for_the_ticket() -> None:
    """An address with two transports counts twice in tor's countries, so that there the sums are the same."""
    day = replace(DAY, ips={"DE": 8, "DK": 8}, ip_transports={"obfs2": 8, "obfs3": 16})
    assert infer_bounds(day, counts_pairs=True) == Inferred(cells=4, closer=4)
    assert infer_bounds(day, counts_pairs=False) == Inferred(cells=4)


def test_numbers_that_contradict_each_other_are_reported() -> None:
    """Eight clients cannot be forty clients."""
    day = replace(DAY, ips={"DE": 8}, ip_versions={"v4": 40, "v6": 0})
    assert infer_bounds(day, counts_pairs=False) == Inferred(cells=3, is_consistent=False)
    assert values_of(Code.CONTRADICTION, write_document(day)) == [{"intervals": 1}]


CLIENTS = st.lists(
    st.tuples(st.sampled_from(SIXTEEN), st.sampled_from(("v4", "v6")), st.sampled_from(("obfs2", "obfs3", "both"))),
    max_size=60,
)


@given(CLIENTS, st.booleans())
def test_true_numbers_are_never_called_inconsistent(clients: list[tuple[str, str, str]], counts_pairs: bool) -> None:  # noqa: FBT001
    """Documents of any clients are consistent, counted as the ticket or as tor counts."""
    ips: dict[str, int] = {}
    families: dict[str, int] = {"v4": 0, "v6": 0}
    transports: dict[str, int] = {}
    both: dict[tuple[str, str], int] = {}
    requests: dict[str, int] = {}
    for country, family, way in clients:
        ways = ("obfs2", "obfs3") if way == "both" else (way,)
        size = len(ways) if counts_pairs else 1
        ips[country] = ips.get(country, 0) + size
        families[family] += size
        requests[country] = requests.get(country, 0) + len(ways)
        for one in ways:
            transports[one] = transports.get(one, 0) + 1
            both[country, one] = both.get((country, one), 0) + 1
    day = replace(
        DAY,
        ips=rounded(ips),
        requests=None if counts_pairs else rounded(requests),
        ip_versions=rounded(families),
        ip_transports=rounded(transports),
        ip_country_transports=None if counts_pairs else {key: round_up(number) for key, number in both.items()},
    )
    assert infer_bounds(day, counts_pairs=counts_pairs).is_consistent


SMALL = st.sampled_from((0, 8, 16))


@given(st.lists(SMALL, min_size=1, max_size=3), st.lists(SMALL, min_size=1, max_size=2))
@settings(max_examples=50)
def test_two_ways_to_split_against_every_possibility(countries: list[int], families: list[int]) -> None:
    """The inferred bounds are those of an exhaustive search."""
    ips = {SIXTEEN[place]: number for place, number in enumerate(countries)}
    versions = {f"v{4 + 2 * place}": number for place, number in enumerate(families)}
    before = [range(max(0, number - 7), number + 1) for number in (*countries, *families)]
    possible = [one for one in product(*before) if sum(one[: len(countries)]) == sum(one[len(countries) :])]
    inferred = infer_bounds(replace(DAY, ips=ips, ip_versions=versions), counts_pairs=False)
    if not possible:
        assert not inferred.is_consistent
        return
    left = [{one[place] for one in possible} for place in range(len(before))]
    narrowed = [values for values, open_values in zip(left, before, strict=True) if values != set(open_values)]
    exact = sum(len(values) == 1 for values in narrowed)
    assert inferred == Inferred(len(before), exact, len(narrowed) - exact)


@pytest.mark.parametrize("number", [0, 8, 16])
def test_without_other_lines_nothing_is_told(number: int) -> None:
    """No rule applies to a document of one line, and none to an empty one."""
    assert infer_bounds(replace(DAY, ips={"DE": number}), counts_pairs=False) == Inferred(cells=1)
    assert infer_bounds(DAY, counts_pairs=True) == Inferred(cells=0)
