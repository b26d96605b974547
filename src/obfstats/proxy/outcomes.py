"""What became of connections, in the log: each one for who asks for that, failures in sum for everybody."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obfstats.proxy.privacy import Show
    from obfstats.wire.endpoint import Endpoint

_log = logging.getLogger(__name__)


class Outcomes:
    """The connections of one service."""

    def __init__(self, name: str, show: Show) -> None:
        """Begin.

        Args:
            name: whose connections they are, for reports.
            show: writes addresses into the log, or that there was one.
        """
        self._name = name
        self._show = show
        self._failures: Counter[str] = Counter()

    @property
    def tells_each(self) -> bool:
        """Whether each connection is told of, and not only failures in sum."""
        return _log.isEnabledFor(logging.INFO)

    def failed(self, peer: Endpoint, destination: str, reason: str) -> None:
        """Note that a connection could not be passed on."""
        self._failures[reason] += 1
        if self.tells_each:
            _log.info("%s: connection to %s failed: %s", self._show(peer), destination, reason)

    def succeeded(self, peer: Endpoint, transport: str, destination: str) -> None:
        """Say, in the C program's words, that a client was passed on."""
        if self.tells_each:
            _log.info("%s (%s): Successful outbound connection to '%s'.", self._show(peer), transport, destination)

    def report(self) -> None:
        """Say what went wrong since the last time, and how often."""
        for reason, times in self._failures.items():
            number = self._show.number(times)
            _log.warning("%s: %d connection(s) could not be passed on (%s)", self._name, number, reason)
        self._failures.clear()
