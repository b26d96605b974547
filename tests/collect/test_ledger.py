"""The ledger on both databases: what is kept, and what the archive is told of it."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.store.admission import Outcome
from obfstats.collect.store.database import DatabaseError, open_database
from obfstats.collect.store.ledger import Ledger
from obfstats.collect.submission import Submission

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = f"RW{'k' * 54}"
BRIDGE = "ab" * 20
NOW = 1_800_000_000
DAY = 86_400


def submission(bridge: str = BRIDGE, end: int = NOW - DAY, *, key: str = KEY, content: str = "") -> Submission:
    """Make what the ledger gets of a document; to the ledger its text is any text."""
    text = f"{bridge} {end} {content}\n".encode()
    return Submission(
        key=key,
        text=text,
        signature=f"signature of {key}\n".encode(),
        bridge=bridge,
        instance="",
        end=end,
        seconds=DAY,
        digest=sha256(text).hexdigest(),
    )


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    """An empty ledger."""
    database = open_database(database_url)
    yield Ledger(database)
    database.close()


def test_documents_wait_until_their_key_is_admitted(ledger: Ledger) -> None:
    """An unknown key's document is kept; the admission publishes it."""
    (decision,) = ledger.accept([submission()], NOW)
    assert decision.outcome is Outcome.QUARANTINED
    assert ledger.assign_recent("first") == 0
    assert ledger.admit(KEY, [], NOW).published == 1
    assert ledger.assign_recent("first") == 1


def test_a_document_goes_through_recent_into_its_month(ledger: Ledger) -> None:
    """The archive is told what to write next, and the text is dropped only when the month has it."""
    ledger.admit(KEY, [BRIDGE], NOW)
    sent = submission()
    assert [decision.outcome for decision in ledger.accept([sent, sent], NOW)] == [Outcome.PUBLISHED, Outcome.KNOWN]
    ledger.assign_recent("first")
    assert ledger.unwritten_recent() == ["first"]
    assert ledger.unpacked_months() == []
    (stored,) = ledger.read_recent("first")
    assert (stored.text, stored.signature, stored.imported) == (sent.text, sent.signature, False)
    ledger.mark_recent_written("first")
    assert ledger.unwritten_recent() == []
    assert ledger.unpacked_months() == [("2027-01", False)]
    assert list(ledger.read_unpacked("2027-01", imported=False)) == [stored]
    ledger.mark_packed([(sent.key, sent.digest)])
    assert ledger.unpacked_months() == []
    (decision,) = ledger.accept([sent], NOW)
    assert decision.outcome is Outcome.KNOWN


def test_a_ledger_of_a_later_version_is_refused(database_url: str) -> None:
    """An older program would not know what the later one needs."""
    database = open_database(database_url)
    database.run(lambda: database.execute("INSERT INTO schema_version VALUES (9999)"))
    database.close()
    with pytest.raises(DatabaseError, match="tables are of version 9999, this program's of 1; use the version"):
        open_database(database_url)
