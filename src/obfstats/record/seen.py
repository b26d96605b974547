"""What the operator is told of an interval: the content of a heartbeat."""

from __future__ import annotations

from typing import NamedTuple


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
