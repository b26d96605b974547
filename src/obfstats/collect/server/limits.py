"""How many documents the service takes: a bucket for each key, and one for all keys that are not admitted together.

Rules:

- A request is taken while its bucket is not empty, and then takes all its documents from it: a bucket can be overdrawn,
  so a request may be larger than the bucket.
- Anybody can name a public key, and send again what is published with its signature. So a key's own bucket is charged
  only for documents that nobody else can have; otherwise a stranger could exhaust it. The bucket of unknown keys is
  charged before signatures are verified.
- A full bucket is not kept, so memory is bounded by what the limits let through.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_PRUNE_ABOVE = 1000
# Documents by which a bucket's level may be too low after a wait, because differences of times are rounded.
_ROUNDING = 1e-6


class Rate(NamedTuple):
    """How fast documents may come.

    Attributes:
        burst: documents at once, from 1.
        per_second: documents a second after that.
    """

    burst: int
    per_second: float


PER_KEY = Rate(100, 1)
"""For one key."""

UNKNOWN_KEYS = Rate(2000, 50)
"""For all keys that are not admitted, together."""


class _Bucket:
    """A bucket that fills by itself."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._level = float(rate.burst)
        self._time = -math.inf

    def level(self, now: float) -> float:
        """Give the documents that may come now; 0 or less: none."""
        return min(self._rate.burst, self._level + (now - self._time) * self._rate.per_second)

    def charge(self, documents: int, now: float) -> None:
        """Charge it for documents."""
        self._level = self.level(now) - documents
        self._time = now

    def is_full(self, now: float) -> bool:
        """Tell whether it is as if it had never been charged."""
        return self.level(now) >= self._rate.burst

    def wait(self, now: float) -> int:
        """Give the whole seconds until a document may come; 0 for now."""
        missing = 1 - self.level(now)
        return 0 if missing < _ROUNDING else math.ceil(missing / self._rate.per_second)


class SubmissionLimits:
    """The buckets of one service."""

    def __init__(self, clock: Callable[[], float], per_key: Rate = PER_KEY, unknown_keys: Rate = UNKNOWN_KEYS) -> None:
        """Begin with full buckets.

        Args:
            clock: seconds that never go back.
            per_key: for each key.
            unknown_keys: for all keys that are not admitted, together.
        """
        self._clock = clock
        self._per_key = per_key
        self._unknown = _Bucket(unknown_keys)
        self._keys: dict[str, _Bucket] = {}
        self._prune_above = _PRUNE_ABOVE

    def admit_request(self, key: str, documents: int, *, is_known: bool) -> int:
        """Ask whether a request may be judged; if it may, and its key is unknown, its documents are charged.

        Args:
            key: the key that it names.
            documents: how many it has.
            is_known: whether the key is admitted.

        Returns:
            0, or the seconds after which it may come again.
        """
        now = self._clock()
        wait = self._keys[key].wait(now) if key in self._keys else 0
        if not is_known:
            wait = max(wait, self._unknown.wait(now))
            if not wait:
                self._unknown.charge(documents, now)
        return wait

    def charge_key(self, key: str) -> None:
        """Charge a key for a document that only its owner can have sent."""
        now = self._clock()
        if key not in self._keys:
            self._prune(now)
            self._keys[key] = _Bucket(self._per_key)
        self._keys[key].charge(1, now)

    def _prune(self, now: float) -> None:
        if len(self._keys) >= self._prune_above:
            self._keys = {key: bucket for key, bucket in self._keys.items() if not bucket.is_full(now)}
            self._prune_above = max(_PRUNE_ABOVE, 2 * len(self._keys))
