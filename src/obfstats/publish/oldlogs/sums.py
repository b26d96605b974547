"""The exact numbers of one interval of an old log, and what can be said where some or all addresses were scrubbed.

- A connection whose address is scrubbed is a request of `??`, and no address.
- Where all are scrubbed the program's own heartbeat says how many addresses there were; they are `??` too.
- Where some are, transports and address families are left out as a whole: a part must not look like all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from obfstats.formats.counts import ClientClass, Counts
from obfstats.formats.interval import Interval
from obfstats.formats.logline import UNKNOWN_COUNTRY, Columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obfstats.formats.oldlog import Heartbeat


@dataclass(frozen=True, slots=True)
class Sum:
    """One interval's numbers.

    Attributes:
        requests: connections by lower-case country code.
        scrubbed: how many of them came from nobody knows where.
        clients: different addresses of all the others, by class.
    """

    requests: Mapping[str, int]
    scrubbed: int
    clients: Mapping[ClientClass, int]

    @property
    def is_scrubbed(self) -> bool:
        """Whether there were connections and not one address is known."""
        return self.scrubbed > 0 and not self.clients

    def counts(self, start: str, heartbeat: Heartbeat | None) -> Counts:
        """Give the numbers as everything behind this takes them.

        Args:
            start: the interval's, `YYYY-MM-DD HH:MM:SS`, UTC.
            heartbeat: what the program itself said of the interval, if it did.
        """
        clients: Mapping[ClientClass, int] | None = self.clients
        if self.is_scrubbed:
            unknown = ClientClass(UNKNOWN_COUNTRY, frozenset({Columns()}))
            clients = None if heartbeat is None else {unknown: heartbeat.addresses}
        return Counts(Interval.parse(start), self.requests, clients)
