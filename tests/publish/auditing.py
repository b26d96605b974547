"""What `obfstats audit` finds in a file, without starting a program, at any time that a test likes."""

from __future__ import annotations

import random
import tempfile
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING

from obfstats.formats.document import Document, write_document
from obfstats.publish.audit import audit
from obfstats.publish.audit.findings import Audit, describe
from obfstats.publish.logfiles import find
from obfstats.publish.noise import add_noise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obfstats.publish.audit.findings import Code, Finding

NOW = datetime(2027, 1, 1, tzinfo=UTC)

CODES = (*[f"{first}{second}" for first in ascii_lowercase for second in "abcdefghij"][:259], "??")
"""As many codes of countries as tor's GeoIP files have."""


def noisy(
    day: int = 11,
    clients: Mapping[str, int] | None = None,
    *,
    epsilon: str = "0.5",
    drawn: str | None = None,
    seed: int | None = None,
) -> bytes:
    """Make a document with noise of a day of February 2012.

    Args:
        day: of its end.
        clients: true numbers by country; 45 in one of them if None.
        epsilon: what it says.
        drawn: epsilon of the noise that is drawn, if that is another; "" for no noise.
        seed: of the noise; the day if None.
    """
    numbers: Mapping[str, int] = {"de": 45} if clients is None else clients
    if drawn != "":
        below = random.Random(day if seed is None else seed).randrange
        numbers = add_noise(numbers, CODES, Fraction(drawn or epsilon), below)
    ips = {code.upper(): numbers.get(code, 0) for code in CODES}
    return write_document(Document(f"2012-02-{day:02} 09:22:04", 86_400, epsilon=epsilon, ips=ips))


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
