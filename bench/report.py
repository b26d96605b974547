"""What a measurement prints: progress on stderr while it works, Markdown tables on stdout when it is done."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Plan = TypeVar("_Plan")
_Figure = TypeVar("_Figure")

_BUSY = 0.5
"""Load average a core above which a warning is due."""

_CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")


class MissingError(Exception):
    """A measurement cannot be made on this machine; the text is one line that says what is missing."""


class BrokenError(Exception):
    """What is measured did not do what it must; its figures would mean nothing."""


@dataclass
class Comparison:
    """One row: the same thing measured on both sides, in turn.

    Attributes:
        measure: what is measured, with its unit.
        goal: what the ratio may be at most, or None where there is no goal.
        digits: how many of a figure's decimals are printed.
        more_is_better: whether the goal is what the ratio must be at least.
        ours: one figure a round.
        peer: one figure a round, of the same rounds.
    """

    measure: str
    goal: float | None = None
    digits: int = 2
    more_is_better: bool = False
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Ours to the peer's, round by round: what else the machine did at that moment weighs on both."""
        return [ours / peer for ours, peer in zip(self.ours, self.peer, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios)

    def take(self, rounds: int, ours: Callable[[], float], peer: Callable[[], float]) -> Comparison:
        """Measure both sides as `in_turn` does, for this row alone.

        Args:
            rounds: how many figures to take of each.
            ours: measures ours once.
            peer: measures the peer once.

        Returns:
            This row.
        """
        taken = in_turn(rounds, ours, peer)
        self.ours += taken[0]
        self.peer += taken[1]
        return self

    def row(self) -> str:
        """Write it as a table's row."""
        ratios = self.ratios
        several = f"{min(ratios):.3f} to {max(ratios):.3f} in {len(ratios)} rounds" if len(ratios) > 1 else ""
        is_met = self.goal is None or (self.ratio >= self.goal if self.more_is_better else self.ratio <= self.goal)
        cells = [
            self.measure,
            f"{statistics.median(self.ours):,.{self.digits}f}",
            f"{statistics.median(self.peer):,.{self.digits}f}",
            f"**{self.ratio:.3f}**",
            several,
            "" if self.goal is None else f"{'at least ' if self.more_is_better else ''}{self.goal:.2f}",
            "" if self.goal is None else "yes" if is_met else "**no**",
        ]
        return f"| {' | '.join(cells)} |"


def in_turn(
    rounds: int, ours: Callable[[], _Figure], peer: Callable[[], _Figure]
) -> tuple[list[_Figure], list[_Figure]]:
    """Measure both sides in turn; each round begins with the other side.

    Args:
        rounds: how many figures to take of each.
        ours: measures ours once.
        peer: measures the peer once.

    Returns:
        Our figures and the peer's.
    """
    taken: tuple[list[_Figure], list[_Figure]] = ([], [])
    sides = [(taken[0], ours), (taken[1], peer)]
    for _ in range(rounds):
        sides.reverse()
        for figures, measure in sides:
            figures.append(measure())
    return taken


def progress(text: str) -> None:
    """Say what is being done."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


def warn_if_busy() -> None:
    """Say that figures will be rough where others are at work."""
    load = os.getloadavg()[0]
    if load > _BUSY * (os.cpu_count() or 1):
        progress(f"others are at work on this machine (load {load:.1f}): expect rough figures")


def surroundings(*peers: str) -> str:
    """Describe in one line what figures of two sides were measured with."""
    return f"{describe_machine(*peers)} Both sides in turn; figures and ratios are medians of the rounds'."


def describe_machine(*peers: str) -> str:
    """Describe in one line what the figures were measured with, so that those of two machines can be compared."""
    congestion = _CONGESTION.read_text().strip() if _CONGESTION.exists() else "of an unknown kind"
    facts = [
        f"{platform.python_implementation()} {platform.python_version()}",
        f"{os.cpu_count()} cores ({platform.machine()})",
        f"{platform.system()} {platform.release().split('-')[0]}",
        f"TCP congestion control {congestion}",
        *peers,
    ]
    return f"Measured with {', '.join(facts)}."


def table(ours: str, peer: str, rows: Sequence[Comparison]) -> str:
    """Write the rows as a Markdown table.

    Args:
        ours: heading of our figures.
        peer: heading of the peer's.
        rows: what was measured.
    """
    head = f"| measure | {ours} | {peer} | ratio | each round's | goal | met |\n|---|---|---|---|---|---|---|"
    return "\n".join(["", head, *(row.row() for row in rows)])


def main(name: str, measure: Callable[[_Plan], str], full: _Plan, quick: _Plan) -> int:
    """Run one measurement as a program; gives its exit status.

    Args:
        name: what it is called on the command line.
        measure: does it, to the extent it is given, and gives what to print.
        full: how much to measure.
        quick: the same with --quick.
    """
    parser = argparse.ArgumentParser(prog=f"bench.{name}")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: rougher figures")
    plan = quick if parser.parse_args().quick else full
    warn_if_busy()
    try:
        sys.stdout.write(f"{measure(plan)}\n")
    except MissingError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    return 0
