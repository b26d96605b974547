"""The publication: what the ledger has accepted becomes public files, once, whole and signed."""

from __future__ import annotations

import subprocess
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.collect.archive.monthly import MonthError
from obfstats.collect.archive.publisher import next_publication
from obfstats.collect.archive.recent import SIGNATURES_SUFFIX, split_recent, split_signatures
from obfstats.collect.index import parse_index
from obfstats.collect.signing import verify
from obfstats.lockedfile import FileInUseError, LockedFile
from peers import missing
from tests.collect.collectors import DAY, NOW, Collector, document, open_collector, sign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECENT = "recent/obfsproxy-stats/2026-11-30-14-09-00-obfsproxy-stats"


@pytest.fixture
def collector(tmp_path: Path, database_url: str) -> Iterator[Collector]:
    """A new collector, on both databases."""
    with open_collector(tmp_path / "collector", database_url) as collector:
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


def test_documents_are_packed_once_a_day_and_recent_files_go_after_72_hours(collector: Collector) -> None:
    """A document is in its month's archive at the latest when its recent file goes, once."""
    late, early = document(1, NOW - DAY), document(2, NOW - DAY)
    collector.publisher.publish(NOW - 3600)
    collector.accept(late)
    collector.publisher.publish(NOW)
    assert collector.documents() == []
    collector.accept(early)
    for hours in range(0, 73, 12):
        collector.publisher.publish(NOW + 3600 * hours)
        assert RECENT in collector.files()
    assert collector.documents() == sorted([late, early])
    collector.publisher.publish(NOW + 3600 * 73)
    assert RECENT not in collector.files()
    assert RECENT + SIGNATURES_SUFFIX not in collector.files()


def test_a_months_archive_has_the_same_bytes_in_whatever_order_documents_came(tmp_path: Path) -> None:
    """Late documents are merged: nothing tells when a document came."""
    archives = []
    ends = [NOW - DAY + 7200 * number for number in range(6)]
    for name, order in (("a", [0, 1, 2, 3, 4, 5]), ("b", [5, 1, 3, 0, 4, 2])):
        with open_collector(tmp_path / name, str(tmp_path / f"{name}.sqlite")) as collector:
            for day, number in enumerate(order):
                collector.accept(document(number, ends[number]))
                collector.publisher.publish(NOW + day * DAY)
            archives.append(collector.files()["archive/obfsproxy-stats-2026-11.tar.xz"])
    assert archives[0] == archives[1]


def test_a_publication_at_the_same_moment_takes_nothing_more(collector: Collector) -> None:
    """A recent file never grows, so a mirror has all of it."""
    collector.accept(document(1, NOW - DAY))
    collector.publisher.publish(NOW)
    first = collector.files()[RECENT]
    collector.accept(document(2, NOW - DAY))
    collector.restart()
    collector.publisher.publish(NOW + 1)
    assert collector.files()[RECENT] == first
    collector.publisher.publish(NOW + 3600)
    assert document(2, NOW - DAY) in collector.files().values()


def test_one_program_publishes_at_a_time(collector: Collector) -> None:
    """The second of two collectors on one folder waits."""
    with open_collector(collector.folder, collector.publication.database) as second:
        held = LockedFile.open(collector.folder / ".publishing", "lock", "")
        with pytest.raises(FileInUseError, match="only one program publishes at a time"):
            second.publisher.publish(NOW)
        held.close()
        second.publisher.publish(NOW)


def test_the_index_is_never_older_than_the_one_before(collector: Collector) -> None:
    """A mirror refuses an older index, so a clock that is set back must not date ours."""
    collector.publisher.publish(NOW)
    collector.publisher.publish(NOW - DAY)
    assert parse_index((collector.public / "index.json").read_bytes()).created == NOW


def test_an_index_of_a_clock_that_was_far_ahead_does_not_date_later_ones(collector: Collector) -> None:
    """Mirrors refuse an index of the future, and would refuse all later ones until that time has come."""
    collector.publisher.publish(NOW + 1000 * DAY)
    collector.publisher.publish(NOW)
    assert parse_index((collector.public / "index.json").read_bytes()).created == NOW


def test_a_clock_that_is_far_ahead_does_not_empty_the_quarantine(collector: Collector) -> None:
    """What waits is deleted after 60 days; its bridge was told that the collector has it."""
    collector.ledger.accept([sign(collector.bridge_key, document(1, NOW - DAY))], NOW)
    for days in (0, 1000):
        collector.publisher.publish(NOW + days * DAY)
        assert collector.ledger.count_quarantined() == 1
    collector.restart()
    collector.publisher.publish(NOW + 61 * DAY)
    assert collector.ledger.count_quarantined() == 1
    collector.publisher.publish(NOW + 62 * DAY)
    assert collector.ledger.count_quarantined() == 0


def test_files_of_the_operators_own_are_not_in_the_index(collector: Collector) -> None:
    """A home page has no signature, so mirrors would refuse the archive."""
    collector.publisher.publish(NOW)
    (collector.public / "index of files.html").write_text("<p>")
    collector.publisher.publish(NOW + 3600)
    index = parse_index((collector.public / "index.json").read_bytes())
    assert [entry.path for entry in index.files] == ["minisign.pub", "minisign.pub.minisig"]


def test_the_index_tells_what_files_have(collector: Collector) -> None:
    """Types and the documents' times as CollecTor gives them; the same after a restart, and from memory."""
    collector.accept(document(1, NOW - DAY), document(2, NOW - 3600))
    collector.publisher.publish(NOW)
    for _ in range(2):
        index = parse_index((collector.public / "index.json").read_bytes())
        entries = {entry.path: entry for entry in index.files}
        for path in (RECENT, "archive/obfsproxy-stats-2026-11.tar.xz"):
            content = (collector.public / path).read_bytes()
            entry = entries[path]
            assert (entry.size, entry.sha256) == (len(content), sha256(content).digest())
            assert entry.types == ("obfsproxy-stats 1.0",)
            assert (entry.first_published, entry.last_published) == (NOW - DAY, NOW - 3600)
            assert not entry.imported
        collector.restart()
        collector.publisher.publish(NOW + 60)


def test_a_damaged_months_archive_is_not_written_anew(collector: Collector) -> None:
    """What cannot be read is not lost by the next packing; the error says which file, and what to do."""
    collector.accept(document(1, NOW - DAY))
    collector.publisher.publish(NOW)
    path = collector.public / "archive" / "obfsproxy-stats-2026-11.tar.xz"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    collector.accept(document(2, NOW - DAY))
    with pytest.raises(MonthError, match=r"obfsproxy-stats-2026-11.tar.xz is damaged; .*"):
        collector.publisher.publish(NOW + DAY)
    assert path.read_bytes() == damaged
