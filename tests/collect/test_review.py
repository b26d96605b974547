"""The commands of a collector's operators: `obfstats collect admit`, `revoke`, `review`, on both databases."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.store.admission import OTHER_CONTENT, UNKNOWN_KEY, Outcome
from obfstats.collect.store.database import LEDGER_NAME, open_database
from obfstats.collect.store.ledger import Ledger
from peers.program import OBFSTATS
from tests.collect.submissions import BRIDGE, DAY, NOW, submission
from tests.publish.programs import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "RWSQonsexnGaiMYpANC2fvl2RljkxmQYYSk52you4FLQBIeV96cJVouC"

Collect = Callable[..., tuple[int, str, str]]
"""Runs `obfstats collect`; gives its exit status, what it printed, and its lines to the operator."""


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    """The ledger of a collector that runs: it stays open while the commands run."""
    database = open_database(database_url)
    yield Ledger(database)
    database.close()


@pytest.fixture
def collect(ledger: Ledger, database_url: str, tmp_path: Path) -> Collect:
    """Runs a command on that ledger."""
    assert ledger
    where = [] if database_url.endswith(LEDGER_NAME) else ["--database", database_url]

    def run_collect(*words: str) -> tuple[int, str, str]:
        result = run([OBFSTATS, "collect", *words, "--dir", str(tmp_path), *where])
        return result.returncode, result.stdout.decode(), result.stderr.decode()

    return run_collect


def test_admit_publishes_what_waits(ledger: Ledger, collect: Collect) -> None:
    """The collector that runs knows it at once."""
    ledger.accept([submission(key=KEY)], NOW)
    status, _, said = collect("admit", KEY, "--bridge", BRIDGE.upper())
    admitted, waiting = said.splitlines()
    assert (status, admitted) == (0, f"obfstats collect admit: admitted for {BRIDGE}")
    assert waiting == (
        "obfstats collect admit: of its documents in quarantine, 1 will be published, 0 conflict with what is "
        "published, 0 stay in quarantine"
    )
    (decision,) = ledger.accept([submission(end=NOW, key=KEY)], NOW)
    assert decision.outcome is Outcome.PUBLISHED


def test_revoke_keeps_what_is_published(ledger: Ledger, collect: Collect) -> None:
    """A key that is not admitted is named as such."""
    ledger.admit(KEY)
    status, _, said = collect("revoke", KEY)
    assert (status, said.partition(";")[0]) == (0, "obfstats collect revoke: revoked")
    assert collect("revoke", KEY) == (1, "", "obfstats collect revoke: this key is not admitted\n")


def test_review_lists_what_waits(ledger: Ledger, collect: Collect) -> None:
    """Digest, key, bridge, interval and reason: what a person needs to ask the operator."""
    ledger.admit(KEY)
    unknown = KEY.replace("RWS", "RWT")
    other, quarantined = submission(content="other", key=KEY), submission("cd" * 20, key=unknown)
    ledger.accept([submission(key=KEY), other, quarantined], NOW)
    status, listed, said = collect("review")
    assert status == 0
    assert [re.split(" {2,}", line) for line in listed.splitlines()[1:]] == [
        [other.digest[:16], KEY, BRIDGE, "2027-01-14 08:00:00", f"conflicting: {OTHER_CONTENT}"],
        [quarantined.digest[:16], unknown, "cd" * 20, "2027-01-14 08:00:00", f"quarantined: {UNKNOWN_KEY}"],
    ]
    assert said == ("obfstats collect review: 2 documents wait; --show, --accept or --drop DIGEST, or admit the key\n")


def test_review_reports_an_empty_quarantine(collect: Collect) -> None:
    """One line, without a table."""
    assert collect("review") == (0, "", "obfstats collect review: no document waits\n")


def test_review_publishes_one_document(ledger: Ledger, collect: Collect) -> None:
    """Whatever its key; the key's other documents wait on."""
    first, second = submission(key=KEY), submission(end=NOW, key=KEY)
    ledger.accept([first, second], NOW)
    status, _, said = collect("review", "--accept", first.digest[:8].upper())
    assert (status, said) == (
        0,
        f"obfstats collect review: {first.digest[:16]} of {BRIDGE}, 2027-01-14 08:00:00: will be published\n",
    )
    assert [document.digest for document in ledger.review()] == [second.digest]
    assert ledger.assign_recent("first") == 1


def test_review_replaces_what_a_document_contradicts(ledger: Ledger, collect: Collect) -> None:
    """The published one is withdrawn, and cannot come back."""
    ledger.admit(KEY)
    wrong, right = submission(key=KEY), submission(key=KEY, content="right")
    ledger.accept([wrong, right], NOW)
    assert collect("review", "--accept", right.digest)[0] == 0
    assert [withdrawal.digest for withdrawal in ledger.unpublished_withdrawals()] == [wrong.digest]
    outcomes = [decision.outcome for decision in ledger.accept([wrong, right], NOW)]
    assert outcomes == [Outcome.CONFLICT, Outcome.KNOWN]


def test_review_drops_and_withdraws_several(ledger: Ledger, collect: Collect) -> None:
    """One mistyped digest does not keep the others from being dropped."""
    waiting = [submission(end=NOW - day * DAY, key=KEY) for day in range(3)]
    ledger.accept(waiting, NOW)
    status, _, said = collect("review", "--drop", waiting[0].digest, "f" * 64, waiting[1].digest, "12 34")
    assert status == 1
    assert said.splitlines()[1::2] == [
        f"obfstats collect review: no quarantined or conflicting document has a digest that begins with {'f' * 64}",
        "obfstats collect review: '12 34' is not the beginning of a digest, 8 to 64 hex digits",
    ]
    assert [document.digest for document in ledger.review()] == [waiting[2].digest]
    ledger.admit(KEY)
    assert collect("review", "--withdraw", waiting[2].digest)[0] == 0
    assert [withdrawal.digest for withdrawal in ledger.unpublished_withdrawals()] == [waiting[2].digest]


def test_review_shows_a_document(ledger: Ledger, collect: Collect) -> None:
    """As text, on standard output."""
    sent = submission(key=KEY)
    ledger.accept([sent], NOW)
    assert collect("review", "--show", sent.digest[:10])[:2] == (0, sent.text.decode())


def test_a_mistyped_database_is_named(tmp_path: Path) -> None:
    """It does not become a ledger that no collector reads, with a key that is told to be admitted."""
    typo = tmp_path / "leger.sqlite"
    result = run([OBFSTATS, "collect", "admit", KEY, "--dir", str(tmp_path), "--database", f"sqlite:{typo}"])
    assert (result.returncode, list(tmp_path.iterdir())) == (2, [])
    assert f"sqlite:{typo} has no ledger; name the --database of `obfstats collect serve`" in result.stderr.decode()


def test_a_folder_without_a_ledger_is_named(tmp_path: Path) -> None:
    """A mistyped folder does not get a ledger that no collector reads."""
    result = run([OBFSTATS, "collect", "admit", KEY, "--dir", str(tmp_path)])
    assert (result.returncode, list(tmp_path.iterdir())) == (2, [])
    assert result.stderr.decode() == (
        f"obfstats collect admit: {tmp_path} has no ledger; name the folder of `obfstats collect serve`; "
        "see obfstats collect admit --help\n"
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([KEY[:-1]], "KEY: not a public key of 56 characters, as `obfstats key show` prints it"),
        ([KEY, "--bridge", "ab"], "--bridge: not a fingerprint of 40 hex digits"),
    ],
)
def test_what_is_no_key_or_bridge_is_refused(collect: Collect, words: list[str], reason: str) -> None:
    """Before anything is decided."""
    status, _, said = collect("admit", *words)
    assert (status, said) == (2, f"obfstats collect admit: {reason}; see obfstats collect admit --help\n")
