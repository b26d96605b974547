"""A bridge's documents in Prometheus's text format: the last interval, with zeros for the month."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from obfstats.exposition import describe_documents, write_metrics
from peers.prometheus import promtool
from tests.show.bridges import END, publish, publish_day

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obfstats.formats.document import Document


def read(documents: Sequence[Document]) -> dict[str, dict[str, float]]:
    """Write metrics and read them as Prometheus's own client does: numbers by metric and label value."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(write_metrics(describe_documents(documents)).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})["".join(sample.labels.values())] = sample.value
    return found


def test_the_last_interval_is_shown_as_published() -> None:
    """Rounded numbers, the interval's end and its length."""
    found = read(publish([{"IR": 3}, {"IR": 44, "DE": 1}]))
    assert found["obfstats_interval_addresses"] == {"IR": 48, "DE": 8}
    assert found["obfstats_interval_connections"] == {"IR": 136, "DE": 8}
    assert found["obfstats_interval_end_timestamp_seconds"] == {"": END.timestamp()}
    assert found["obfstats_interval_seconds"] == {"": 86_400}
    assert found["obfstats_published_documents"] == {"": 2}


def test_countries_of_the_last_30_days_are_zero_and_older_ones_are_gone() -> None:
    """A country that falls to nothing stays a series for a month."""
    counts = [{"FR": 9}, {"TR": 9}, *[{"IR": 44}] * 29]
    assert read(publish(counts))["obfstats_interval_addresses"] == {"IR": 48, "TR": 0}


def test_before_the_first_interval_is_over_help_says_why_there_is_nothing() -> None:
    """No sample of clients; every metric has its HELP and TYPE all the same."""
    text = write_metrics(describe_documents([])).decode()
    assert read([]) == {"obfstats_published_documents": {"": 0}}
    (line,) = (line for line in text.splitlines() if line.startswith("# HELP obfstats_interval_addresses "))
    assert "nothing until the first interval is over and published (--publish), a day after the start" in line
    assert "would date clients" in line


def test_noise_is_shown_with_its_epsilon() -> None:
    """A number below 0 stays below 0: clamping would falsify sums."""
    document = replace(publish_day({}), epsilon="0.5", ips={"DE": -3, "IR": 40}, requests=None)
    found = read([document])
    assert found["obfstats_interval_addresses"] == {"DE": -3, "IR": 40}
    assert found["obfstats_interval_epsilon"] == {"": 0.5}
    assert "obfstats_interval_connections" not in found


def test_extended_documents_have_transports_and_families() -> None:
    """A transport that is not used any more is 0, too."""
    before = replace(
        publish_day({"DE": 9}, days_before=1), ip_transports={"obfs3": 16}, ip_versions={"v4": 16, "v6": 0}
    )
    last = replace(publish_day({"DE": 9}), ip_transports={"obfs4": 16}, ip_versions={"v4": 8, "v6": 16})
    found = read([last, before])
    assert found["obfstats_interval_transport_addresses"] == {"obfs3": 0, "obfs4": 16}
    assert found["obfstats_interval_family_addresses"] == {"v4": 8, "v6": 16}


def test_promtool_accepts_the_metrics() -> None:
    """With and without documents; it also checks names, units and HELP texts."""
    extended = replace(publish_day({"DE": 9}), ip_transports={"obfs3": 16}, ip_versions={"v4": 16, "v6": 0})
    for documents in ([], [extended]):
        assert promtool("check", "metrics", text=write_metrics(describe_documents(documents))) == (0, "")


@given(st.lists(st.dictionaries(st.sampled_from(["IR", "DE", "??", "EU", "UK"]), st.integers(0, 99)), min_size=1))
def test_every_country_of_the_month_has_a_number(counts: list[dict[str, int]]) -> None:
    """Whatever the days were, in whatever order the documents come."""
    documents = publish(counts)
    month = {code for document in documents[-30:] for code in document.ips or {}}
    found = read(list(reversed(documents))).get("obfstats_interval_addresses", {})
    assert found.keys() == month
    assert {code: number for code, number in found.items() if number} == documents[-1].ips
