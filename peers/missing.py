"""What happens where a peer is not installed: CI fails, elsewhere the test is skipped by name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

REQUIRED = "OBFSTATS_PEERS"
"""Environment variable; `required` turns a missing peer into a failure."""


def need(package: str, shows: str) -> None:
    """Go on only if a Debian package is there.

    Args:
        package: its name, for whoever has to install it.
        shows: a program on the path or a file that shows that it is there.
    """
    if shutil.which(shows, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or Path(shows).exists():
        return
    sentence = f"{package} is not installed (script/setup names the packages)"
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(sentence)
    pytest.skip(sentence)
