"""Files that must not be used as a statistics log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def make_link(log: Path) -> None:
    """Make a symbolic link."""
    log.symlink_to("/etc/passwd")


def make_script(log: Path) -> None:
    """Make a file that is something else, and that others may read."""
    log.write_text("#!/bin/sh\necho this is no log\n")
    log.chmod(0o755)


unusable_logs = pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (make_link, "is a symbolic link"),
        (make_script, "is not a statistics log"),
    ],
)
