"""What all services of a program have relayed and refused since it began.

The numbers are exact: only bridge/metrics.py shows them, as coarse ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Failure(Enum):
    """Why a connection was not relayed. The values are words for the operator."""

    PROTOCOL = "protocol"
    """The peer does not speak the transport's protocol."""

    UNFINISHED = "unfinished"
    """The peer left, or said nothing until the deadline."""

    SHED = "shed"
    """It was closed for a newer one: there were too many unfinished handshakes."""

    NETWORK_SHARE = "network_share"
    """Its network has too many connections."""

    ORPORT = "orport"
    """Tor's ORPort, or another destination, did not accept it."""


@dataclass(slots=True, eq=False)
class Totals:
    """The numbers.

    Attributes:
        relayed_bytes: in both directions together.
        uncounted: connections that were relayed without being counted.
        failed: connections that were not relayed, by reason.
    """

    relayed_bytes: int = 0
    uncounted: int = 0
    failed: dict[Failure, int] = field(default_factory=lambda: dict.fromkeys(Failure, 0))

    def fail(self, failure: Failure) -> None:
        """Count a connection that is not relayed."""
        self.failed[failure] += 1
