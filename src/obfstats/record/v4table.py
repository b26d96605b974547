"""Countries of IPv4 addresses, looked up in three steps, for the one look-up that every client costs.

    198.51      the upper 16 bits choose a page
         .100   the third byte chooses a block there
         .7     the last byte chooses a place there, which holds the number of a country

Equal pages are kept once, and so are equal blocks: large networks cost next to nothing, and the 385,602 ranges of tor's
file take 10 MB. Pure; a look-up never raises.
"""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING

from obfstats.formats.logline import UNKNOWN_COUNTRY
from obfstats.record.errors import OutOfOrderError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_V4 = 0xFFFF_FFFF

_PARTS = struct.Struct(">HBB").unpack


class V4Table:
    """A country for every IPv4 address.

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
        self._countries = list(runs.countries)
        layout = runs.lay_out()
        self._pages, self._blocks, self._places = layout.pages, layout.blocks, layout.places

    def __len__(self) -> int:
        return self._count

    @property
    def codes(self) -> frozenset[str]:
        """Every country code that is in it."""
        return frozenset(self._countries)

    def country(self, packed: bytes) -> str:
        """Give the country of a packed IPv4 address (4 bytes), or `??`."""
        upper, third, fourth = _PARTS(packed)
        country: str = self._countries[self._places[self._blocks[self._pages[upper] | third] << 8 | fourth]]
        return country


class _Runs:
    """The address space as runs of one country each, gaps included, so a run ends where the next begins.

    Attributes:
        countries: the number of each country.
        starts: where each run begins.
        numbers: the number of its country.
    """

    def __init__(self) -> None:
        self.countries = {UNKNOWN_COUNTRY: 0}
        self.starts, self.numbers = array("Q", [0]), array("H", [0])

    def begin(self, start: int, country: str) -> None:
        """Begin a run, unless the one before it goes on."""
        number = self.countries.setdefault(country, len(self.countries))
        if start == 0:
            self.numbers[0] = number
        elif number != self.numbers[-1]:
            self.starts.append(start)
            self.numbers.append(number)

    def lay_out(self) -> _Layout:
        """Lay the runs out in pages and blocks."""
        self.starts.append(MAX_V4 + 1)
        self.numbers.append(0)
        try:
            return _Layout(self, "H")
        except OverflowError:
            # More than 65,536 different blocks; tor's file has 19,000.
            return _Layout(self, "I")


class _Layout:
    """Pages, blocks and places, each level one array.

    Attributes:
        pages: for each page, where its 256 blocks begin in `blocks`.
        blocks: for each block its number: its 256 places begin at 256 times that.
        places: for each place the number of a country.
    """

    def __init__(self, runs: _Runs, block_type: str) -> None:
        """Lay runs out; the last begins behind the last address.

        Args:
            runs: the runs.
            block_type: the type of `blocks`, as in the module array.

        Raises:
            OverflowError: if there are more blocks than its numbers.
        """
        self._starts, self._numbers = runs.starts, runs.numbers
        self.pages = array("I")
        self.blocks = array(block_type)
        self.places = array("B" if len(runs.countries) <= 0x100 else "H")
        self._one_place = [array(self.places.typecode, [number]) for number in range(len(runs.countries))]
        self._known_blocks: dict[bytes, int] = {}
        # The first blocks are those of one country each, so such a block has its country's number.
        for place in self._one_place:
            self._number(place * 256)
        known_pages: dict[bytes, int] = {}
        run = 0
        while len(self.pages) < 0x1_0000:
            first = len(self.pages) << 16
            while self._starts[run + 1] <= first:
                run += 1
            # A run may go on for many pages; a page that is not whole is made up of its blocks.
            whole = (self._starts[run + 1] - first) >> 16
            page = array(block_type, [self._numbers[run]]) * 256 if whole else self._page(first, run)
            begin = known_pages.setdefault(page.tobytes(), len(self.blocks))
            if begin == len(self.blocks):
                self.blocks.extend(page)
            self.pages.extend(array("I", [begin]) * max(whole, 1))

    def _page(self, first: int, run: int) -> array[int]:
        """Give the numbers of the 256 blocks from an address on; `run` is the one it begins in."""
        page = array(self.blocks.typecode)
        while len(page) < 256:
            start = first + (len(page) << 8)
            while self._starts[run + 1] <= start:
                run += 1
            whole = min(256 - len(page), (self._starts[run + 1] - start) >> 8)
            if whole:
                page.extend(array(page.typecode, [self._numbers[run]]) * whole)
            else:
                page.append(self._cut_block(start, run))
        return page

    def _cut_block(self, first: int, run: int) -> int:
        """Give the number of a block that several runs share; `run` is the one it begins in."""
        block = array(self.places.typecode)
        while len(block) < 256:
            end = min(self._starts[run + 1] - first, 256)
            block.extend(self._one_place[self._numbers[run]] * (end - len(block)))
            run += 1
        return self._number(block)

    def _number(self, block: array[int]) -> int:
        """Give a block's number; its places are kept when they are new."""
        number = self._known_blocks.setdefault(block.tobytes(), len(self._known_blocks))
        if number << 8 == len(self.places):
            self.places.extend(block)
        return number
