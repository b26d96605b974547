"""Withdrawn documents: gone from all files at the next publication, with a line for each file that had them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from obfstats.collect.archive.published_files import Archive
from obfstats.collect.archive.recent import SIGNATURES_SUFFIX, split_signatures
from obfstats.collect.archive.withdrawn import WITHDRAWN
from obfstats.collect.signing import verify
from tests.collect.collectors import DAY, NOW, Collector, document, open_collector, sign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECENT = "recent/obfsproxy-stats/2026-11-30-14-09-00-obfsproxy-stats"
MONTH = "archive/obfsproxy-stats-2026-11.tar.xz"


@pytest.fixture
def collector(tmp_path: Path, database_url: str) -> Iterator[Collector]:
    """A new collector, on both databases."""
    with open_collector(tmp_path / "collector", database_url) as collector:
        yield collector


def tombstones(collector: Collector) -> list[str]:
    """Give the lines of the file `withdrawn`."""
    return collector.files()[WITHDRAWN].decode().splitlines()


def test_a_withdrawn_document_leaves_recent_and_month(collector: Collector) -> None:
    """The others stay, with their signatures; each file has a line."""
    texts = [document(number, NOW - DAY) for number in range(3)]
    accepted = collector.accept(*texts)
    collector.publisher.publish(NOW)
    withdrawn = accepted[1].digest
    collector.ledger.withdraw(withdrawn)
    collector.publisher.publish(NOW + 3600)
    assert tombstones(collector) == [
        f"2026-11-30 15:09:00 {withdrawn} {RECENT}",
        f"2026-11-30 15:09:00 {withdrawn} {MONTH}",
    ]
    files = collector.files()
    rest = sorted([accepted[0], accepted[2]], key=lambda submission: submission.bridge)
    assert files[RECENT] == b"".join(submission.text for submission in rest)
    signatures = list(split_signatures(files[RECENT + SIGNATURES_SUFFIX].splitlines(keepends=True)))
    assert signatures == [submission.signature for submission in rest]
    assert collector.documents() == sorted([texts[0], texts[2]])
    for path, content in files.items():
        verify(content, (collector.public / f"{path}.minisig").read_bytes(), collector.key.public)
    collector.publisher.publish(NOW + 7200)
    assert len(tombstones(collector)) == 2


def test_files_without_any_document_are_removed(collector: Collector) -> None:
    """No empty archives, and no signatures of files that are gone."""
    (accepted,) = collector.accept(document(1, NOW - DAY))
    collector.publisher.publish(NOW)
    collector.ledger.withdraw(accepted.digest)
    collector.publisher.publish(NOW + 3600)
    assert list(collector.files()) == ["minisign.pub", WITHDRAWN]
    assert not [*(collector.public / "recent").rglob("*-stats*.*"), *(collector.public / "archive").iterdir()]
    assert len(tombstones(collector)) == 2


def test_a_recent_file_that_was_removed_before_has_a_line(collector: Collector) -> None:
    """A mirror may have kept it."""
    (accepted,) = collector.accept(document(1, NOW - DAY))
    collector.publisher.publish(NOW)
    collector.publisher.publish(NOW + 4 * DAY)
    assert RECENT not in collector.files()
    collector.ledger.withdraw(accepted.digest)
    collector.publisher.publish(NOW + 5 * DAY)
    assert {line.split(" ")[3] for line in tombstones(collector)} == {RECENT, MONTH}


def test_a_withdrawn_document_that_no_file_has_leaves_no_line(collector: Collector) -> None:
    """It was withdrawn before the next publication."""
    (accepted,) = collector.accept(document(1, NOW - DAY))
    collector.ledger.withdraw(accepted.digest)
    collector.publisher.publish(NOW)
    assert list(collector.files()) == ["minisign.pub"]
    assert collector.ledger.unpublished_withdrawals() == []


def test_a_document_that_is_replaced_is_withdrawn_and_the_other_one_published(collector: Collector) -> None:
    """The archive has one document of an interval, and says which one is gone."""
    (first,) = collector.accept(document(1, NOW - DAY))
    collector.publisher.publish(NOW)
    other = sign(collector.bridge_key, document(1, NOW - DAY, clients=16))
    collector.ledger.accept([other], NOW)
    collector.ledger.accept_one(other.digest)
    collector.publisher.publish(NOW + 3600)
    collector.publisher.publish(NOW + DAY)
    assert collector.documents() == [other.text]
    assert {line.split(" ")[2] for line in tombstones(collector)} == {first.digest}


def test_a_document_that_is_replaced_while_its_month_is_packed_waits(collector: Collector) -> None:
    """The archive keeps the old one until its line is written; then the new one comes in."""
    (first,) = collector.accept(document(1, NOW - DAY))
    collector.publisher.publish(NOW)
    other = sign(collector.bridge_key, document(1, NOW - DAY, clients=16))
    collector.ledger.accept([other], NOW)
    # The decision comes after the publisher has looked up what is withdrawn, and before it packs.
    collector.ledger.accept_one(other.digest)
    collector.publisher._write_recent("2026-12-01-14-09-00-obfsproxy-stats")
    collector.publisher._pack()
    assert collector.documents() == [first.text]
    collector.publisher.publish(NOW + DAY)
    assert collector.documents() == [other.text]
    assert first.digest in tombstones(collector)[0]


def test_a_recent_file_whose_removal_was_killed_does_not_stop_a_withdrawal(collector: Collector) -> None:
    """Its signatures are gone already; without care, each later publication would miss them."""
    accepted, _ = collector.accept(document(1, NOW - DAY), document(2, NOW - DAY))
    collector.publisher.publish(NOW)
    Archive(collector.public, collector.key).remove(RECENT + SIGNATURES_SUFFIX)
    collector.ledger.withdraw(accepted.digest)
    collector.publisher.publish(NOW + 4 * DAY)
    assert [path for path in collector.files() if path.startswith("recent")] == []
    assert collector.documents() == [document(2, NOW - DAY)]
    assert len(tombstones(collector)) == 2


def test_a_document_that_is_withdrawn_while_its_file_is_written_takes_its_signature_along(
    collector: Collector,
) -> None:
    """The signatures are written before the documents; a person may decide in between."""
    key = collector.bridge_key.public
    accepted = sorted(
        collector.accept(*(document(number, NOW - DAY) for number in range(3))), key=lambda each: each.bridge
    )

    def withdraw_in_between() -> None:
        is_begun = (collector.public / (RECENT + SIGNATURES_SUFFIX)).exists()
        if is_begun and not (collector.public / RECENT).exists() and collector.ledger.status_of(key).published == 3:
            collector.ledger.withdraw(accepted[1].digest)

    collector.restart(withdraw_in_between)
    collector.publisher.publish(NOW)
    files = collector.files()
    signatures = list(split_signatures(files[RECENT + SIGNATURES_SUFFIX].splitlines(keepends=True)))
    assert files[RECENT] == accepted[0].text + accepted[2].text
    assert signatures == [accepted[0].signature, accepted[2].signature]
