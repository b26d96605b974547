"""When to try again what a disk refused: to write the log, to publish an interval."""

from __future__ import annotations

FIRST_RETRY, LAST_RETRY = 1.0, 600.0
"""Seconds until the next try, doubled at each failure up to the second."""


class Backoff:
    """When to try something again that failed, less and less often.

    Attributes:
        reason: why the last try failed; empty if it did not.
        at: boot time in seconds, when to try next.
    """

    def __init__(self) -> None:
        """Start without a failure."""
        self.reason = ""
        self._delay = 0.0
        self.at = float("-inf")

    def is_due(self, now: float) -> bool:
        """Tell whether to try, at this boot time in seconds."""
        return now >= self.at

    def fail(self, reason: str, now: float) -> None:
        """Plan the next try after a failure at this boot time in seconds."""
        self.reason = reason
        self._delay = min(self._delay * 2 or FIRST_RETRY, LAST_RETRY)
        self.at = now + self._delay

    def succeed(self) -> None:
        """Start again without a failure."""
        self.reason = ""
        self._delay, self.at = 0.0, float("-inf")
