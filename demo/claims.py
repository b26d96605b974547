"""What is claimed of each step of ticket 5047, whether it held in this run, and by what that is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from demo.screen import Screen

Fate: TypeAlias = Literal["kept", "forgotten", "left out"]

STEPS = {
    1: "When obfsproxy starts: a secret S, the time TS, a buffer for 100 messages",
    2: "Whenever a client connects",
    3: "When 24 hours have passed since TS",
    4: "When the buffer is full",
    5: "A log message: TS, country, H(address | S)",
    6: "When obfsproxy stops",
    7: "And the script that makes what may be published",
}
"""The ticket's steps in its own order; the script has no number there."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Attributes:
        step: the ticket's step.
        fate: whether it is about something that is kept or that is forgotten.
        text: the claim, as a sentence without its full stop.
        evidence: what was seen.
        holds: whether what was seen bears it out.
    """

    step: int
    fate: Fate
    text: str
    evidence: str
    holds: bool


class Claims:
    """All claims of a run, in the order in which they were looked into."""

    def __init__(self) -> None:
        self._claims: list[Claim] = []

    def check(self, step: int, fate: Fate, text: str, evidence: str, *, holds: bool) -> None:
        """Note a claim and what came of it."""
        self._claims.append(Claim(step, fate, text, evidence, holds))

    @property
    def failed(self) -> int:
        """How many did not hold."""
        return sum(not claim.holds for claim in self._claims)

    def show(self, screen: Screen) -> None:
        """Print all, step by step."""
        for step, title in STEPS.items():
            screen.line()
            screen.line(f"  {f'{step}.' if step <= 6 else '  '} {title}")
            for claim in self._claims:
                if claim.step == step:
                    mark = screen.style("    ok", "green") if claim.holds else screen.style("FAILED", "red")
                    screen.columns(f"{mark}  {claim.fate:9}  ", 19, claim.text, claim.evidence)

    def summary(self) -> str:
        """Say in a few words how it went."""
        held = f"{len(self._claims) - self.failed} of {len(self._claims)} claims held"
        return f"{held}, {self.failed} FAILED" if self.failed else held
