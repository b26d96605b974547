"""Programs that a wrap runs to their end, under the environment of a bridge's tor."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from peers import managed, wrapped
from peers.child import START_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NOWHERE = ("127.0.0.1", 9)
"""An ORPort for programs that get no client."""

SHELL = "/bin/sh"

QUIET = ("--no-stats", "--no-log")
"""A wrap that logs nothing."""


def environment(folder: Path, *transports: str) -> dict[str, str]:
    """Return the variables that a bridge's tor sets for transports, with their state below a folder."""
    return managed.server_environment(folder / "pt_state", NOWHERE, transports=transports or [wrapped.NAME])


def run(
    folder: Path,
    *program: str,
    options: Sequence[str] = QUIET,
    under: Sequence[str] = (),
    told: Mapping[str, str | None] | None = None,
    given: bytes = b"",
) -> subprocess.CompletedProcess[bytes]:
    """Run a program through the wrap to its end.

    Args:
        folder: the state folder is made in it.
        program: its command line, after the two dashes.
        options: the wrap's.
        under: a command that runs the wrap.
        told: further variables; None unsets one.
        given: what is on standard input.
    """
    variables = {**os.environ, **environment(folder), **(told or {})}
    return subprocess.run(
        [*under, *wrapped.argv(*options, program=program)],
        input=given,
        capture_output=True,
        timeout=START_SECONDS,
        check=False,
        env={name: value for name, value in variables.items() if value is not None},
    )
