"""packaging/grafana with a real Prometheus: every query of the dashboard and every alert has data of a real bridge."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from obfstats.formats.document import Document, write_document
from peers import managed, prometheus
from peers.program import obfsproxy
from tests.bridge.test_scrapes import ANYWHERE, SERVER, metrics_url
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peers.prometheus import Prometheus

GRAFANA = Path(__file__).parents[2] / "packaging" / "grafana"
RULES = GRAFANA / "obfstats.rules.yml"
DASHBOARD = json.loads((GRAFANA / "obfstats-dashboard.json").read_text())
SAMPLES = 3
"""Scrapes that a rate needs, and one more."""


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels that ask for something."""
    return [panel for panel in DASHBOARD["panels"] if panel.get("targets")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a bridge with published days."""
    folder = tmp_path_factory.mktemp("monitoring")
    published = folder / "published"
    published.mkdir()
    for day, addresses in ((1, {"IR": 160, "TR": 40}), (2, {"IR": 48, "DE": 8})):
        document = Document(
            f"2026-11-{day:02} 09:22:04",
            86_400,
            ips=addresses,
            requests=addresses,
            ip_versions={"v4": 160, "v6": 8},
            ip_transports={"obfs3": 168},
        )
        (published / f"2026-11-{day:02}-09-22-04-obfsproxy-stats").write_bytes(write_document(document))
    options = ["--publish", str(published), "--data-dir", str(folder), *managed.countries(folder)]
    with obfsproxy("--metrics", ANYWHERE, *options, *SERVER) as bridge:
        host, _, port = metrics_url(bridge.child).removeprefix("http://").removesuffix("/metrics").rpartition(":")
        with prometheus.scraping(folder, {"obfstats": (host, int(port))}, str(RULES)) as running:
            samples = "count_over_time(obfstats_interval_addresses[1h])"
            assert wait_until(lambda: any(number >= SAMPLES for _, number in running.query(samples)))
            yield running


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_every_panel_has_data(panel: dict[str, Any], server: Prometheus) -> None:
    """Each of its queries, with Grafana's variable filled in."""
    for target in panel["targets"]:
        expression = target["expr"].replace("$instance", ".*")
        assert "$" not in expression
        assert server.query(expression), expression


def test_every_alert_has_data(server: Prometheus) -> None:
    """Prometheus evaluates each rule; with its comparisons turned into 0 and 1, each has samples."""
    assert wait_until(lambda: all(rule["health"] == "ok" for rule in server.rules()))
    rules = server.rules()
    assert len(rules) == RULES.read_text().count("- alert:")
    for rule in rules:
        answers = re.sub(r"(==|<|>) ", r"\1 bool ", rule["query"])
        assert answers != rule["query"]
        assert server.query(answers), rule["name"]


def test_the_days_are_what_was_published(server: Prometheus) -> None:
    """The last document's numbers, with a zero for a country of the month."""
    found = {labels["country"]: number for labels, number in server.query("obfstats_interval_addresses")}
    assert found == {"IR": 48, "DE": 8, "TR": 0}


def test_promtool_accepts_the_rules() -> None:
    """Their form, and what it knows of mistakes."""
    assert prometheus.promtool("check", "rules", str(RULES))[0] == 0


FAILED = "obfstats_failed_connections_total"
ADDRESSES = "obfstats_interval_addresses"

ALERTS: dict[str, tuple[str, dict[str, str], int, int]] = {
    "Down": ("1m", {'up{job="obfstats"}': "1x5 0x30", 'up{job="node"}': "0x35"}, 10, 20),
    "Stuck": ("1m", {"obfstats_snapshot_timestamp_seconds": "0 60 300x100"}, 30, 40),
    "Failing": ("1m", {'obfstats_failing{task="submit"}': "0x9 1x200"}, 60, 140),
    "RefusedByTor": (
        "1m",
        {FAILED + '{reason="orport"}': "0x60 16x60", FAILED + '{reason="protocol"}': "0+8x120"},
        59,
        62,
    ),
    "Shedding": ("1m", {FAILED + '{reason="shed"}': "0x60 0+8x60"}, 65, 100),
    "Full": ("1m", {'obfstats_accept_pauses_total{reason="limit"}': "0x9 0+8x90"}, 30, 60),
    "NotCounting": ("1m", {"obfstats_uncounted_connections_total": "0x9 8x90"}, 8, 12),
    "InternalErrors": ("1m", {"obfstats_internal_errors_total": "0x9 1x90"}, 8, 12),
    "NothingPublished": ("1h", {"obfstats_interval_end_timestamp_seconds": "0x60"}, 49, 51),
    "UsageFell": (
        "1h",
        {ADDRESSES + '{country="IR"}': "32x200 0x200", ADDRESSES + '{country="DE"}': "48x200 16x200"},
        199,
        204,
    ),
    "CountryFell": (
        "1h",
        {ADDRESSES + '{country="IR"}': "64x200 8x200", ADDRESSES + '{country="DE"}': "400x400"},
        199,
        204,
    ),
}
"""By alert: the time between samples, series, after how many of them nothing fires, and when that alert alone does."""


@pytest.mark.parametrize("step", ["1m", "1h"])
def test_each_alert_fires_where_it_should(step: str, tmp_path: Path) -> None:
    """And not before, and no other one does."""
    assert {f"Obfstats{name}" for name in ALERTS} == set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    expression = 'count by (alertname) (ALERTS{alertstate="firing"})'
    tests = []
    for name, (interval, given, quiet, late) in ALERTS.items():
        firing = [{"labels": f'{{alertname="Obfstats{name}"}}', "value": 1}]
        case = {
            "interval": step,
            "input_series": [{"series": series, "values": values} for series, values in given.items()],
            "promql_expr_test": [
                {"expr": expression, "eval_time": f"{number}{step[-1]}", "exp_samples": samples}
                for number, samples in ((quiet, []), (late, firing))
            ],
        }
        if interval == step:
            tests.append(case)
    # JSON is YAML.
    cases = tmp_path / "cases.yml"
    cases.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": step, "tests": tests}))
    status, output = prometheus.promtool("test", "rules", str(cases))
    assert status == 0, output


def test_the_dashboard_is_whole() -> None:
    """Panels have a description, numbers of their own, and places that do not overlap."""
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
    assert all(panel["description"] for panel in panels())
