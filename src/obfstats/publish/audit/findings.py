"""What an audit comes to, and how it is said: plain sentences, the alarms first.

Nothing of the file is in a sentence but times of intervals, country codes and transports' names that are of their
grammar, and numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ALARM, NOTICE = "! ", "  "


class Kind(StrEnum):
    """What a file is."""

    LOG = "statistics log"
    DOCUMENTS = "published documents"
    TABLES = "tables"
    TOR = "tor's bridge-stats lines"


_OPENING = {
    Kind.LOG: "This is a statistics log.",
    Kind.DOCUMENTS: "These are documents to be published.",
    Kind.TABLES: "These are the two tables to be published.",
    Kind.TOR: "These are statistics as tor writes them.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a file gives away, or does not.

    Attributes:
        text: one or two sentences.
        is_alarm: whether the file should not leave the machine with this in it.
    """

    text: str
    is_alarm: bool = False


@dataclass(frozen=True, slots=True)
class Audit:
    """All that was found in one file.

    Attributes:
        kind: what the file is.
        findings: in the order of reading.
    """

    kind: Kind
    findings: list[Finding]

    @property
    def has_alarm(self) -> bool:
        """Whether the file should not leave the machine."""
        return any(finding.is_alarm for finding in self.findings)


def describe(audit: Audit) -> Iterator[str]:
    """Give the lines that are printed: what the file is, what was found, and what to do."""
    yield _OPENING[audit.kind]
    for is_alarm, mark in ((True, ALARM), (False, NOTICE)):
        yield from (mark + finding.text for finding in audit.findings if finding.is_alarm is is_alarm)
    yield _advice(audit)


def numbered(number: int, one: str, several: str | None = None) -> str:
    """Give a number with its noun: `1 line`, `2,000 lines`.

    Args:
        number: how many.
        one: the noun for one.
        several: the noun for more, where it is not that with an s.
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def twice(different: int, same: int) -> Iterator[Finding]:
    """Say that intervals are published more than once.

    Args:
        different: how many of them with different numbers.
        same: how many with the same.
    """
    if different:
        yield Finding(
            f"{numbered(different, 'interval stands', 'intervals stand')} there more than once, with different "
            "numbers: whoever takes one from the other learns about the clients between them.",
            is_alarm=True,
        )
    if same:
        yield Finding(
            f"{numbered(same, 'interval stands', 'intervals stand')} there more than once, with the same numbers: "
            "whoever adds up counts its clients again. Publish each once.",
            is_alarm=True,
        )


def not_over(number: int, last: str) -> Finding:
    """Say that intervals are published that are not over.

    Args:
        number: how many.
        last: what there is to say about the last one.
    """
    return Finding(
        f"{numbered(number, 'interval is', 'intervals are')} not over yet, {last}: beside the whole day's numbers "
        "these tell who came since.",
        is_alarm=True,
    )


def _advice(audit: Audit) -> str:
    if audit.kind is Kind.LOG:
        return "Keep it here: run `obfstats convert` on it, publish what that prints, then delete the lines."
    if audit.has_alarm:
        return "Do not publish it: make it again with `obfstats convert`, of intervals that are over, each once."
    return "Nothing in it has to stay on this machine. Publish each interval once."
