"""What `obfstats audit` finds in a file, without starting a program, at any time that a test likes."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.publish.audit import audit
from obfstats.publish.audit.findings import Audit, describe
from obfstats.publish.logfiles import find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obfstats.publish.audit.findings import Code, Finding

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


def alarms(content: bytes, now: datetime = NOW) -> list[Finding]:
    """Give the alarms in a file."""
    return [finding for finding in audited_bytes(content, now).findings if finding.is_alarm]


def alarm_codes(content: bytes, now: datetime = NOW) -> list[Code]:
    """Give the alarms in a file without their values."""
    return [finding.code for finding in alarms(content, now)]


def values_of(code: Code, content: bytes, now: datetime = NOW) -> list[Mapping[str, int | str]]:
    """Give the values of each finding with this code."""
    return [finding.values for finding in audited_bytes(content, now).findings if finding.code is code]


def printed(content: bytes, now: datetime = NOW) -> str:
    """Give all that an operator sees."""
    return "\n".join(describe(audited_bytes(content, now)))
