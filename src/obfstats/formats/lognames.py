"""The names of a log's files: what it was rotated into, and what is kept beside it.

    clients.log                 the log
    clients.log.1               what it was rotated into, by number,
    clients.log-20261123        by date,
    clients.log.old             or by hand; each of these may be compressed as well: .gz, .xz, .zst
    .clients.log.ledger         which of its intervals were released (publish/ledger.py)
    .clients.log.whole          which of its intervals are whole (marks.py)

Other names in a folder are other logs. What is kept beside a log is hidden, so that no pattern of logs matches it.
Pure: no file is looked at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ROTATION = re.compile(r"(?:\.old|\.[0-9]{1,9}|-[0-9]{8,14})?(?:\.(?:gz|xz|zst))?\Z")


def log_of(file: Path) -> Path:
    """Give the log that a file is, or was rotated from."""
    return file.with_name(_ROTATION.sub("", file.name, count=1) or file.name)


def ledger_of(log: Path) -> Path:
    """Give where a log's ledger is."""
    return log.with_name(f".{log_of(log).name}.ledger")


def marks_of(log: Path) -> Path:
    """Give where the marks of a log's whole intervals are."""
    return log.with_name(f".{log_of(log).name}.whole")
