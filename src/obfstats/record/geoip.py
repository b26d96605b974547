r"""Tor's GeoIP text files, read into tables (tor's geoip and geoip6; Debian: tor-geoipdb).

    16777216,16777471,AU                                        geoip: numbers of IPv4 addresses, both ends included
    "16777216","16777471","AU","AUS","Australia"                geoip: MaxMind's form of the same
    2001:200::,2001:200:134:ffff:ffff:ffff:ffff:ffff,JP         geoip6

As tor does: comments (`#`) and empty lines are passed over, lines may end in CRLF, any other line that does not fit
is skipped and counted. Ranges are put in order; of two that overlap the first counts and the second is skipped.
Pure: bytes in, tables out. A look-up takes a packed address and never raises.
"""

from __future__ import annotations

import re
from heapq import merge
from itertools import islice
from socket import AF_INET6, inet_pton
from typing import TYPE_CHECKING, Generic, TypeVar

from obfstats.record.errors import OutOfOrderError
from obfstats.record.v4table import MAX_V4, V4Table
from obfstats.record.v6table import V6Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_CODE = rb'"?([A-Za-z][A-Za-z0-9]|\?\?)"?(?:,[^\r\n]*)?[ \t]*\r?$'
_V4_LINE = re.compile(rb'^[ \t]*"?([0-9]{1,10})"?,"?([0-9]{1,10})"?,' + _CODE, re.MULTILINE)
_V6_LINE = re.compile(rb'^[ \t]*"?([0-9A-Fa-f:.]{2,45})"?,"?([0-9A-Fa-f:.]{2,45})"?,' + _CODE, re.MULTILINE)
_NO_RANGE = re.compile(rb"^[ \t]*(?:#.*)?\r?$", re.MULTILINE)
# A chunk is read in one go, with the interpreter held: half a millisecond, so that other threads go on meanwhile.
_CHUNK = 1 << 15
_SORTED_AT_ONCE = 1 << 12

_End = TypeVar("_End", int, bytes)
_Table = TypeVar("_Table", V4Table, V6Table)


def parse_v4(text: bytes) -> V4Table:
    """Read a geoip file."""
    lines = _Lines(text, _V4_LINE)
    table = _arrange(V4Table, lambda: (_v4_range(*line) for line in lines))
    table.skipped += lines.misfits
    return table


def parse_v6(text: bytes) -> V6Table:
    """Read a geoip6 file."""
    lines = _Lines(text, _V6_LINE)
    table = _arrange(V6Table, lambda: (_v6_range(*line) for line in lines))
    table.skipped += lines.misfits
    return table


def _arrange(
    make: Callable[[Iterable[tuple[_End, _End, str]]], _Table], read: Callable[[], Iterable[tuple[_End, _End, str]]]
) -> _Table:
    """Make the table straight from the file, which tor's order allows; sort first only where that is broken."""
    try:
        return make(read())
    except OutOfOrderError:
        ordered = _Ordered(read())
        table = make(ordered)
        table.skipped += ordered.skipped
        return table


class _Ordered(Generic[_End]):
    """Ranges put in order, of those that overlap the first.

    They are sorted some thousand at a time and never freed all at once: either would hold up other threads.

    Attributes:
        skipped: ranges so far that were left out.
    """

    def __init__(self, ranges: Iterable[tuple[_End, _End, str]]) -> None:
        self._ranges: Iterator[tuple[_End, _End, str]] = iter(ranges)
        self.skipped = 0

    def __iter__(self) -> Iterator[tuple[_End, _End, str]]:
        end: _End | None = None
        parts = iter(lambda: sorted(islice(self._ranges, _SORTED_AT_ONCE)), [])
        # As iterators: one that has come to its end lets its list go, while the others go on.
        for item in merge(*map(iter, parts)):
            if item[0] > item[1] or (end is not None and item[0] <= end):
                self.skipped += 1
            else:
                end = item[1]
                yield item


class _Lines:
    """A file's ranges as (first, last, lower-case code), some thousand lines at a time to spare memory.

    Attributes:
        misfits: lines so far that are neither ranges nor comments nor empty.
    """

    def __init__(self, text: bytes, pattern: re.Pattern[bytes]) -> None:
        self._text, self._pattern = text, pattern
        self.misfits = 0

    def __iter__(self) -> Iterator[tuple[bytes, bytes, str]]:
        self.misfits = 0
        names: dict[bytes, str] = {}
        start = 0
        while start < len(self._text):
            end = self._text.find(b"\n", start + _CHUNK) + 1 or len(self._text)
            chunk = self._text[start:end].removesuffix(b"\n")
            lines = self._pattern.findall(chunk)
            self.misfits += chunk.count(b"\n") + 1 - len(lines) - sum(1 for _ in _NO_RANGE.finditer(chunk))
            for first, last, code in lines:
                # One string for each code: 660,000 ranges share some 250 of them.
                country = names.get(code) or names.setdefault(code, code.decode("ascii").lower())
                yield first, last, country
            start = end


def _v4_range(first: bytes, last: bytes, country: str) -> tuple[int, int, str]:
    """Read both ends; what is no address becomes a range that ends before it begins, which no table takes."""
    low, high = int(first), int(last)
    return (low, high, country) if high <= MAX_V4 else (1, 0, country)


def _v6_range(first: bytes, last: bytes, country: str) -> tuple[bytes, bytes, str]:
    """The same for IPv6, packed."""
    try:
        return inet_pton(AF_INET6, first.decode("ascii")), inet_pton(AF_INET6, last.decode("ascii")), country
    except OSError:
        return b"\1", b"\0", country
