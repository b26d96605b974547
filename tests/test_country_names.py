"""Names of countries."""

from __future__ import annotations

import pytest

from obfstats.country_names import country_name


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("ir", "Iran"),
        ("IR", "Iran"),
        ("xk", "Kosovo"),
        ("uk", "United Kingdom"),
        ("eu", "Europe, country unknown"),
        ("ap", "Asia and Pacific, country unknown"),
        ("zz", "unknown"),
        ("hk", "Hong Kong"),
        ("a1", "anonymous proxies"),
        ("a2", "satellite providers"),
        ("cs", "Serbia and Montenegro"),
        ("??", "unknown"),
        ("", "all countries"),
    ],
)
def test_codes_of_geoip_files_have_names(code: str, name: str) -> None:
    """Countries, regions, and what cannot be resolved."""
    assert country_name(code) == name


def test_a_code_without_a_country_says_so() -> None:
    """A number is shown even where its country is not known: GeoIP files contain misspelt codes."""
    assert country_name("q9") == "code Q9"
