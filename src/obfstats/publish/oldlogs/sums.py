"""The exact numbers of one interval of an old log, and what can be said where some or all addresses were scrubbed.

- A connection whose address is scrubbed is a request of `??`, and no address.
- Where all are scrubbed the program's own heartbeat says how many addresses there were; they are `??` too.
- Where some are, transports and address families are left out as a whole: a part must not look like all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from obfstats.formats.counts import Counts, Pairs
from obfstats.formats.logline import UNKNOWN_COUNTRY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obfstats.formats.oldlog import Heartbeat


@dataclass(frozen=True, slots=True)
class Addresses:
    """Numbers of different addresses, as formats/counts.py has them.

    Attributes:
        countries: by lower-case country code.
        families: by `v4` and `v6`; None where an address is not known.
        transports: by transport; None where an address or a transport is not known.
        country_transports: by both; None as before.
        pairs: of different (address, transport) pairs.
    """

    countries: Mapping[str, int]
    families: Mapping[str, int] | None
    transports: Mapping[str, int] | None
    country_transports: Mapping[tuple[str, str], int] | None
    pairs: Pairs


@dataclass(frozen=True, slots=True)
class Sum:
    """One interval's numbers.

    Attributes:
        requests: connections by lower-case country code.
        scrubbed: how many of them came from nobody knows where.
        addresses: of all the others.
    """

    requests: Mapping[str, int]
    scrubbed: int
    addresses: Addresses

    @property
    def is_scrubbed(self) -> bool:
        """Whether there were connections and not one address is known."""
        return self.scrubbed > 0 and not self.addresses.countries

    def counts(self, start: str, heartbeat: Heartbeat | None) -> Counts:
        """Give the numbers as everything behind this takes them.

        Args:
            start: the interval's, `YYYY-MM-DD HH:MM:SS`, UTC.
            heartbeat: what the program itself said of the interval, if it did.
        """
        known = self.addresses
        if not self.is_scrubbed:
            return Counts(
                start=start,
                requests=self.requests,
                addresses=known.countries,
                pairs=known.pairs,
                families=known.families,
                transports=known.transports,
                country_transports=known.country_transports,
            )
        if heartbeat is None:
            return Counts(start, self.requests)
        unknown = {UNKNOWN_COUNTRY: heartbeat.addresses}
        return Counts(start, self.requests, addresses=unknown, pairs=Pairs(unknown))
