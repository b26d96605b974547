"""What the program says to tor on standard output, a line at a time (wire/lines.py has the lines)."""

from __future__ import annotations

import contextlib
import os
import stat

STDOUT = 1


def say(line: str) -> None:
    """Write a line to tor, whole or not at all; a tor that is gone or does not listen is no reason to fail."""
    with contextlib.suppress(OSError):
        os.write(STDOUT, f"{line}\n".encode("ascii", "backslashreplace"))


def never_wait() -> None:
    """From here on nothing that tor does with its end may hold the program up."""
    if stat.S_ISFIFO(os.fstat(STDOUT).st_mode):
        os.set_blocking(STDOUT, False)
