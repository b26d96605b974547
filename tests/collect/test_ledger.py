"""The ledger on both databases: what is kept, and what the archive is told of it."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.store.admission import Outcome
from obfstats.collect.store.database import DatabaseError, open_database
from obfstats.collect.store.ledger import Ledger, LedgerError
from obfstats.collect.submission import KeyStatus
from peers.program import OBFSTATS
from tests.collect.submissions import BRIDGE, DAY, KEY, NOW, submission
from tests.publish.programs import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from peers.postgresql import Server


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
    assert ledger.admit(KEY).published == 1
    assert ledger.assign_recent("first") == 1


def test_a_document_goes_through_recent_into_its_month(ledger: Ledger) -> None:
    """The archive is told what to write next, and the text is dropped only when the month has it."""
    ledger.admit(KEY, [BRIDGE])
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


def test_what_a_withdrawal_tells_the_archive(ledger: Ledger) -> None:
    """Which file has the document; until the archive says that it is done. Its text is dropped then."""
    ledger.admit(KEY)
    sent = submission()
    ledger.accept([sent], NOW)
    ledger.assign_recent("first")
    ledger.mark_recent_written("first")
    ledger.withdraw(sent.digest)
    assert ledger.unpublished_withdrawals() == [(sent.digest, "first", "2027-01", False)]
    assert list(ledger.read_recent("first")) == []
    ledger.mark_withdrawal_published(sent.digest)
    assert ledger.unpublished_withdrawals() == []
    with pytest.raises(LedgerError, match="is in the archive of 2027-01 only"):
        ledger.read_one(sent.digest)


def test_imported_documents_go_into_months_of_their_own(ledger: Ledger) -> None:
    """Nothing is asked of their key, and no file below recent/ gets them."""
    old = submission(end=1_330_000_000)
    ledger.admit(KEY)
    ledger.accept([submission()], NOW)
    imported = [old, old, submission(end=old.end, content="other"), submission()]
    assert [decision.outcome for decision in ledger.add_imported(imported, NOW)] == [
        Outcome.PUBLISHED,
        Outcome.KNOWN,
        Outcome.CONFLICT,
        Outcome.KNOWN,
    ]
    assert ledger.assign_recent("first") == 1
    assert ledger.unpacked_months() == [("2012-02", True)]
    (stored,) = ledger.read_unpacked("2012-02", imported=True)
    assert (stored.digest, stored.imported) == (old.digest, True)


def test_long_lists_are_read_in_pages(ledger: Ledger) -> None:
    """In order, each document once, also while documents are packed in between."""
    bridges = [f"{number:040x}" for number in range(1201)]
    ledger.admit(KEY, bridges)
    ledger.accept([submission(bridge, NOW - DAY + number % 7) for number, bridge in enumerate(bridges)], NOW)
    ledger.assign_recent("first")
    recent = list(ledger.read_recent("first"))
    assert [document.bridge for document in recent] == bridges
    ledger.mark_recent_written("first")
    packed = []
    for document in ledger.read_unpacked("2027-01", imported=False):
        packed.append(document)
        if len(packed) % 100 == 0:
            ledger.mark_packed((document.key, document.digest) for document in packed)
    assert packed == sorted(recent, key=lambda document: (document.end, document.bridge))


def test_status_of_a_key(ledger: Ledger) -> None:
    """What its owner may ask; of an unknown key it is all zeros."""
    assert ledger.status_of(KEY) == KeyStatus(False, 0, None, 0, 0)
    ledger.admit(KEY)
    other_bridge, other_content = submission("cd" * 20), submission(content="other")
    ledger.accept([submission(), submission(end=NOW), other_bridge, other_content], NOW)
    assert ledger.status_of(KEY) == KeyStatus(True, 0, None, 1, 1)
    ledger.assign_recent("recent")
    assert ledger.status_of(KEY) == KeyStatus(True, 2, NOW, 1, 1)


def test_only_the_day_of_arrival_is_kept(ledger: Ledger, database_url: str) -> None:
    """The moment would tell when a bridge was up."""
    ledger.accept([submission()], NOW)
    database = open_database(database_url)
    rows = database.run(lambda: database.execute("SELECT * FROM documents"))
    database.close()
    assert {value for value in rows[0] if isinstance(value, int) and value > DAY} == {NOW - NOW % DAY, NOW - DAY}


def test_many_programs_open_a_new_ledger_at_once(database_url: str) -> None:
    """One of them makes the tables, the others wait for it."""

    def open_and_count() -> int:
        database = open_database(database_url)
        ((count,),) = database.run(lambda: database.execute("SELECT count(*) FROM schema_version"))
        database.close()
        return int(count)

    with ThreadPoolExecutor(8) as pool:
        assert [future.result() for future in [pool.submit(open_and_count) for _ in range(8)]] == [1] * 8


def test_two_collectors_take_the_same_documents_once(database_url: str) -> None:
    """In different orders, at once, again and again: no call fails, and each document is new to one of them."""
    database = open_database(database_url)
    Ledger(database).admit(KEY, [f"{number:040x}" for number in range(64)])
    database.close()
    rounds = [[submission(f"{number:040x}", NOW - day * DAY) for number in range(64)] for day in range(12)]

    def send(seed: int) -> list[Outcome]:
        shuffled = Random(seed)
        database = open_database(database_url)
        ledger = Ledger(database)
        taken: list[Outcome] = []
        for batch in rounds:
            order = shuffled.sample(range(64), 64)
            decisions = ledger.accept([batch[number] for number in order], NOW)
            by_number = dict(zip(order, (decision.outcome for decision in decisions), strict=True))
            taken.extend(by_number[number] for number in range(64))
        database.close()
        return taken

    with ThreadPoolExecutor(4) as pool:
        sent = [future.result() for future in [pool.submit(send, seed) for seed in range(4)]]
    for outcomes in zip(*sent, strict=True):
        assert sorted(outcomes, key=lambda outcome: outcome.value) == [Outcome.PUBLISHED, *[Outcome.KNOWN] * 3]


def test_two_collectors_see_two_claims(database_url: str) -> None:
    """Two keys claim one bridge at the same moment, each at its collector: one document at most is published."""
    keys = [f"RW{letter * 54}" for letter in "ab"]
    database = open_database(database_url)
    for key in keys:
        Ledger(database).admit(key)
    start = Barrier(2)

    def claim(key: str, day: int) -> Outcome:
        database = open_database(database_url)
        start.wait(30)
        (decision,) = Ledger(database).accept([submission(end=NOW - day * DAY, key=key)], NOW)
        database.close()
        return decision.outcome

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(claim, key, day) for day, key in enumerate(keys)]
        outcomes = sorted((future.result() for future in futures), key=lambda outcome: outcome.value)
    assert outcomes == [Outcome.PUBLISHED, Outcome.QUARANTINED]
    ledger = Ledger(database)
    later = [submission(end=NOW - 5 * DAY, key=keys[0]), submission(end=NOW - 6 * DAY, key=keys[1])]
    assert {decision.outcome for decision in ledger.accept(later, NOW)} == {Outcome.QUARANTINED}
    database.close()


def test_others_cannot_read_the_file(tmp_path: Path) -> None:
    """It has documents in quarantine, which are not public."""
    path = tmp_path / "ledger.sqlite"
    before = os.umask(0)
    try:
        database = open_database(f"sqlite:{path}")
        Ledger(database).accept([submission()], NOW)
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        database.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"], 0o600)


def test_a_command_beside_the_service_loses_nothing(tmp_path: Path) -> None:
    """The service has several connections. A program that opens and closes the ledger must see the locks of all."""
    path = tmp_path / "ledger.sqlite"
    databases = [open_database(str(path)) for _ in range(3)]
    result = run([OBFSTATS, "collect", "review", "--dir", str(tmp_path)])
    assert result.returncode == 0, result.stderr
    Ledger(databases[0]).accept([submission()], NOW)
    # What a program sees that starts now, after the service was killed.
    shutil.copytree(tmp_path, tmp_path / "copy")
    copied = open_database(str(tmp_path / "copy" / "ledger.sqlite"))
    assert Ledger(copied).status_of(KEY).quarantined == 1
    for database in (*databases, copied):
        database.close()


def test_a_lost_server_costs_one_batch(postgresql_server: Server) -> None:
    """The batch in which the connection breaks is refused as a whole; the next one connects again."""
    url = postgresql_server.create_database()
    database, other = open_database(url), open_database(url)
    ledger = Ledger(database)
    ledger.admit(KEY)
    other.run(
        lambda: other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    )
    with pytest.raises(DatabaseError, match="the ledger's database cannot be used: "):
        ledger.accept([submission()], NOW)
    (decision,) = ledger.accept([submission()], NOW)
    assert decision.outcome is Outcome.PUBLISHED
    database.close()
    other.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:secret@[::1]x/ledger",
        "postgresql://user:sec%zzret@localhost/ledger",
        "postgresql://user:secret@localhost:1/ledger",
        "postgresql://user:secret@localhost/ledger?unknown=secret",
    ],
)
def test_an_error_does_not_repeat_the_password(url: str) -> None:
    """Whatever is wrong with the URL."""
    with pytest.raises(DatabaseError) as refusal:
        open_database(url)
    assert "sec" not in str(refusal.value)
    assert "\n" not in str(refusal.value)
