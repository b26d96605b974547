"""A bridge's metrics: snapshots at random moments, coarse numbers of clients, documents of days that are over."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING

import pytest

from obfstats.bridge.daemon import make_context
from obfstats.bridge.metrics import SNAPSHOT_SECONDS, Metrics
from obfstats.bridge.statistics import Statistics
from obfstats.formats.document import Document, write_document
from obfstats.proxy.limits import Limits
from obfstats.proxy.privacy import LogFormatter
from obfstats.proxy.totals import Failure
from obfstats.show.top import parse_metrics
from peers.clocks import MovedClock
from peers.prometheus import promtool
from tests.bridge.published import Bridge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from obfstats.proxy.service import Context


@pytest.fixture
def context() -> Context:
    """What services share; snapshots are as far apart as they can be."""
    made = make_context(Limits(), LogFormatter(safe=True))
    return dataclasses.replace(made, draw=lambda _, high: high)


@pytest.fixture
def clock() -> MovedClock:
    """A clock that the test moves."""
    return MovedClock()


@pytest.fixture
def metrics(context: Context, clock: MovedClock) -> Iterator[Metrics]:
    """Metrics of a bridge that counts nothing."""
    yield from keep(Metrics(context, clock, None, lambda _: 0))


def keep(metrics: Metrics) -> Iterator[Metrics]:
    """Give metrics, and let go of the log at the end."""
    yield metrics
    logging.getLogger("obfstats").removeHandler(metrics._errors)


def read(metrics: Metrics) -> Mapping[str, Mapping[str, float]]:
    """Read what is served."""
    return parse_metrics(metrics.text.decode())


def renew(metrics: Metrics, clock: MovedClock) -> Mapping[str, Mapping[str, float]]:
    """Let the next snapshot become due; return it."""
    clock.pass_time(SNAPSHOT_SECONDS[1])
    asyncio.run(metrics.update())
    return read(metrics)


def test_nothing_changes_between_two_snapshots(metrics: Metrics, context: Context, clock: MovedClock) -> None:
    """A scrape a second learns as much as one in ten minutes."""
    asyncio.run(metrics.update())
    first = metrics.text
    for _ in range(100):
        context.gate.admit()
        context.totals.fail(Failure.PROTOCOL)
        context.totals.relayed_bytes += 1 << 30
        clock.pass_time(5.9)
        asyncio.run(metrics.update())
        assert metrics.text == first
    assert renew(metrics, clock)["obfstats_connections"] == {"": 104}
    assert metrics.text != first


def test_clients_change_numbers_by_whole_steps(metrics: Metrics, context: Context, clock: MovedClock) -> None:
    """Seven of anything look like none."""
    before = read(metrics)
    assert before["obfstats_connections"] == {"": 8}
    for _ in range(7):
        context.gate.admit()
        for failure in Failure:
            context.totals.fail(failure)
        context.totals.uncounted += 1
        context.gate.times_full += 1
        context.gate.times_short += 1
        context.totals.relayed_bytes += 100 << 20
    unchanged = renew(metrics, clock)
    assert {name for name in before if before[name] != unchanged[name]} == {"obfstats_snapshot_timestamp_seconds"}
    context.totals.fail(Failure.ORPORT)
    context.totals.uncounted += 1
    context.gate.times_short += 1
    context.totals.relayed_bytes += 400 << 20
    after = renew(metrics, clock)
    assert {reason: number for reason, number in after["obfstats_failed_connections_total"].items() if number} == {
        "orport": 8
    }
    assert after["obfstats_accept_pauses_total"] == {"limit": 0, "shortage": 8}
    assert after["obfstats_uncounted_connections_total"] == {"": 8}
    assert after["obfstats_relayed_bytes_total"] == {"": 1 << 30}


def test_a_count_of_1_is_never_shown(metrics: Metrics, context: Context, clock: MovedClock) -> None:
    """No process metric and no exact one: descriptors and processor time would tell each connection."""
    context.gate.admit()
    text = renew(metrics, clock)
    assert all(name.startswith("obfstats_") for name in text)
    assert [name for name, numbers in text.items() if 1 in numbers.values()] == ["obfstats_build_info"]
    assert b"process_" not in metrics.text
    assert b"python_" not in metrics.text


def test_errors_in_the_log_are_counted_and_warnings_are_not(metrics: Metrics, clock: MovedClock) -> None:
    """A warning may report one refused client."""
    log = logging.getLogger("obfstats.proxy.service")
    log.warning("obfs3: 8 connection(s) could not be passed on")
    assert renew(metrics, clock)["obfstats_internal_errors_total"] == {"": 0}
    logging.getLogger("obfstats.proxy.privacy").error("internal error")
    assert renew(metrics, clock)["obfstats_internal_errors_total"] == {"": 1}


def test_released_documents_are_shown_and_the_running_interval_is_not(context: Context, tmp_path: Path) -> None:
    """Numbers appear when their day is published, and come from the document."""
    bridge = Bridge(tmp_path)
    metrics = Metrics(context, bridge.clock, Statistics(bridge.recorder, bridge.publisher, None, bridge.folder), int)
    bridge.visit(9)
    assert "obfstats_interval_addresses" not in renew(metrics, bridge.clock)
    bridge.end_day()
    published = renew(metrics, bridge.clock)
    assert published["obfstats_interval_addresses"] == bridge.document().ips
    bridge.visit(100, network="198.51.100")
    assert renew(metrics, bridge.clock)["obfstats_interval_addresses"] == published["obfstats_interval_addresses"]
    bridge.stop()
    next(keep(metrics))


def test_what_is_no_document_of_this_bridge_is_left_out(context: Context, clock: MovedClock, tmp_path: Path) -> None:
    """A link, a file of another name, a damaged one, a century that has no start."""
    bridge = Bridge(tmp_path)
    metrics = Metrics(context, clock, Statistics(bridge.recorder, bridge.publisher, None, bridge.folder), int)
    document = write_document(Document("2012-02-08 14:01:04", 86_400, ips={"DE": 8}, requests={"DE": 8}))
    (bridge.folder / "2012-02-08-14-01-04-obfsproxy-stats").write_bytes(document)
    (tmp_path / "elsewhere").write_bytes(document.replace(b"DE", b"FR"))
    (bridge.folder / "2012-02-09-14-01-04-obfsproxy-stats").symlink_to(tmp_path / "elsewhere")
    (bridge.folder / "2012-02-10-14-01-04-obfsproxy-stats").write_bytes(b"obfsproxy-ips DE=8\n")
    (bridge.folder / "2012-02-11-14-01-04-obfsproxy-stats.bak").write_bytes(document)
    ancient = b"obfsproxy-stats-end (999999999 s) 0001-01-02 00:00:00\nobfsproxy-ips SE=8\n"
    (bridge.folder / "0001-01-02-00-00-00-obfsproxy-stats").write_bytes(ancient)
    assert renew(metrics, clock)["obfstats_interval_addresses"] == {"DE": 8}
    bridge.stop()


def test_an_obstacle_to_publishing_shows(context: Context, tmp_path: Path) -> None:
    """Until it is gone."""
    bridge = Bridge(tmp_path)
    metrics = Metrics(context, bridge.clock, Statistics(bridge.recorder, bridge.publisher, None, bridge.folder), int)
    bridge.visit(9)
    bridge.block()
    bridge.end_day()
    assert renew(metrics, bridge.clock)["obfstats_failing"] == {"statistics_log": 0, "publish": 1}
    bridge.unblock()
    bridge.tick(3600)
    assert renew(metrics, bridge.clock)["obfstats_failing"] == {"statistics_log": 0, "publish": 0}
    bridge.stop()


def test_promtool_accepts_the_metrics(metrics: Metrics) -> None:
    """Names, units, HELP texts."""
    assert promtool("check", "metrics", text=metrics.text) == (0, "")
