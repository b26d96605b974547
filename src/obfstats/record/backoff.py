"""Something that failed is tried again ever more rarely, and remembers why it failed."""

from __future__ import annotations

FIRST_RETRY, LAST_RETRY = 1.0, 600.0
"""Seconds until the next try, doubled at each failure up to the second."""


class Backoff:
    """When to try next.

    Attributes:
        reason: why the last try failed; empty if it did not.
        at: boot time in seconds, when to try next.
    """

    def __init__(self) -> None:
        """Have nothing that failed."""
        self.reason = ""
        self._after = 0.0
        self.at = float("-inf")

    def is_due(self, now: float) -> bool:
        """Tell whether to try, at this boot time in seconds."""
        return now >= self.at

    def fail(self, reason: str, now: float) -> None:
        """Take notice that a try failed, at this boot time in seconds."""
        self.reason = reason
        self._after = min(self._after * 2 or FIRST_RETRY, LAST_RETRY)
        self.at = now + self._after

    def succeed(self) -> None:
        """Take notice that it worked."""
        self.reason = ""
        self._after, self.at = 0.0, float("-inf")
