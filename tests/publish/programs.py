"""The two programs that make the tables, and the ticket's pipeline, which says what the tables must be."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import obfstats.publish.simple

if TYPE_CHECKING:
    from collections.abc import Iterable

OBFSTATS = str(Path(sysconfig.get_path("scripts")) / "obfstats")
SIMPLE = str(Path(obfstats.publish.simple.__file__).resolve())
PIPELINE = Path(__file__).with_name("ticket_pipeline.sh")

CONVERTERS = {"simple.py": [sys.executable, "-I", "-S", SIMPLE], "obfstats convert": [OBFSTATS, "convert"]}
"""Command lines that take logs and `--all`. The first gets along without any package."""

# Buffered output is what an operator has, and what fails late. The columns are the help's.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | {"COLUMNS": "80"}


def run(command: list[str], *, folder: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, whatever its status."""
    return subprocess.run(command, capture_output=True, check=False, cwd=folder, env=ENVIRONMENT, timeout=60)


def convert(converter: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run one of the converters."""
    return run([*CONVERTERS[converter], *map(str, arguments)])


def run_pipeline(logs: Iterable[bytes], folder: Path) -> list[bytes]:
    """Let the ticket's own script make the tables of each log; all of them in one go, for starting programs is slow.

    Args:
        logs: what the pipeline is to find in its file `data`.
        folder: where to put log number 3, for example, as `3/data`.
    """
    folders = []
    for number, log in enumerate(logs):
        folders.append(folder / str(number))
        folders[-1].mkdir()
        (folders[-1] / "data").write_bytes(log)
    each = f'cd "$0"; for log in [0-9]*/; do (cd "$log"; . {PIPELINE} >tables) & done; wait'
    subprocess.run(["bash", "-c", each, folder], check=True)
    return [one.joinpath("tables").read_bytes() for one in folders]
