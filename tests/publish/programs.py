"""Running the programs that make the tables, and the ticket's pipeline."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from peers.converters import CONVERTERS, PIPELINE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Buffered output is what an operator has, and what fails late. The columns are the help's.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | {"COLUMNS": "80"}


def run(command: list[str], *, folder: Path | None = None, seconds: int = 60) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, whatever its status, for so many seconds at most."""
    return subprocess.run(command, capture_output=True, check=False, cwd=folder, env=ENVIRONMENT, timeout=seconds)


_MEASURED = (
    "import resource, subprocess, sys; status = subprocess.run(sys.argv[1:]).returncode; "
    "sys.stderr.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)); sys.exit(status)"
)


def run_measured(command: list[str]) -> tuple[subprocess.CompletedProcess[bytes], int]:
    """Run a program to its end; give its result and the KiB of memory that it held at most.

    The limit on address space (`ulimit -v`) would show less: libraries reserve far more than they use.
    """
    result = run([sys.executable, "-c", _MEASURED, *command])
    *lines, peak = result.stderr.split(b"\n")
    return subprocess.CompletedProcess(command, result.returncode, result.stdout, b"\n".join([*lines, b""])), int(peak)


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
