"""What is said of an interval: to the operator, in a heartbeat, and to whoever publishes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from obfstats.record.countries import Countries


class Seen(NamedTuple):
    """What the counters of one interval say. The numbers are not rounded: they are never to be published like this.

    Attributes:
        seconds: how much of the interval it is; 86,400 for one that has ended.
        connections: how many were counted.
        addresses: from how many different addresses; from 1,024 on an estimate, right within some 3 per cent.
    """

    seconds: float
    connections: int
    addresses: int


class Finished(NamedTuple):
    """An interval that is over and wholly written.

    Attributes:
        label: what its lines begin with: its start in UTC, `YYYY-MM-DD HH:MM:SS`, and a blank.
        countries: who gave its addresses their countries.
        connections: how many were counted, and not rounded: so many lines were handed to the log.
    """

    label: str
    countries: Countries
    connections: int
