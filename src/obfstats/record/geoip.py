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
import struct
from array import array
from bisect import bisect_right
from socket import AF_INET6, inet_pton
from typing import TYPE_CHECKING, TypeVar

from obfstats.formats.logline import UNKNOWN_COUNTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_CODE = rb'"?([A-Za-z][A-Za-z0-9]|\?\?)"?(?:,[^\r\n]*)?[ \t]*\r?$'
_V4_LINE = re.compile(rb'^[ \t]*"?([0-9]{1,10})"?,"?([0-9]{1,10})"?,' + _CODE, re.MULTILINE)
_V6_LINE = re.compile(rb'^[ \t]*"?([0-9A-Fa-f:.]{2,45})"?,"?([0-9A-Fa-f:.]{2,45})"?,' + _CODE, re.MULTILINE)
_NO_RANGE = re.compile(rb"^[ \t]*(?:#.*)?\r?$", re.MULTILINE)
_CHUNK = 1 << 18

_MAX_V4 = 0xFFFF_FFFF
_HALVES = struct.Struct(">QQ").unpack
_PARTS = struct.Struct(">HBB").unpack
_CUT = 0xFFFF

_End = TypeVar("_End", int, bytes)
_Table = TypeVar("_Table", "V4Table", "V6Table")


class OutOfOrderError(ValueError):
    """A file's ranges are not in the order of their addresses, or overlap."""


class V4Table:
    """Countries of IPv4 addresses: 385,602 ranges take 10 MB, and a look-up touches two or three places of them.

    The upper 16 bits of an address choose a page, its third byte a place there; the place holds the number of a country
    and answers for a block of 256 addresses. Equal pages are kept once, so large networks cost next to nothing. A block
    that is cut between countries is marked, and its few runs are searched by the last byte.

    Attributes:
        skipped: ranges that were left out.
    """

    def __init__(self, ranges: Iterable[tuple[int, int, str]]) -> None:
        """Take (first, last, lower-case code) with both ends as numbers.

        Raises:
            OutOfOrderError: at a range that begins before the one in front of it has ended.
        """
        self.skipped = 0
        self._count = 0
        runs = _Runs()
        end = -1
        for first, last, country in ranges:
            if first > last:
                self.skipped += 1
                continue
            if first <= end:
                raise OutOfOrderError
            self._count += 1
            if first > end + 1:
                runs.begin(end + 1, UNKNOWN_COUNTRY)
            runs.begin(first, country)
            end = last
        runs.begin(end + 1, UNKNOWN_COUNTRY)
        self._countries = list(runs.numbers)
        self._pages, self._places = runs.pages()
        self._cut = runs.cut

    def __len__(self) -> int:
        return self._count

    def country(self, packed: bytes) -> str:
        """Give the country of a packed IPv4 address (4 bytes), or `??`."""
        upper, third, fourth = _PARTS(packed)
        number = self._places[self._pages[upper] << 8 | third]
        if number == _CUT:
            starts, numbers = self._cut[upper << 8 | third]
            number = numbers[bisect_right(starts, fourth) - 1]
        country: str = self._countries[number]
        return country


class _Runs:
    """The address space as runs of one country each, gaps included, so a run ends where the next begins.

    Attributes:
        numbers: the number of each country.
        cut: for blocks that hold several runs, by the upper 24 bits: where each begins, and its country's number.
    """

    def __init__(self) -> None:
        self.numbers = {UNKNOWN_COUNTRY: 0}
        self.cut: dict[int, tuple[bytes, array[int]]] = {}
        self._starts, self._runs = array("Q", [0]), array("H", [0])

    def begin(self, start: int, country: str) -> None:
        """Begin a run, unless the one before it goes on."""
        number = self.numbers.setdefault(country, len(self.numbers))
        if start == 0:
            self._runs[0] = number
        elif number != self._runs[-1]:
            self._starts.append(start)
            self._runs.append(number)

    def pages(self) -> tuple[array[int], array[int]]:
        """Give each page's number by the upper 16 bits, and the places of all pages one behind the other."""
        self._starts.append(_MAX_V4 + 1)
        self._runs.append(0)
        pages, places = array("H"), array("H")
        known: dict[bytes, int] = {}
        run = 0
        while len(pages) < 0x1_0000:
            first = len(pages) << 16
            while self._starts[run + 1] <= first:
                run += 1
            # A run may go on for many pages; a page that is not whole is made up of its blocks.
            whole = (self._starts[run + 1] - first) >> 16
            page = self._runs[run : run + 1] * 256 if whole else self._page(first, run)
            number = known.setdefault(page.tobytes(), len(known))
            if number << 8 == len(places):
                places.extend(page)
            pages.extend(array("H", [number]) * max(whole, 1))
        return pages, places

    def _page(self, first: int, run: int) -> array[int]:
        """Give the 256 places from an address on; `run` is the one it begins in."""
        page = array("H")
        while len(page) < 256:
            start = first + (len(page) << 8)
            while self._starts[run + 1] <= start:
                run += 1
            whole = min(256 - len(page), (self._starts[run + 1] - start) >> 8)
            if whole:
                page.extend(self._runs[run : run + 1] * whole)
            else:
                page.append(_CUT)
                self._cut_block(start, run)
        return page

    def _cut_block(self, first: int, run: int) -> None:
        """Note the runs within one block; `run` is the one it begins in."""
        last = bisect_right(self._starts, first + 255, run)
        starts = bytes(max(start - first, 0) for start in self._starts[run:last])
        self.cut[first >> 8] = starts, self._runs[run:last]


class V6Table:
    """Countries of IPv6 addresses: 276,626 ranges take 11 MB.

    An address is two 64-bit halves. The search runs over the upper halves; only where ranges share one do the lower
    halves decide.

    Attributes:
        skipped: ranges that were left out.
    """

    def __init__(self, ranges: Iterable[tuple[bytes, bytes, str]]) -> None:
        """Take (first, last, lower-case code) with both ends packed, 16 bytes each.

        Raises:
            OutOfOrderError: at a range that begins before the one in front of it has ended.
        """
        self.skipped = 0
        self._firsts = array("Q"), array("Q")
        self._lasts = array("Q"), array("Q")
        self._countries: list[str] = []
        end = b""
        for first, last, country in ranges:
            if first > last:
                self.skipped += 1
                continue
            if first <= end:
                raise OutOfOrderError
            for halves, packed in ((self._firsts, first), (self._lasts, last)):
                upper, lower = _HALVES(packed)
                halves[0].append(upper)
                halves[1].append(lower)
            self._countries.append(country)
            end = last

    def __len__(self) -> int:
        return len(self._countries)

    def country(self, packed: bytes) -> str:
        """Give the country of a packed IPv6 address (16 bytes), or `??`."""
        upper, lower = _HALVES(packed)
        index = bisect_right(self._firsts[0], upper) - 1
        while index >= 0 and self._firsts[0][index] == upper and self._firsts[1][index] > lower:
            index -= 1
        if index < 0 or (upper, lower) > (self._lasts[0][index], self._lasts[1][index]):
            return UNKNOWN_COUNTRY
        return self._countries[index]


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
        ordered: list[tuple[_End, _End, str]] = []
        skipped = 0
        for item in sorted(read()):
            if item[0] > item[1] or (ordered and item[0] <= ordered[-1][1]):
                skipped += 1
            else:
                ordered.append(item)
        table = make(ordered)
        table.skipped += skipped
        return table


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
    return (low, high, country) if high <= _MAX_V4 else (1, 0, country)


def _v6_range(first: bytes, last: bytes, country: str) -> tuple[bytes, bytes, str]:
    """The same for IPv6, packed."""
    try:
        return inet_pton(AF_INET6, first.decode("ascii")), inet_pton(AF_INET6, last.decode("ascii")), country
    except OSError:
        return b"\1", b"\0", country
