"""The publication: what the ledger has accepted becomes public files, once, whole and signed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.collect.archive.publisher import next_publication
from obfstats.collect.archive.recent import SIGNATURES_SUFFIX, split_recent, split_signatures
from obfstats.collect.index import parse_index
from obfstats.collect.signing import verify
from peers import missing
from tests.collect.collectors import DAY, NOW, Collector, document, open_collector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECENT = "recent/obfsproxy-stats/2026-11-30-14-09-00-obfsproxy-stats"


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """A new collector on SQLite."""
    with open_collector(tmp_path / "collector", str(tmp_path / "ledger.sqlite")) as collector:
        yield collector


def test_accepted_documents_are_in_the_next_recent_file_with_their_signatures(collector: Collector) -> None:
    """A recent file has the documents byte for byte, and beside it the signatures in the same order."""
    sent = [document(number, NOW - DAY - number) for number in range(3)]
    collector.accept(*sent)
    collector.publisher.publish(NOW)
    with (collector.public / RECENT).open("rb") as file:
        documents = list(split_recent(file))
    with (collector.public / (RECENT + SIGNATURES_SUFFIX)).open("rb") as file:
        signatures = list(split_signatures(file))
    assert sorted(documents) == sorted(sent)
    for text, signature in zip(documents, signatures, strict=True):
        assert verify(text, signature, collector.bridge_key.public) == signature


@given(now=st.integers(0, 2**33), period=st.integers(1, 10 * DAY))
def test_the_next_publication_is_later_and_at_most_a_period_away(now: int, period: int) -> None:
    """What is accepted at a publication's own moment waits for the next one."""
    due = next_publication(now, period)
    assert now < due <= now + period
    assert (due - 540) % period == 0


def test_minisign_verifies_every_published_file(collector: Collector) -> None:
    """Debian's minisign accepts all files of the tree, and the index names them all."""
    missing.need("minisign", "minisign")
    first, _ = collector.accept(document(1, NOW - DAY), document(2, NOW - DAY))
    collector.publisher.publish(NOW)
    collector.accept(document(3, NOW))
    collector.ledger.withdraw(first.digest)
    collector.publisher.publish(NOW + DAY)
    indexed = {entry.path for entry in parse_index((collector.public / "index.json").read_bytes()).files}
    assert indexed == {path + suffix for path in collector.files() for suffix in ("", ".minisig")}
    for path in [*collector.files(), "index.json", "index.json.xz", "index/index.json"]:
        subprocess.run(
            ["minisign", "-Vqm", collector.public / path, "-p", collector.public / "minisign.pub"], check=True
        )
