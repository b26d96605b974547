"""What the operator is told about the logs that were counted."""

from __future__ import annotations

from dataclasses import dataclass

from obfstats.publish.logfiles import LogFileError

MAX_SUFFIXES = 4096
"""Most different suffixes of all logs together. A bridge has a few; invented names must not fill the memory."""


class TooManyTransportsError(LogFileError):
    """The logs have more than MAX_SUFFIXES suffixes, or clients in too many combinations of them."""

    def __init__(self) -> None:
        """Describe it to the operator."""
        super().__init__("the logs name too many transports; are they a bridge's?")


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
