r"""Tor's GeoIP text files, read into tables (tor's geoip and geoip6; Debian: tor-geoipdb).

    16777216,16777471,AU                                        geoip: numbers of IPv4 addresses, both ends included
    "16777216","16777471","AU","AUS","Australia"                geoip: MaxMind's form of the same
    2001:200::,2001:200:134:ffff:ffff:ffff:ffff:ffff,JP         geoip6

- As in tor, comments (`#`) and empty lines are ignored, lines may end in CRLF, and any other line that does not match
  is skipped and counted.
- Ranges are sorted. Of two that overlap, the first counts and the second is skipped.
- Reading must not block other threads: a file is read and sorted in small parts, because the interpreter is held for
  each of them.

Pure: bytes in, tables out. A look-up takes a packed address and never raises.
"""

from __future__ import annotations

import re
import struct
from array import array
from bisect import bisect_right
from heapq import merge
from itertools import islice
from socket import AF_INET6, inet_pton
from typing import TYPE_CHECKING, Generic, TypeVar

from obfstats.formats.logline import UNKNOWN_COUNTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_CODE = rb'"?([A-Za-z][A-Za-z0-9]|\?\?)"?(?:,[^\r\n]*)?[ \t]*\r?$'
_V4_LINE = re.compile(rb'^[ \t]*"?([0-9]{1,10})"?,"?([0-9]{1,10})"?,' + _CODE, re.MULTILINE)
_V6_LINE = re.compile(rb'^[ \t]*"?([0-9A-Fa-f:.]{2,45})"?,"?([0-9A-Fa-f:.]{2,45})"?,' + _CODE, re.MULTILINE)
_NO_RANGE = re.compile(rb"^[ \t]*(?:#.*)?\r?$", re.MULTILINE)
# Half a millisecond each.
_CHUNK_SIZE = 1 << 15
_SORTED_RANGES = 1 << 12

_MAX_V4 = 0xFFFF_FFFF
_split_v4 = struct.Struct(">HBB").unpack
_split_v6 = struct.Struct(">QQ").unpack


class _UnsortedError(ValueError):
    """Ranges are not in the order of their addresses, or overlap."""


class V4Table:
    """A country for every IPv4 address, looked up in three steps, because every client costs one look-up.

        198.51      the upper 16 bits choose a page
             .100   the third byte chooses a block of the page
             .7     the last byte chooses an entry of the block, which is the number of a country

    Equal pages are stored once, and so are equal blocks: large networks take almost no memory, and the 385,602 ranges
    of tor's file take 10 MB.

    Attributes:
        skipped: ranges that were left out.
    """

    def __init__(self, ranges: Iterable[tuple[int, int, str]]) -> None:
        """Build the table.

        Args:
            ranges: first and last address as numbers, and lower-case code; sorted, without overlaps.
        """
        self.skipped = 0
        self._count = 0
        runs = _Runs()
        end = -1
        for first, last, country in ranges:
            self._count += 1
            if first > end + 1:
                runs.begin(end + 1, UNKNOWN_COUNTRY)
            runs.begin(first, country)
            end = last
        runs.begin(end + 1, UNKNOWN_COUNTRY)
        self._countries = list(runs.countries)
        layout = runs.lay_out()
        self._pages, self._blocks, self._entries = layout.pages, layout.blocks, layout.entries

    def __len__(self) -> int:
        return self._count

    @property
    def codes(self) -> frozenset[str]:
        """Every country code in it."""
        return frozenset(self._countries)

    def country(self, packed: bytes) -> str:
        """Give the country of a packed IPv4 address (4 bytes), or `??`."""
        upper, third, fourth = _split_v4(packed)
        country: str = self._countries[self._entries[self._blocks[self._pages[upper] | third] << 8 | fourth]]
        return country


class _Runs:
    """The IPv4 addresses as runs of one country each, gaps included, so that a run ends where the next begins.

    Attributes:
        countries: the number of each country.
        starts: where each run begins.
        numbers: the number of its country.
    """

    def __init__(self) -> None:
        self.countries = {UNKNOWN_COUNTRY: 0}
        self.starts, self.numbers = array("Q", [0]), array("H", [0])

    def begin(self, start: int, country: str) -> None:
        """Begin a run, unless the one before it has the same country."""
        number = self.countries.setdefault(country, len(self.countries))
        if start == 0:
            self.numbers[0] = number
        elif number != self.numbers[-1]:
            self.starts.append(start)
            self.numbers.append(number)

    def lay_out(self) -> _Layout:
        """Lay the runs out in pages and blocks."""
        self.starts.append(_MAX_V4 + 1)
        self.numbers.append(0)
        try:
            return _Layout(self, "H")
        except OverflowError:
            # More than 65,536 different blocks; tor's file has 19,000.
            return _Layout(self, "I")


class _Layout:
    """Pages, blocks and entries, each level one array.

    Attributes:
        pages: for each page, where its 256 blocks begin in `blocks`.
        blocks: for each block its number: its 256 entries begin at 256 times that.
        entries: the number of a country.
    """

    def __init__(self, runs: _Runs, block_type: str) -> None:
        """Lay runs out; the last one begins after the last address.

        Args:
            runs: the runs.
            block_type: the type code of `blocks` (module array).

        Raises:
            OverflowError: if there are more blocks than that type has numbers.
        """
        self._starts, self._numbers = runs.starts, runs.numbers
        self.pages = array("I")
        self.blocks = array(block_type)
        self.entries = array("B" if len(runs.countries) <= 0x100 else "H")
        self._single_entries = [array(self.entries.typecode, [number]) for number in range(len(runs.countries))]
        self._known_blocks: dict[bytes, int] = {}
        # The first blocks are those of one country each, so such a block has its country's number.
        for entry in self._single_entries:
            self._number_of(entry * 256)
        known_pages: dict[bytes, int] = {}
        run = 0
        while len(self.pages) < 0x1_0000:
            first = len(self.pages) << 16
            while self._starts[run + 1] <= first:
                run += 1
            # A run may cover many pages; a page of several runs is made of its blocks.
            whole = (self._starts[run + 1] - first) >> 16
            page = array(block_type, [self._numbers[run]]) * 256 if whole else self._make_page(first, run)
            begin = known_pages.setdefault(page.tobytes(), len(self.blocks))
            if begin == len(self.blocks):
                self.blocks.extend(page)
            self.pages.extend(array("I", [begin]) * max(whole, 1))

    def _make_page(self, first: int, run: int) -> array[int]:
        """Give the numbers of the 256 blocks from an address on, which is in `run`."""
        page = array(self.blocks.typecode)
        while len(page) < 256:
            start = first + (len(page) << 8)
            while self._starts[run + 1] <= start:
                run += 1
            whole = min(256 - len(page), (self._starts[run + 1] - start) >> 8)
            if whole:
                page.extend(array(page.typecode, [self._numbers[run]]) * whole)
            else:
                page.append(self._make_block(start, run))
        return page

    def _make_block(self, first: int, run: int) -> int:
        """Give the number of a block of several runs; its first address is in `run`."""
        block = array(self.entries.typecode)
        while len(block) < 256:
            end = min(self._starts[run + 1] - first, 256)
            block.extend(self._single_entries[self._numbers[run]] * (end - len(block)))
            run += 1
        return self._number_of(block)

    def _number_of(self, block: array[int]) -> int:
        """Give a block's number; store its entries if it is new."""
        number = self._known_blocks.setdefault(block.tobytes(), len(self._known_blocks))
        if number << 8 == len(self.entries):
            self.entries.extend(block)
        return number


class V6Table:
    """Countries of IPv6 addresses, looked up by bisection: 276,626 ranges take 11 MB.

    An address is two 64-bit halves. The search runs over the upper halves; only where ranges share one do the lower
    halves decide.

    Attributes:
        skipped: ranges that were left out.
    """

    def __init__(self, ranges: Iterable[tuple[bytes, bytes, str]]) -> None:
        """Build the table.

        Args:
            ranges: first and last address, packed in 16 bytes, and lower-case code; sorted, without overlaps.
        """
        self.skipped = 0
        self._firsts = array("Q"), array("Q")
        self._lasts = array("Q"), array("Q")
        self._countries: list[str] = []
        for first, last, country in ranges:
            for halves, packed in ((self._firsts, first), (self._lasts, last)):
                upper, lower = _split_v6(packed)
                halves[0].append(upper)
                halves[1].append(lower)
            self._countries.append(country)

    def __len__(self) -> int:
        return len(self._countries)

    @property
    def codes(self) -> frozenset[str]:
        """Every country code in it."""
        return frozenset(self._countries)

    def country(self, packed: bytes) -> str:
        """Give the country of a packed IPv6 address (16 bytes), or `??`."""
        upper, lower = _split_v6(packed)
        index = bisect_right(self._firsts[0], upper) - 1
        while index >= 0 and self._firsts[0][index] == upper and self._firsts[1][index] > lower:
            index -= 1
        if index < 0 or (upper, lower) > (self._lasts[0][index], self._lasts[1][index]):
            return UNKNOWN_COUNTRY
        return self._countries[index]


_End = TypeVar("_End", int, bytes)
_Table = TypeVar("_Table", V4Table, V6Table)


def parse_v4(text: bytes) -> V4Table:
    """Read a geoip file."""
    return _build(V4Table, _Lines(text, _V4_LINE), _v4_range)


def parse_v6(text: bytes) -> V6Table:
    """Read a geoip6 file."""
    return _build(V6Table, _Lines(text, _V6_LINE), _v6_range)


def search_v4(text: bytes) -> FileSearch[int]:
    """Look countries up in a geoip file without making a table of it."""
    return FileSearch(text, _V4_LINE, lambda packed: int.from_bytes(packed, "big"), _v4_range)


def search_v6(text: bytes) -> FileSearch[bytes]:
    """The same for a geoip6 file."""
    return FileSearch(text, _V6_LINE, lambda packed: packed, _v6_range)


class FileSearch(Generic[_End]):
    """Countries looked up in the text of a file by bisection: much slower than in a table, but at once.

    The file must be sorted, as tor's are: in another one a country may be `??`.

    Attributes:
        has_range: whether there is a line that looks like a range.
    """

    def __init__(
        self,
        text: bytes,
        pattern: re.Pattern[bytes],
        unpack: Callable[[bytes], _End],
        parse_range: Callable[[bytes, bytes, str], tuple[_End, _End, str]],
    ) -> None:
        self.has_range = pattern.search(text) is not None
        self._text, self._pattern = text, pattern
        self._unpack: Callable[[bytes], _End] = unpack
        self._parse_range: Callable[[bytes, bytes, str], tuple[_End, _End, str]] = parse_range

    def country(self, packed: bytes) -> str:
        """Give the country of a packed address of the file's family, or `??`."""
        address = self._unpack(packed)
        low, high = 0, len(self._text)
        while low < high:
            # The line in the middle, or the next one that is a range.
            start = self._text.rfind(b"\n", low, (low + high) // 2) + 1 or low
            line = self._pattern.search(self._text, start, high)
            if line is None:
                high = start
                continue
            first, last, country = self._parse_range(line[1], line[2], line[3].decode("ascii").lower())
            if address < first:
                high = start
            elif address > last:
                low = line.end()
            else:
                return country
        return UNKNOWN_COUNTRY


def _build(
    make: Callable[[Iterable[tuple[_End, _End, str]]], _Table],
    lines: _Lines,
    parse_range: Callable[[bytes, bytes, str], tuple[_End, _End, str]],
) -> _Table:
    """Build a table straight from a file, which is sorted as tor has it; sort the ranges only if they are not."""
    ranges = _Ranges((parse_range(*line) for line in lines), sort=False)
    try:
        table = make(ranges)
    except _UnsortedError:
        ranges = _Ranges((parse_range(*line) for line in lines), sort=True)
        table = make(ranges)
    table.skipped = lines.skipped + ranges.skipped
    return table


class _Ranges(Generic[_End]):
    """Ranges that end after they begin; sorted, of those that overlap the first, or _UnsortedError.

    They are sorted some thousand at a time and never freed all at once: either would block other threads.

    Attributes:
        skipped: ranges so far that were left out.
    """

    def __init__(self, ranges: Iterator[tuple[_End, _End, str]], *, sort: bool) -> None:
        self._ranges: Iterator[tuple[_End, _End, str]] = ranges
        self._sort = sort
        self.skipped = 0

    def __iter__(self) -> Iterator[tuple[_End, _End, str]]:
        end: _End | None = None
        for item in self._sorted() if self._sort else self._ranges:
            if item[0] > item[1]:
                self.skipped += 1
            elif end is None or item[0] > end:
                end = item[1]
                yield item
            elif self._sort:
                self.skipped += 1
            else:
                raise _UnsortedError

    def _sorted(self) -> Iterator[tuple[_End, _End, str]]:
        parts = iter(lambda: sorted(islice(self._ranges, _SORTED_RANGES)), [])
        # As iterators: one that is exhausted frees its list, while the others continue.
        return merge(*map(iter, parts))


class _Lines:
    """A file's ranges as (first, last, lower-case code), some thousand lines at a time to save memory.

    Attributes:
        skipped: lines so far that are neither ranges nor comments nor empty.
    """

    def __init__(self, text: bytes, pattern: re.Pattern[bytes]) -> None:
        self._text, self._pattern = text, pattern
        self.skipped = 0

    def __iter__(self) -> Iterator[tuple[bytes, bytes, str]]:
        self.skipped = 0
        names: dict[bytes, str] = {}
        start = 0
        while start < len(self._text):
            end = self._text.find(b"\n", start + _CHUNK_SIZE) + 1 or len(self._text)
            chunk = self._text[start:end].removesuffix(b"\n")
            lines = self._pattern.findall(chunk)
            self.skipped += chunk.count(b"\n") + 1 - len(lines) - sum(1 for _ in _NO_RANGE.finditer(chunk))
            for first, last, code in lines:
                # One string for each code: 660,000 ranges share some 250 of them.
                country = names.get(code) or names.setdefault(code, code.decode("ascii").lower())
                yield first, last, country
            start = end


def _v4_range(first: bytes, last: bytes, country: str) -> tuple[int, int, str]:
    """Parse both ends; what is no address becomes a range that ends before it begins, which tables skip."""
    low, high = int(first), int(last)
    return (low, high, country) if high <= _MAX_V4 else (1, 0, country)


def _v6_range(first: bytes, last: bytes, country: str) -> tuple[bytes, bytes, str]:
    """The same for IPv6, packed."""
    try:
        return inet_pton(AF_INET6, first.decode("ascii")), inet_pton(AF_INET6, last.decode("ascii")), country
    except OSError:
        return b"\1", b"\0", country
