"""What attackers gain from our programs: the figures of docs/what-leaves-your-bridge.md and SECURITY.md.

Each module bench/attack_NAME.py carries out one kind of attack on the running programs, or on the recorder, and has

    def measure(*, quick: bool) -> list[Row]: ...

The programs and the package `obfstats` are those of the interpreter that runs this: `script/bench attacks --of FOLDER`
takes the interpreter of another checkout, while `bench` and `peers` stay those of this one. So a module imports from
obfstats only what both have.

Counts hold on a busy machine. Times and shares of clients served do not: measure those on a quiet one.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.report import MissingError, describe_machine, progress, warn_if_busy

if TYPE_CHECKING:
    from collections.abc import Iterable

_PREFIX = "attack_"


class Row(NamedTuple):
    """One figure.

    Attributes:
        attack: what the attacker does.
        measure: what is measured, with its unit.
        figure: as it is printed.
    """

    attack: str
    measure: str
    figure: str


def attack_names() -> list[str]:
    """Return the names of all attacks."""
    return sorted(path.stem.removeprefix(_PREFIX) for path in Path(__file__).parent.glob(f"{_PREFIX}*.py"))


def measure(names: Iterable[str], *, quick: bool) -> list[Row]:
    """Carry out attacks; one that cannot be carried out here has a row that says what is missing."""
    rows: list[Row] = []
    for name in names:
        progress(f"attack: {name}")
        try:
            rows += importlib.import_module(f"bench.{_PREFIX}{name}").measure(quick=quick)
        except MissingError as error:
            rows.append(Row(name, "not measured", str(error)))
    return rows


def table(rows: Iterable[Row]) -> str:
    """Write the rows as a Markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(["| attack | measure | figure |", "|---|---|---|", *lines])


def main() -> int:
    """Run as a program; gives the exit status."""
    parser = argparse.ArgumentParser(prog="bench.attacks")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: rougher figures")
    parser.add_argument("--only", metavar="NAME", choices=attack_names(), help="this attack alone")
    options = parser.parse_args()
    warn_if_busy()
    rows = measure([options.only] if options.only else attack_names(), quick=options.quick)
    sys.stdout.write(f"{describe_machine()}\n\n{table(rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
