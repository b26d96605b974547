"""One line of a ledger: an interval that is over, that has been released, and how, or that never will be. Pure.

    2012-02-10 09:22:04 (86400 s) over (files: 1)
    2012-02-10 09:22:04 (86400 s) released rounded
    2012-02-11 09:22:04 (86400 s) released discrete-laplace epsilon=0.5
    2012-02-12 09:22:04 (86400 s) given up

The first field is the interval's start, UTC, as it stands in the log. Of one that is over it is said how many files had
its lines: the log, and what that was rotated into. So a later program sees whether one has gone, and nobody sees how
many lines there were. The grammar is strict and the same in both
directions: what `write_line` gives `parse_line` takes, and what `parse_line` takes `write_line` gives back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from obfstats.publish.noise import parse_epsilon

ROUNDED = "rounded"

GIVEN_UP = "given up"
"""What stands instead of a way to release an interval where it never will be."""

NOISE = "discrete-laplace epsilon="
"""What stands before epsilon."""

_LINE = re.compile(
    rb"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}) \(([1-9][0-9]{0,8}) s\) "
    rb"(?:over \(files: (0|[1-9][0-9]{0,4})\)|(given up)|released ([ -~]+))"
)
# Each line begins like this, with any digits; what is behind it is not long.
_SHAPE = b"0000-00-00 00:00:00 ("
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """What a line says.

    Attributes:
        start: start of the interval, `YYYY-MM-DD HH:MM:SS`, UTC.
        seconds: its length.
        how: `rounded`, or `discrete-laplace epsilon=` and epsilon; GIVEN_UP; None for one that is over and waits.
        files: of one that is over and waits: how many have lines of it.
    """

    start: str
    seconds: int
    how: str | None
    files: int | None = None


def parse_line(line: bytes) -> LedgerLine:
    """Read one line, without its newline.

    Raises:
        ValueError: if it is none.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("no line of a ledger")
    start, how = match[1].decode("ascii"), None if match[5] is None else match[5].decode("ascii")
    if not _is_real(start, int(match[2])):
        raise ValueError("no such date or time")
    if how is not None and not _is_known(how):
        raise ValueError("no way to release an interval")
    files = None if match[3] is None else int(match[3])
    return LedgerLine(start, int(match[2]), how if match[4] is None else GIVEN_UP, files)


def write_line(line: LedgerLine) -> bytes:
    """Write one line with its newline.

    Raises:
        ValueError: if a field is not of the grammar; nothing that cannot be read again is ever written.
    """
    state = {None: f"over (files: {line.files})", GIVEN_UP: GIVEN_UP}.get(line.how, f"released {line.how}")
    text = f"{line.start} ({line.seconds} s) {state}".encode("utf-8", "surrogatepass")
    if parse_line(text) != line:
        raise ValueError("a field holds what belongs into another")
    return text + b"\n"


def is_torn(line: bytes) -> bool:
    """Tell whether these bytes, without a newline, are the beginning of a line whose rest was never written."""
    shaped = zip(_SHAPE, line, strict=False)
    if not line or not all(shape == byte or (shape == ord("0") and byte in b"0123456789") for shape, byte in shaped):
        return False
    try:
        parse_line(line)
    except ValueError:
        return len(line) <= _LONGEST and line.isascii() and line.decode("ascii").isprintable()
    return False


def _is_real(start: str, seconds: int) -> bool:
    """Tell whether there is such an interval; written back, because Python 3.14 reads 24:00:00 as a day later."""
    try:
        began = datetime.fromisoformat(start)
        return began.isoformat(" ") == start and began + timedelta(seconds=seconds) > began
    except (ValueError, OverflowError):
        return False


def _is_known(how: str) -> bool:
    """Tell whether this is a way to release an interval."""
    if not how.startswith(NOISE):
        return how == ROUNDED
    try:
        parse_epsilon(how.removeprefix(NOISE))
    except ValueError:
        return False
    return True
