"""Files that a LockedFile refuses, and a disk that refuses what it appends, or to remove it again."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def write_private(path: Path, content: bytes) -> Path:
    """Write a file that only its owner can read."""
    path.write_bytes(content)
    path.chmod(0o600)
    return path


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Have every write beyond `size` bytes of a file cut short, and the next one fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def append_only(path: Path) -> Iterator[None]:
    """Have the kernel refuse to shorten a file (chattr +a)."""
    if shutil.which("chattr") is None or subprocess.run(["chattr", "+a", path], check=False).returncode:
        pytest.skip("this user or filesystem allows no append-only file")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-a", path], check=True)


def _symbolic_link(path: Path, content: bytes) -> None:
    write_private(path.with_name("elsewhere"), content)
    path.symlink_to("elsewhere")


def _hard_link(path: Path, content: bytes) -> None:
    write_private(path, content)
    path.with_name("second").hardlink_to(path)


def _of_another_user(path: Path, content: bytes) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    write_private(path, content)
    os.chown(path, 65534, 65534)


REFUSED: list[tuple[Callable[[Path, bytes], object], str]] = [
    (_symbolic_link, "symbolic link"),
    (_hard_link, r"second name \(a hard link\)"),
    (_of_another_user, "belongs to another user"),
    (lambda path, _: path.mkdir(), "Is a directory"),
    (lambda path, _: os.mkfifo(path), "not a regular file"),
]
"""Makes a file of that content, or something else with its name; and what the error says."""
