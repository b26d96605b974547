"""What the machines that talk to tor have in common with each other: SOCKS and the extended ORPort, in both roles.

They answer bytes with events like those of `handshake`, and say what they write to the peer with the same `Send`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refused:
    """One side does not want the other: write what was to be sent, then close. `reason` is a fixed text."""

    reason: str
