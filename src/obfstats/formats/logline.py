"""One line of the statistics log: one counted connection (ticket 5047, step 5).

    2012-02-07 14:01:04 de 1234567890123456789012345678901234567890
    |                   |  |
    |                   |  H(address | S), 20 bytes as lower-case hex: equal within an interval, unrelated across
    |                   country code, lower case, ?? where it is not known
    start of the 24-hour interval in UTC, never the time of the connection

With its newline a line is 64 bytes. Two further columns may follow, a blank before each, in this order: the
transport's name (Tor's specifications: a C identifier; `<OR>` for none, `<??>` for an unnamed one; never `v4` or `v6`,
so that either column can stand alone) and the address family, `v4` or `v6`. The ticket's shell pipeline reads the
first three fields and whole lines, so it goes on working.

The grammar is strict, on bytes, and the same in both directions: what `write_line` gives `parse_line` takes, and what
`parse_line` takes `write_line` gives back byte for byte. Whatever does not fit raises `LineError`, which says where
and why and never quotes the line: a damaged line may hold anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

LINE_LENGTH = 64
"""Bytes of a line without further columns, newline included."""

UNKNOWN_COUNTRY = "??"

MAX_TRANSPORT_LENGTH = 32
"""Longest transport name: an extra-info descriptor holds 50,000 bytes in all, so names must stay short."""

MAX_LINE_LENGTH = LINE_LENGTH + 1 + MAX_TRANSPORT_LENGTH + 1 + 2

TRANSPORT_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{MAX_TRANSPORT_LENGTH - 1}}}|<OR>|<\?\?>", re.ASCII)

# In the order of the line: what each column is called in an error, its pattern, the places of its first and last byte.
_COLUMNS = (
    ("date and time", re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"), 0, 18),
    ("country code", re.compile(rb"[a-z][a-z0-9]|\?\?"), 20, 21),
    ("hash", re.compile(rb"[0-9a-f]{40}"), 23, 62),
)
_FURTHER = re.compile(
    rb"(?: (?!v[46](?: |\Z))(?P<transport>" + TRANSPORT_NAME.pattern.encode() + rb"))?(?: (?P<family>v[46]))?"
)
# What each byte of the first 63 may be: 0 a digit, a a letter or ?, b also a digit, x a hex digit, others themselves.
_SHAPE = b"0000-00-00 00:00:00 ab " + b"x" * 40
_CLASSES = {
    ord("0"): b"0123456789",
    ord("a"): b"abcdefghijklmnopqrstuvwxyz?",
    ord("b"): b"abcdefghijklmnopqrstuvwxyz0123456789?",
    ord("x"): b"0123456789abcdef",
}
# A line that was cut short becomes a line again with the rest of one of the first two (the second is for the tens of
# the day 30 and for half a ??), or, if it was cut behind the hash, with one of the ends.
_WHOLE = (b"0001-01-01 00:00:00 aa " + b"0" * 40, b"0001-01-00 00:00:00 ?? " + b"0" * 40)
_ENDS = (b"", b"v4", b"4", b"OR>", b"R>", b"?>", b">")


class LineError(ValueError):
    """A line is not of the log's grammar.

    Attributes:
        place: the first byte that does not fit, counted from 0.
        reason: what was expected there, in words.
    """

    def __init__(self, place: int, reason: str) -> None:
        super().__init__(f"byte {place + 1}: {reason}")
        self.place = place
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LogLine:
    """One counted connection.

    Attributes:
        start: start of the interval, `YYYY-MM-DD HH:MM:SS`, UTC.
        country: lower-case country code, or `??`.
        hash: 40 lower-case hex digits.
        transport: the transport's name, where the log has that column.
        family: `v4` or `v6`, where the log has that column.
    """

    start: str
    country: str
    hash: str
    transport: str | None = None
    family: str | None = None


def parse_line(line: bytes) -> LogLine:
    r"""Read one line, with or without its newline.

    Args:
        line: the bytes up to and including `\n`, or up to the end of the file.

    Raises:
        LineError: where the bytes are not exactly of the grammar.
    """
    text = line.removesuffix(b"\n")
    for name, pattern, first, last in _COLUMNS:
        match = pattern.match(text, first)
        if match is None:
            raise LineError(min(_first_misfit(text, first), last), f"no {name}")
        end = match.end()
        if end < LINE_LENGTH - 1 and text[end : end + 1] != b" ":
            raise LineError(end, f"no blank after the {name}")
    further = _FURTHER.fullmatch(text, LINE_LENGTH - 1)
    if further is None:
        raise LineError(LINE_LENGTH - 1, "neither the line's end nor a blank, a transport's name and v4 or v6")
    start = text[:19].decode("ascii")
    if not _is_real(start):
        raise LineError(0, "no such date or time")
    transport, family = further["transport"], further["family"]
    return LogLine(
        start,
        text[20:22].decode("ascii"),
        text[23:63].decode("ascii"),
        None if transport is None else transport.decode("ascii"),
        None if family is None else family.decode("ascii"),
    )


def write_line(line: LogLine) -> bytes:
    """Write one line with its newline.

    Raises:
        LineError: where a field is not of the grammar; nothing that cannot be read again is ever written.
    """
    columns = [line.start, line.country, line.hash]
    columns += [column for column in (line.transport, line.family) if column is not None]
    written = (" ".join(columns) + "\n").encode("utf-8", "surrogatepass")
    if parse_line(written) != line:
        raise LineError(0, "a field holds what belongs into another")
    return written


def is_transport_name(name: str) -> bool:
    """Tell whether a line may have this in its transport's column."""
    return TRANSPORT_NAME.fullmatch(name) is not None and name not in {"v4", "v6"}


def is_line(line: bytes) -> bool:
    """Tell whether `parse_line` takes these bytes."""
    try:
        parse_line(line)
    except LineError:
        return False
    return True


def is_cut_short(line: bytes) -> bool:
    """Tell whether these bytes, without a newline, can be the beginning of a line whose rest was never written."""
    rests = _ENDS if len(line) >= LINE_LENGTH - 1 else [whole[len(line) :] for whole in _WHOLE]
    return b"\n" not in line and any(is_line(line + rest) for rest in rests)


def _is_real(start: str) -> bool:
    """Tell whether there is such a date and time; written back, because Python 3.14 reads 24:00:00 as a day later."""
    try:
        return datetime.fromisoformat(start).isoformat(" ") == start
    except ValueError:
        return False


def _first_misfit(line: bytes, place: int) -> int:
    """Give the place of the first byte from `place` on that cannot stand there."""
    for byte, shape in zip(line[place:], _SHAPE[place:], strict=False):
        if byte not in _CLASSES.get(shape, bytes((shape,))):
            return place
        place += 1
    return place
