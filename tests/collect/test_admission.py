"""The rules of admission, on both databases: each by itself, and all of them against a naive model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obfstats.collect.store.admission import Outcome, Status
from obfstats.collect.store.database import Database, open_database
from obfstats.collect.store.ledger import Ledger, LedgerError
from tests.collect.submissions import BRIDGE, DAY, KEY, NOW, submission

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from obfstats.collect.submission import Submission

OTHER_KEY = f"RW{'o' * 54}"
OTHER_BRIDGE = "cd" * 20


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty database."""
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """An empty ledger."""
    return Ledger(database)


def outcomes(ledger: Ledger, *documents: Submission) -> list[Outcome]:
    """Send documents; give what became of each."""
    return [decision.outcome for decision in ledger.accept(documents, NOW)]


def waiting(ledger: Ledger) -> list[tuple[str, Status]]:
    """Give what a person has to decide: digest and status."""
    return [(document.digest, document.status) for document in ledger.review()]


def test_an_unknown_keys_document_waits_and_admission_publishes_it(ledger: Ledger) -> None:
    """What was sent before a person answered is not lost."""
    assert outcomes(ledger, submission()) == [Outcome.QUARANTINED]
    assert ledger.assign_recent("first") == 0
    assert ledger.admit(KEY) == (1, 0, 0)
    assert ledger.assign_recent("first") == 1
    assert outcomes(ledger, submission()) == [Outcome.KNOWN]


def test_a_key_admitted_without_a_bridge_publishes_for_one(ledger: Ledger) -> None:
    """A key that claims thousands of public fingerprints gains one of them."""
    ledger.admit(KEY)
    squatted = [submission(f"{number:040x}") for number in range(50)]
    assert outcomes(ledger, submission(), *squatted) == [Outcome.PUBLISHED, *[Outcome.QUARANTINED] * 50]
    assert outcomes(ledger, submission(end=NOW - 2 * DAY)) == [Outcome.PUBLISHED]


def test_a_named_key_publishes_for_its_bridges_alone(ledger: Ledger) -> None:
    """A name for one bridge is not a claim for another."""
    ledger.admit(KEY, [BRIDGE])
    assert outcomes(ledger, submission(), submission(OTHER_BRIDGE)) == [Outcome.PUBLISHED, Outcome.QUARANTINED]
    assert ledger.admit(KEY, [OTHER_BRIDGE]) == (1, 0, 0)


def test_a_claim_does_not_reach_a_bridge_with_names(ledger: Ledger) -> None:
    """Nor is the claim used up by the attempt."""
    ledger.admit(OTHER_KEY, [BRIDGE])
    ledger.admit(KEY)
    assert outcomes(ledger, submission()) == [Outcome.QUARANTINED]
    assert outcomes(ledger, submission(OTHER_BRIDGE)) == [Outcome.PUBLISHED]


def test_two_keys_named_for_one_bridge_may_both_publish(ledger: Ledger) -> None:
    """A person decided so; the same bytes are published once."""
    ledger.admit(KEY, [BRIDGE])
    ledger.admit(OTHER_KEY, [BRIDGE])
    documents = [submission(), submission(key=OTHER_KEY), submission(end=NOW - 2 * DAY, key=OTHER_KEY)]
    assert outcomes(ledger, *documents) == [Outcome.PUBLISHED, Outcome.KNOWN, Outcome.PUBLISHED]


def test_two_claims_of_one_bridge_quarantine_both(ledger: Ledger) -> None:
    """From the second claim on, until a person names one of the keys. What is published stays."""
    ledger.admit(KEY)
    ledger.admit(OTHER_KEY)
    assert outcomes(ledger, submission(), submission(end=NOW - 2 * DAY, key=OTHER_KEY)) == [
        Outcome.PUBLISHED,
        Outcome.QUARANTINED,
    ]
    later = submission(end=NOW)
    assert outcomes(ledger, later) == [Outcome.QUARANTINED]
    assert ledger.admit(KEY, [BRIDGE]) == (1, 0, 0)
    assert outcomes(ledger, later, submission(end=NOW - 3 * DAY, key=OTHER_KEY)) == [
        Outcome.KNOWN,
        Outcome.QUARANTINED,
    ]


def test_a_document_that_waited_is_published_when_it_is_sent_again(ledger: Ledger) -> None:
    """The claim that was in its way is revoked meanwhile."""
    ledger.admit(KEY)
    ledger.admit(OTHER_KEY)
    outcomes(ledger, submission(key=OTHER_KEY), submission(end=NOW))
    assert outcomes(ledger, submission(end=NOW)) == [Outcome.QUARANTINED]
    assert ledger.revoke(OTHER_KEY)
    assert outcomes(ledger, submission(end=NOW)) == [Outcome.PUBLISHED]
    assert waiting(ledger) == []


def test_a_revoked_keys_documents_wait_again(ledger: Ledger) -> None:
    """What it has published stays."""
    ledger.admit(KEY, [BRIDGE])
    outcomes(ledger, submission())
    assert ledger.revoke(KEY)
    assert not ledger.revoke(KEY)
    assert outcomes(ledger, submission(end=NOW)) == [Outcome.QUARANTINED]
    assert outcomes(ledger, submission()) == [Outcome.KNOWN]


def test_a_claim_gains_nothing_when_the_named_key_is_revoked(ledger: Ledger) -> None:
    """A stolen key is revoked before its bridge's new one is named."""
    ledger.admit(OTHER_KEY)
    assert outcomes(ledger, submission(key=OTHER_KEY, end=NOW - 3 * DAY)) == [Outcome.PUBLISHED]
    ledger.admit(KEY, [BRIDGE])
    ledger.revoke(KEY)
    assert outcomes(ledger, submission(key=OTHER_KEY), submission()) == [Outcome.QUARANTINED] * 2
    # After a revocation, an admission without a bridge names none.
    ledger.admit(KEY)
    assert outcomes(ledger, submission()) == [Outcome.QUARANTINED]
    assert ledger.admit(OTHER_KEY, [BRIDGE]) == (1, 0, 0)


def test_another_content_of_an_interval_conflicts(ledger: Ledger) -> None:
    """It is kept for a person to see; the first one is published."""
    ledger.admit(KEY)
    other = submission(content="other")
    assert outcomes(ledger, submission(), other, other) == [Outcome.PUBLISHED, Outcome.CONFLICT, Outcome.CONFLICT]
    assert waiting(ledger) == [(other.digest, Status.CONFLICTING)]
    assert ledger.assign_recent("first") == 1


def test_instances_of_one_bridge_do_not_conflict(ledger: Ledger) -> None:
    """Each has numbers of its own for an interval."""
    ledger.admit(KEY)
    documents = [submission(), submission(instance="a"), submission(instance="A")]
    assert outcomes(ledger, *documents) == [Outcome.PUBLISHED] * 3


def test_the_quarantine_is_bounded(database: Database) -> None:
    """A key's share is full first; the whole only keeps out keys that are not admitted."""
    ledger = Ledger(database, max_waiting_per_key=2, max_waiting=3)
    keys = [f"RW{number:054d}" for number in range(3)]
    by_key = [[submission(end=NOW - day * DAY, key=key, content=key) for day in range(3)] for key in keys]
    assert outcomes(ledger, *by_key[0]) == [Outcome.QUARANTINED, Outcome.QUARANTINED, Outcome.FULL]
    assert outcomes(ledger, *by_key[1]) == [Outcome.QUARANTINED, Outcome.FULL, Outcome.FULL]
    # What waits already is not more when it is sent again.
    assert outcomes(ledger, *by_key[0]) == [Outcome.QUARANTINED, Outcome.QUARANTINED, Outcome.FULL]
    ledger.admit(keys[2], [OTHER_BRIDGE])
    assert outcomes(ledger, *by_key[2]) == [Outcome.QUARANTINED, Outcome.QUARANTINED, Outcome.FULL]
    for documents in by_key[:2]:
        ledger.drop(documents[0].digest)
    assert outcomes(ledger, *by_key[1]) == [Outcome.FULL] * 3
    ledger.drop(by_key[2][0].digest)
    assert outcomes(ledger, *by_key[1]) == [Outcome.QUARANTINED, Outcome.FULL, Outcome.FULL]


def test_an_admitted_keys_conflicts_are_bounded(database: Database) -> None:
    """It is told of the conflict, but no more of them are kept."""
    ledger = Ledger(database, max_waiting_per_key=2)
    ledger.admit(KEY)
    assert outcomes(ledger, submission()) == [Outcome.PUBLISHED]
    others = [submission(content=str(number)) for number in range(5)]
    assert outcomes(ledger, *others) == [Outcome.CONFLICT] * 5
    assert len(waiting(ledger)) == 2


def test_the_quarantine_expires(ledger: Ledger) -> None:
    """Only the day of arrival is known, so a document stays until the whole day is past."""
    outcomes(ledger, submission())
    midnight = NOW - NOW % DAY
    assert ledger.expire_quarantine(midnight + DAY - 1) == 0
    assert ledger.expire_quarantine(midnight + DAY) == 1
    assert waiting(ledger) == []


# The model: documents in a list, every rule looked up in it.

KEYS = [f"RW{letter * 54}" for letter in "abc"]
BRIDGES = [digit * 40 for digit in "12"]
PER_KEY, IN_ALL = 3, 5


class Sent(NamedTuple):
    """A document of few possible ones."""

    key: str
    bridge: str
    end: int
    content: str

    def submission(self) -> Submission:
        """Make what the ledger gets of it."""
        return submission(self.bridge, NOW - self.end * DAY, key=self.key, content=self.content)

    @property
    def text(self) -> tuple[str, int, str]:
        """What its digest is of."""
        return self[1:]


@dataclass
class Model:
    """What the ledger should do."""

    may_claim: dict[str, bool] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    names: set[tuple[str, str]] = field(default_factory=set)
    documents: dict[Sent, Status] = field(default_factory=dict)

    def waiting(self) -> list[Sent]:
        """Give what a person has to decide."""
        return [sent for sent, is_ in self.documents.items() if is_ in (Status.QUARANTINED, Status.CONFLICTING)]

    def holders(self, sent: Sent) -> list[Sent]:
        """Give what is published or withdrawn for a document's interval."""
        return [
            other
            for other, is_ in self.documents.items()
            if is_ in (Status.PUBLISHED, Status.WITHDRAWN) and other.text[:2] == sent.text[:2]
        ]

    def may_publish(self, sent: Sent) -> bool:
        """Tell whether a document's key may publish for its bridge."""
        if sent.key not in self.may_claim:
            return False
        named = [key for bridge, key in self.names if bridge == sent.bridge]
        if named:
            return sent.key in named
        if self.may_claim[sent.key]:
            self.claims.setdefault(sent.key, sent.bridge)
        return [key for key, bridge in self.claims.items() if bridge == sent.bridge] == [sent.key]

    def send(self, sent: Sent) -> Outcome:
        """Give what should become of a document."""
        for holder in self.holders(sent):
            if holder.text == sent.text:
                return Outcome.KNOWN if self.documents[holder] is Status.PUBLISHED else Outcome.CONFLICT
        of_key = [other for other in self.waiting() if other.key == sent.key]
        has_room = len(of_key) < PER_KEY and (sent.key in self.may_claim or len(self.waiting()) < IN_ALL)
        if not self.may_publish(sent):
            if sent in self.documents:
                return Outcome.QUARANTINED
            if not has_room:
                return Outcome.FULL
            self.documents[sent] = Status.QUARANTINED
            return Outcome.QUARANTINED
        if self.holders(sent) or self.documents.get(sent) is Status.REPLACED:
            if self.documents.get(sent) is Status.QUARANTINED or (sent not in self.documents and has_room):
                self.documents[sent] = Status.CONFLICTING
            return Outcome.CONFLICT
        self.documents[sent] = Status.PUBLISHED
        return Outcome.PUBLISHED

    def admit(self, key: str, bridges: Sequence[str]) -> None:
        """Admit a key; what waits of it is judged again, the oldest first."""
        if key not in self.may_claim:
            self.names = {name for name in self.names if name[1] != key}
        self.may_claim[key] = self.may_claim.get(key, False) or not bridges
        self.names |= {(bridge, key) for bridge in bridges}
        again = [sent for sent, is_ in self.documents.items() if sent.key == key and is_ is Status.QUARANTINED]
        for sent in sorted(again, key=lambda sent: (-sent.end, sent.bridge, sent.submission().digest)):
            self.send(sent)

    def revoke(self, key: str) -> None:
        """Forget a key, but not that its bridges have named keys."""
        self.may_claim.pop(key, None)
        self.claims.pop(key, None)

    def accept(self, sent: Sent) -> None:
        """Publish what waits; of several keys with the same bytes, the first one's. What was withdrawn stays so."""
        same = {other: is_ for other, is_ in self.documents.items() if other.text == sent.text}
        waiting = sorted(other for other in self.waiting() if other in same)
        if not waiting or {Status.WITHDRAWN, Status.REPLACED} & set(same.values()):
            return
        if Status.PUBLISHED not in same.values():
            for holder in self.holders(sent):
                self.documents[holder] = Status.REPLACED
            self.documents[waiting.pop(0)] = Status.PUBLISHED
        for other in waiting:
            del self.documents[other]

    def drop(self, sent: Sent) -> None:
        """Delete what waits."""
        for other in self.waiting():
            if other.text == sent.text:
                del self.documents[other]

    def withdraw(self, sent: Sent) -> None:
        """Withdraw what is published."""
        for other in self.holders(sent):
            if other.text == sent.text:
                self.documents[other] = Status.WITHDRAWN


documents = st.builds(
    Sent, st.sampled_from(KEYS), st.sampled_from(BRIDGES), st.sampled_from([1, 2]), st.sampled_from(["", "other"])
)
steps = st.one_of(
    st.tuples(st.just("send"), st.lists(documents, min_size=1, max_size=6)),
    st.tuples(
        st.just("admit"), st.tuples(st.sampled_from(KEYS), st.lists(st.sampled_from(BRIDGES), max_size=2, unique=True))
    ),
    st.tuples(st.just("revoke"), st.sampled_from(KEYS)),
    st.tuples(st.sampled_from(["accept", "drop", "withdraw"]), documents),
)


@given(st.lists(steps, max_size=25))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_ledger_does_what_the_rules_say(database: Database, taken: list[tuple[str, Any]]) -> None:
    """Any decisions and any documents: outcomes, what is published and what waits are those of the model."""
    for table in ("documents", "names", "keys"):
        database.run(partial(database.execute, f"DELETE FROM {table}"))
    ledger, model = Ledger(database, max_waiting_per_key=PER_KEY, max_waiting=IN_ALL), Model()
    for step, argument in taken:
        if step == "send":
            batch = [sent.submission() for sent in argument]
            assert outcomes(ledger, *batch) == [model.send(sent) for sent in argument]
        elif step == "admit":
            ledger.admit(*argument)
            model.admit(*argument)
        elif step == "revoke":
            ledger.revoke(argument)
            model.revoke(argument)
        else:
            with suppress(LedgerError):
                getattr(ledger, {"accept": "accept_one"}.get(step, step))(argument.submission().digest)
            getattr(model, step)(argument)
    expected = {(sent.submission().digest, sent.key): status for sent, status in model.documents.items()}
    stored = database.run(lambda: database.execute("SELECT digest, key, status FROM documents"))
    assert {(digest, key): status for digest, key, status in stored} == expected
