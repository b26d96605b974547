"""One line of the statistics log: one counted connection (ticket 5047, step 5). The one grammar of that line.

    2012-02-07 14:01:04 de 1234567890123456789012345678901234567890
    |                   |  |
    |                   |  H(address, S), 20 bytes as lower-case hex: equal within an interval, unrelated across
    |                   country code, lower case, ?? where it is not known
    start of the 24-hour interval in UTC, never the time of the connection

With its newline a line is 64 bytes. Two further columns may follow, a blank before each, in this order: the
transport's name (Tor's specifications: a C identifier; `<OR>` for none, `<??>` for an unnamed one; never `v4` or `v6`,
so that either column can be absent) and the address family, `v4` or `v6`. The ticket's shell pipeline reads the
first three fields and whole lines, so it keeps working.

For readers of many lines, a line is three parts at fixed offsets, each with its own check:

    prefix   bytes 0 to 22    time, country and the blanks after them    is_prefix
    hash     bytes 23 to 62   40 hex digits                              is_hash
    suffix   bytes 63 on      the further columns, without the newline   parse_columns

Lines with equal prefixes belong to one interval and country; lines with equal hashes as well are one client.

A writer holds a line without its interval's label and without its newline: an entry, which is country, hash and further
columns. `write_lines` adds the label.

The grammar is strict, on bytes, and the same in both directions: what is written from a parsed line is that line, byte
for byte. Anything else is damaged: `find_damage` gives the reason, which never quotes the line, because a damaged line
may hold anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from obfstats.formats.interval import LABEL_LENGTH, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable

LINE_LENGTH = 64
"""Bytes of a line without further columns, newline included."""

HASH_OFFSET = 23
"""Where the hash begins: everything before it is the prefix."""

SUFFIX_OFFSET = 63
"""Where the hash ends: everything after it, without the newline, is the suffix."""

COUNTRY = slice(LABEL_LENGTH + 1, LABEL_LENGTH + 3)
"""The country code's bytes."""

ENTRY_OFFSET = LABEL_LENGTH + 1
"""Where the entry begins: everything before it is the interval's label and a blank."""

ENTRY_COUNTRY = slice(2)
ENTRY_HASH = slice(HASH_OFFSET - ENTRY_OFFSET, SUFFIX_OFFSET - ENTRY_OFFSET)
ENTRY_SUFFIX = slice(SUFFIX_OFFSET - ENTRY_OFFSET, None)

UNKNOWN_COUNTRY = "??"

PLAIN_TRANSPORT, UNNAMED_TRANSPORT = "<OR>", "<??>"
"""In the transport's column: no transport, and one whose name is not known or not allowed (dir-spec)."""

MAX_TRANSPORT_LENGTH = 32
"""Longest transport name: an extra-info descriptor holds 50,000 bytes in all, so names must stay short."""

MAX_LINE_LENGTH = LINE_LENGTH + 1 + MAX_TRANSPORT_LENGTH + 1 + 2
"""Bytes of the longest line, newline included."""

TRANSPORT_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{MAX_TRANSPORT_LENGTH - 1}}}|<OR>|<\?\?>", re.ASCII)

HEX_DIGITS = b"0123456789abcdef"

_COUNTRY_FIELD = re.compile(rb" (?:[a-z][a-z0-9]|\?\?) ")
_SUFFIX = re.compile(
    rb"(?: (?!v[46](?: |\Z))(?P<transport>" + TRANSPORT_NAME.pattern.encode() + rb"))?(?: (?P<family>v[46]))?"
)
# A line that is torn within its first 63 bytes is completed by the rest of one of these (the second is for the tens of
# the day 30 and for half a ??).
_COMPLETIONS = (b"0001-01-01 00:00:00 aa " + b"0" * 40, b"0001-01-00 00:00:00 ?? " + b"0" * 40)
# One that is torn within its suffix is completed by one of these.
_SUFFIX_COMPLETIONS = (b"", b"v4", b"4", b"OR>", b"R>", b"?>", b">")


class LineError(ValueError):
    """A line is not of the log's grammar. Its text is the reason, without a byte of the line."""


class Columns(NamedTuple):
    """The further columns of a line: how a client connected.

    Attributes:
        transport: the transport's name; None without that column.
        family: `v4` or `v6`; None without that column.
    """

    transport: str | None = None
    family: str | None = None


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
    r"""Parse one line, with or without its newline.

    Args:
        line: the bytes up to and including `\n`, or up to the end of the file.

    Raises:
        LineError: where the bytes are not exactly of the grammar.
    """
    damage = find_damage(line)
    if damage:
        raise LineError(damage)
    text = line.removesuffix(b"\n")
    start, country, hash_ = text[:LABEL_LENGTH], text[COUNTRY], text[HASH_OFFSET:SUFFIX_OFFSET]
    columns = parse_columns(text[SUFFIX_OFFSET:])
    return LogLine(start.decode("ascii"), country.decode("ascii"), hash_.decode("ascii"), *columns)


def write_lines(label: str, entries: Iterable[str]) -> bytes:
    """Write an interval's lines, sorted, so that their bytes depend on the set of entries alone. Nothing is checked.

    Args:
        label: the interval's.
        entries: `country hash` and what `write_columns` gives, of each line.
    """
    label_prefix = f"{label} "
    return (label_prefix + f"\n{label_prefix}".join(sorted(entries)) + "\n").encode("ascii")


@lru_cache(maxsize=1000)
def is_prefix(prefix: bytes) -> bool:
    """Tell whether these 23 bytes are a line's time and country with the blanks after them."""
    if _COUNTRY_FIELD.fullmatch(prefix[LABEL_LENGTH:]) is None:
        return False
    try:
        parse_time(prefix[:LABEL_LENGTH].decode("ascii"))
    except ValueError:
        return False
    return True


def is_hash(hash_: bytes) -> bool:
    """Tell whether these are 40 lower-case hex digits."""
    return len(hash_) == SUFFIX_OFFSET - HASH_OFFSET and not hash_.translate(None, HEX_DIGITS)


@lru_cache(maxsize=1000)
def parse_columns(suffix: bytes) -> Columns:
    """Parse what follows the hash, without the newline.

    Raises:
        LineError: where the bytes are not of the grammar.
    """
    match = _SUFFIX.fullmatch(suffix)
    if match is None:
        raise LineError("what follows the hash is neither a transport nor v4 or v6")
    transport, family = match["transport"], match["family"]
    return Columns(
        None if transport is None else transport.decode("ascii"), None if family is None else family.decode("ascii")
    )


def write_columns(columns: Columns) -> str:
    """Write what follows the hash: each column that is there with a blank before it. Nothing is checked."""
    return "".join(f" {column}" for column in columns if column is not None)


def is_transport_name(name: str) -> bool:
    """Tell whether a line may have this in its transport's column."""
    return TRANSPORT_NAME.fullmatch(name) is not None and name not in {"v4", "v6"}


def is_line(line: bytes) -> bool:
    """Tell whether `parse_line` takes these bytes."""
    return not find_damage(line)


def find_damage(line: bytes) -> str:
    """Give the reason why a line is damaged, for the operator and without a byte of it; empty for a good line.

    Args:
        line: the line, with or without its newline.
    """
    text = line.removesuffix(b"\n")
    if not is_prefix(text[:HASH_OFFSET]):
        return "it does not begin with a date, a time and a country"
    if not is_hash(text[HASH_OFFSET:SUFFIX_OFFSET]):
        return "it has no hash of 40 hexadecimal digits"
    try:
        parse_columns(text[SUFFIX_OFFSET:])
    except LineError as error:
        return str(error)
    return ""


def is_torn(line: bytes) -> bool:
    """Tell whether these bytes, without a newline, can be the beginning of a line whose rest was never written."""
    is_whole = len(line) >= SUFFIX_OFFSET
    completions = _SUFFIX_COMPLETIONS if is_whole else tuple(whole[len(line) :] for whole in _COMPLETIONS)
    return b"\n" not in line and any(is_line(line + rest) for rest in completions)
