"""What `obfstats audit` finds in a file, without starting a program, at any time that a test likes."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from obfstats.publish.audit import Audit, audit, describe
from obfstats.publish.logfiles import find

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def audited(path: Path, now: datetime = NOW) -> Audit:
    """Audit a file."""
    (file,) = find([str(path)])
    return audit(file, now=now, advance=lambda _size: None)


def audited_bytes(content: bytes, now: datetime = NOW) -> Audit:
    """Audit a file that only its owner can open, given as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        path.chmod(0o600)
        return audited(path, now)


def alarms(content: bytes, now: datetime = NOW) -> list[str]:
    """Give the alarms in a file."""
    return [finding.text for finding in audited_bytes(content, now).findings if finding.is_alarm]


def notices(content: bytes, now: datetime = NOW) -> list[str]:
    """Give what else is said of it."""
    return [finding.text for finding in audited_bytes(content, now).findings if not finding.is_alarm]


def printed(content: bytes, now: datetime = NOW) -> str:
    """Give all that an operator sees."""
    return "\n".join(describe(audited_bytes(content, now)))
