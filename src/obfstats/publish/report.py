"""What is said of each log after it has been counted: how long it is, and what of it was left out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Report:
    """How the reading of one log went.

    Attributes:
        name: what the log is called; printable.
        lines: lines in it.
        damaged: lines left out because they are not of the grammar.
        first: place and reason of the first damage, as in `line 3: it has no hash of 40 hexadecimal digits`;
            empty if there is none. No byte of the log is in it.
    """

    name: str
    lines: int
    damaged: int
    first: str
