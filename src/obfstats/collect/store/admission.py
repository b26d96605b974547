"""Which documents are published: the rules of admission. Pure: what the ledger has comes in, what changes goes out.

A hashed fingerprint is public, so that a document names it proves nothing. The key that signed the document must be
admitted by a person (design, "Trust in collected documents").

Rules:

- A key that is not admitted: quarantine.
- A person may name keys for a bridge, any number. Then only their documents of it are published, and none after these
  keys are revoked: a key that claims the bridge gains nothing when the bridge's key is stolen.
- A key that was admitted without a bridge may publish for one: the first that it sends a document of and that no key
  is named for. That is its claim. So a key that sends documents of thousands of public fingerprints gains nothing.
- Two admitted keys that claim one bridge: both are quarantined for it from then on, until a person names one.
- A bridge, an instance and an interval have one content. Another one conflicts, and is kept for a person to see.
- The same bytes again are known, whichever key signed them.
- Quarantine is bounded: MAX_WAITING_PER_KEY documents a key, and of keys that are not admitted MAX_WAITING in all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_WAITING_PER_KEY = 100
"""Quarantined and conflicting documents that are kept of one key."""

MAX_WAITING = 100_000
"""Quarantined and conflicting documents, above which nothing more is kept of keys that are not admitted."""


class Status(StrEnum):
    """What a document in the ledger is. The values are in the database."""

    PUBLISHED = "published"
    """It is in the public archive, or will be."""
    QUARANTINED = "quarantined"
    CONFLICTING = "conflicting"
    WITHDRAWN = "withdrawn"
    """It was published; nothing else is published for its interval."""
    REPLACED = "replaced"
    """It was published; a person has accepted another content for its interval."""


class Outcome(Enum):
    """What became of a document that was sent."""

    PUBLISHED = auto()
    KNOWN = auto()
    QUARANTINED = auto()
    CONFLICT = auto()
    FULL = auto()


class Decision(NamedTuple):
    """What became of a document, and the same in words for its sender."""

    outcome: Outcome
    detail: str


class Judged(Protocol):
    """What is judged of a document; `submission.Submission` has it all."""

    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def bridge(self) -> str: ...  # noqa: D102
    @property
    def instance(self) -> str: ...  # noqa: D102
    @property
    def end(self) -> int: ...  # noqa: D102


Slot = tuple[str, str, int]
"""Bridge, instance, end of the interval: what has one content."""


@dataclass(slots=True)
class AdmittedKey:
    """A key that a person has admitted.

    Attributes:
        may_claim: whether it may publish for one bridge that no key is named for.
        claim: that bridge, once there is one.
    """

    may_claim: bool
    claim: str | None


class StatusChange(NamedTuple):
    """What a document becomes in the ledger."""

    status: Status
    reason: str


UNKNOWN_KEY = "the key is not admitted"
OTHER_BRIDGE = "the key is not admitted for this bridge"
CONTESTED = "another key claims this bridge"
OTHER_CONTENT = "another document of this interval is published"
INTERVAL_WITHDRAWN = "the document of this interval was withdrawn"
_ADVICE = "send the public key and the hashed fingerprint to the collector's operators"


@dataclass(slots=True)
class Admission:
    """What the ledger has of the documents that are judged, and what changes.

    Attributes:
        keys: those of their keys that are admitted.
        named: the keys that are named for their bridges, also those that were revoked.
        claimants: the admitted keys that claim their bridges.
        slots: digest and status of what is published or withdrawn for their intervals.
        known: by (digest, key), what those documents are that the ledger has already.
        waiting: quarantined and conflicting documents by key.
        waiting_in_all: of all keys; asked only where a key is not admitted.
        max_waiting_per_key: usually MAX_WAITING_PER_KEY.
        max_waiting: usually MAX_WAITING.
        changes: by (digest, key), what is new.
        claims: by key, the claims that are new.
    """

    keys: Mapping[str, AdmittedKey]
    named: Mapping[str, set[str]]
    claimants: dict[str, set[str]]
    slots: dict[Slot, tuple[str, Status]]
    known: dict[tuple[str, str], Status]
    waiting: dict[str, int]
    waiting_in_all: int
    max_waiting_per_key: int
    max_waiting: int
    changes: dict[tuple[str, str], StatusChange] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)

    def judge(self, document: Judged) -> Decision:
        """Decide what becomes of a document."""
        row = (document.digest, document.key)
        slot = (document.bridge, document.instance, document.end)
        known = self.known.get(row)
        digest, status = self.slots.get(slot, (None, None))
        if digest == document.digest:
            if status is Status.PUBLISHED:
                return Decision(Outcome.KNOWN, "the same document is published")
            return Decision(Outcome.CONFLICT, INTERVAL_WITHDRAWN)
        reason = self._refuse_key(document)
        if reason:
            if known is None and not self._make_room(document.key):
                return Decision(Outcome.FULL, f"{reason}, and the quarantine is full; {_ADVICE}")
            if known is None:
                self._change(row, Status.QUARANTINED, reason)
            return Decision(Outcome.QUARANTINED, f"quarantined: {reason}; {_ADVICE}")
        if status is not None or known is Status.REPLACED:
            reason = INTERVAL_WITHDRAWN if status is Status.WITHDRAWN else OTHER_CONTENT
            if known is Status.QUARANTINED or (known is None and self._make_room(document.key)):
                self._change(row, Status.CONFLICTING, reason)
            return Decision(Outcome.CONFLICT, reason)
        self._change(row, Status.PUBLISHED, "")
        self.slots[slot] = (document.digest, Status.PUBLISHED)
        if known is not None:
            self._remove_waiting(document.key)
        return Decision(Outcome.PUBLISHED, "accepted")

    def _refuse_key(self, document: Judged) -> str:
        """Tell why a document's key may not publish for its bridge; empty if it may. A first document is a claim."""
        key, bridge = self.keys.get(document.key), document.bridge
        if key is None:
            return UNKNOWN_KEY
        named = self.named.get(bridge)
        if named:
            return "" if document.key in named else OTHER_BRIDGE
        if key.may_claim and key.claim is None:
            key.claim = self.claims[document.key] = bridge
            self.claimants.setdefault(bridge, set()).add(document.key)
        if key.claim != bridge:
            return OTHER_BRIDGE
        return CONTESTED if len(self.claimants[bridge]) > 1 else ""

    def _make_room(self, key: str) -> bool:
        """Count one more waiting document of a key, if there may be."""
        count = self.waiting.get(key, 0)
        if count >= self.max_waiting_per_key or (key not in self.keys and self.waiting_in_all >= self.max_waiting):
            return False
        self.waiting[key] = count + 1
        self.waiting_in_all += 1
        return True

    def _remove_waiting(self, key: str) -> None:
        self.waiting[key] -= 1
        self.waiting_in_all -= 1

    def _change(self, row: tuple[str, str], status: Status, reason: str) -> None:
        self.changes[row] = StatusChange(status, reason)
        self.known[row] = status
