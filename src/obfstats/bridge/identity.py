"""A bridge's hashed fingerprint, which tor writes for its operator.

    $DataDirectory/pt_state/             tor's folder for transports: TOR_PT_STATE_LOCATION (pt-spec)
    $DataDirectory/hashed-fingerprint    "Unnamed 8990EEDA329B57FBD72EF8F74A50C1929B9B9A31": nickname, hash, newline

Tor writes the file at its first start, which may be after ours. So it is read when a document is made. The fingerprint
itself, in the file `fingerprint` beside it, is never read.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "hashed-fingerprint"
_CONTENT = re.compile(rb"[A-Za-z0-9]{1,19} ([0-9A-F]{40})\n")
_MAX_LENGTH = 100


class FingerprintError(Exception):
    """The hashed fingerprint cannot be read. Its text says why, and ends without a period."""


def find_hashed_fingerprint(state: Path) -> Path:
    """Give the file's path.

    Args:
        state: tor's folder for transports.
    """
    return state.parent / _NAME


def read_hashed_fingerprint(path: Path) -> str:
    """Read the file.

    Returns:
        40 hex digits in lower case, as documents have them.

    Raises:
        FingerprintError: if there is none, or if it is not as tor writes it.
    """
    try:
        # Non-blocking: opening a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(_MAX_LENGTH) or b""
    except OSError as error:
        raise FingerprintError(f"cannot read {path}: {error.strerror}") from None
    match = _CONTENT.fullmatch(content)
    if match is None:
        raise FingerprintError(f"{path} is not a nickname and a hashed fingerprint, as tor writes it")
    return match[1].decode().lower()
