"""Files that must not be used as a statistics log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def make_link(log: Path) -> None:
    """Make a symbolic link."""
    log.symlink_to("/etc/passwd")


def make_readable(log: Path) -> None:
    """Make a file that others can read."""
    log.touch()
    log.chmod(0o644)


def make_script(log: Path) -> None:
    """Make a file that is something else."""
    log.write_text("#!/bin/sh\necho this is no log\n")
    log.chmod(0o600)


unusable_logs = pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (make_link, "is a symbolic link"),
        (make_readable, "run: chmod 600"),
        (make_script, "is not a statistics log"),
    ],
)
