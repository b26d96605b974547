"""What the command lines of the bridge's programs say about publishing: `obfsproxy` and `obfstats wrap`."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.publish.options import add_document, add_epsilon
from obfstats.publish.rounding import Heading

if TYPE_CHECKING:
    from fractions import Fraction

FORGET_AFTER = 48
"""Hours that lines are kept for after the end of their interval."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """What a bridge publishes by itself.

    Attributes:
        folder: where documents are written.
        heading: what they say beside numbers; the countries' source is the recorder's affair.
        epsilon: of the noise; None to round.
        forget_after: how long lines are kept for after the end of their interval.
        aggregate: whether numbers are kept in memory and no log is written.
    """

    folder: Path
    heading: Heading
    epsilon: Fraction | None
    forget_after: timedelta
    aggregate: bool


def add_publishing(parser: argparse.ArgumentParser) -> None:
    """Add what is published, and where."""
    group = parser.add_argument_group("publishing (server only)")
    group.add_argument(
        "--publish",
        type=Path,
        metavar="DIR",
        help="write a document into DIR for each interval that is over, within ten minutes of its end, each once",
    )
    group.add_argument(
        "--forget-after",
        type=_hours,
        metavar="HOURS",
        help=f"with --publish: take lines out of the log so long after their interval's end (default: {FORGET_AFTER})",
    )
    group.add_argument(
        "--aggregate",
        action="store_true",
        help="with --publish: keep numbers in memory and write no log at all; a restart loses the running interval",
    )
    add_document(group)
    add_epsilon(group)


def read_publishing(given: argparse.Namespace) -> Publishing | None:
    """Take what `add_publishing` has added; None where nothing is published.

    Raises:
        ValueError: if options do not go together; its text says which.
    """
    if given.publish is None:
        for option in ("forget_after", "aggregate", "fingerprint", "extended", "epsilon"):
            if _is_given(getattr(given, option)):
                raise ValueError(f"--{option.replace('_', '-')} goes with --publish DIR")
        return None
    if given.no_stats:
        raise ValueError("--publish needs statistics: leave --no-stats out")
    if given.aggregate:
        for option in ("stats_log", "stats_columns", "forget_after"):
            if _is_given(getattr(given, option)):
                raise ValueError(f"--aggregate writes no log: leave --{option.replace('_', '-')} out")
    return Publishing(
        folder=given.publish,
        heading=Heading(given.fingerprint, given.extended),
        epsilon=given.epsilon,
        forget_after=timedelta(hours=FORGET_AFTER if given.forget_after is None else given.forget_after),
        aggregate=given.aggregate,
    )


def _hours(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text):
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a number of hours from 0 to 99999")
    return int(text)


def _is_given(value: object) -> bool:
    """Tell whether an option was given; nought hours are an answer, too."""
    return bool(value) or (value == 0 and value is not False)
