"""A small disk of a test's own, which can be full.

with disk.mount(tmp_path / "disk", 256 << 10) as small:
    small.fill()
    ... what is written to small.folder fails with ENOSPC ...
    small.clear()
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Disk:
    """A small disk.

    Attributes:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Fill the disk."""
        with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def clear(self) -> None:
        """Free what `fill` has taken."""
        self._ballast.unlink()


@contextmanager
def mount(folder: Path, size: int) -> Iterator[Disk]:
    """Mount a disk of so many bytes on a new folder; where mounting is not allowed, the test is skipped."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk is not allowed here")
    try:
        yield Disk(folder)
    finally:
        # Lazily: if a process still uses it, it is removed from the tree all the same.
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True, timeout=30)
