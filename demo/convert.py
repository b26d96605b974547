"""The conversion script run as an operator runs it, and what its tables must hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from demo.errors import DemoError
from obfstats.publish import simple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from demo.observed import Day

SCRIPT = Path(simple.__file__)
"""One file of standard-library Python."""

HEADINGS = ("Daily rounded total requests by country", "Daily rounded unique IPs by country")

_SECONDS = 30.0


def convert(folder: Path, logs: Sequence[str]) -> tuple[str, str]:
    """Give the script's standard output and standard error.

    Raises:
        DemoError: if it fails.
    """
    try:
        run = subprocess.run(  # noqa: S603
            [sys.executable, str(SCRIPT), *logs], cwd=folder, capture_output=True, timeout=_SECONDS, check=True
        )
    except subprocess.SubprocessError as error:
        raise DemoError(f"{SCRIPT.name} failed: {error}") from None
    return run.stdout.decode("ascii", "backslashreplace"), run.stderr.decode("ascii", "backslashreplace")


def true_tables(days: Mapping[str, Day]) -> tuple[dict[str, int], dict[str, int]]:
    """Count what came: connections, then different clients, each by `start country`, which is how a row begins.

    Args:
        days: who came, by the interval's start.
    """
    return (
        {f"{start} {country}": number for start, day in days.items() for country, number in day.connections.items()},
        {f"{start} {country}": number for start, day in days.items() for country, number in day.clients.items()},
    )


def written(tables: Sequence[Mapping[str, int]]) -> str:
    """Write tables as the script must: each number rounded up to a multiple of 8, rows sorted by their bytes."""
    return "".join(
        f"{heading}\n" + "".join(f"{row} {-(-number // 8) * 8}\n" for row, number in sorted(table.items()))
        for heading, table in zip(HEADINGS, tables, strict=True)
    )
