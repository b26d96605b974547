"""A peer that is not installed: in CI the test fails, elsewhere it is skipped with the name of the package."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from peers.fetched import find_program

REQUIRED = "OBFSTATS_PEERS"
"""Environment variable; `required` turns a missing peer into a failure."""


def need(package: str, provides: str) -> None:
    """Skip or fail the test unless a Debian package is installed, or unpacked by script/fetch-peers.

    Args:
        package: its name.
        provides: a program or a file of that package.
    """
    if find_program(provides) or Path(provides).exists():
        return
    _refuse(f"{package} is not installed (script/setup names or fetches the packages)")


def need_module(name: str) -> None:
    """Skip or fail the test unless a Python package of the lock file is installed.

    Args:
        name: of the module to import.
    """
    if find_spec(name) is None:
        _refuse(f"{name} is not installed (script/setup installs it)")


def _refuse(sentence: str) -> None:
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(sentence)
    pytest.skip(sentence)
