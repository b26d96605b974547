r"""Log lines to rows of 24 bytes, a block of many thousand lines at once.

    2012-02-07 14:01:04 de 1234567890123456789012345678901234567890\n
    0                   20 23                                      63

In most blocks every line is good, has 64 bytes and is of the same interval. Such a block is an array of lines, and each
check reads one column of it. Any other block is split at its newlines first, and its lines are grouped by suffix and by
interval.

The grammar is that of formats/logline.py, which checks every different time, country and suffix. Here all lines at once
are only compared with each other, and their hashes are decoded. Lines that are not of the grammar are left out.

A row is the 20 bytes of a hash and 32 bits for the ids of country and suffix (interval_rows.py). Ids count from 0, in
the order in which countries and suffixes occur.
"""

from __future__ import annotations

from binascii import Error as NotHexError
from binascii import unhexlify
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from obfstats.formats.interval import LABEL_LENGTH
from obfstats.formats.logline import (
    COUNTRY,
    HASH_OFFSET,
    HEX_DIGITS,
    LINE_LENGTH,
    MAX_LINE_LENGTH,
    SUFFIX_OFFSET,
    LineError,
    is_prefix,
    parse_columns,
)
from obfstats.publish.tally.interval_rows import COUNTRY_BITS, ROW, ROW_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from obfstats.publish.tally.interval_rows import Rows

    Bytes = NDArray[np.uint8]
    Ids = NDArray[np.uint32]
    Offsets = NDArray[np.intp]

MAX_SUFFIXES = 1 << 12
"""Most different suffixes that are packed; a bridge with five transports has 15."""

_NEWLINE = np.uint8(ord("\n"))
_HASH_LENGTH = SUFFIX_OFFSET - HASH_OFFSET
_PARTS = np.dtype([("prefix", f"V{HASH_OFFSET}"), ("hash", f"V{_HASH_LENGTH}"), ("end", "V1")])
_IS_NOT_DIGIT = bytes(byte not in HEX_DIGITS for byte in range(256))
# The bit of each byte that is set in 0 to 9 and a to f, and not in A to F.
_LOWER_CASE = np.uint64(0x2020202020202020)

_UNKNOWN = 0xFFFFFFFF
"""In place of an id: the country or suffix is not of the grammar, or the country has no id yet."""

_FEW_SUFFIXES = 30
"""Different suffixes of one length that are compared with all lines at once; a bridge has hardly more."""


class TooManySuffixesError(Exception):
    """The logs have more than MAX_SUFFIXES different suffixes."""


class Run(NamedTuple):
    """The good lines of one interval in one block.

    Attributes:
        label: the interval's label.
        rows: the lines, packed.
    """

    label: bytes
    rows: Rows


class Packer:
    """Packs the lines of blocks.

    Attributes:
        countries: the country codes that occurred, by id.
        suffixes: the suffixes that occurred, by id.
    """

    def __init__(self) -> None:
        """Begin with no country and no suffix but the empty one."""
        self.countries: list[str] = []
        self.suffixes = [b""]
        self._country_ids = np.full(1 << 16, _UNKNOWN, np.uint32)
        self._suffix_ids = {b"": 0}

    def pack(self, block: memoryview[int]) -> tuple[int, list[Run]]:
        """Pack the good lines of a block.

        Args:
            block: whole lines; the last one may lack its newline.

        Returns:
            The number of lines, good or not, and the good ones by interval.

        Raises:
            TooManySuffixesError: if there are more than MAX_SUFFIXES suffixes.
        """
        text = np.frombuffer(block, np.uint8)
        if text[-1] != _NEWLINE:
            text = np.append(text, _NEWLINE)
        if len(text) % LINE_LENGTH == 0:
            lines = text.reshape(-1, LINE_LENGTH)
            if (lines[:, -1] == _NEWLINE).all():
                runs = self._pack_lines(lines, np.broadcast_to(np.uint32(0), len(lines)))
                if sum(len(run.rows) for run in runs) == len(lines):
                    return len(lines), runs
        ends = np.flatnonzero(text == _NEWLINE)
        begins = np.append(np.intp(0), ends[:-1] + 1)
        lengths = ends - begins
        is_possible = (lengths >= SUFFIX_OFFSET) & (lengths < MAX_LINE_LENGTH)
        begins = begins[is_possible]
        suffix_ids = self._find_suffix_ids(text, begins + SUFFIX_OFFSET, lengths[is_possible] - SUFFIX_OFFSET)
        is_good = suffix_ids != _UNKNOWN
        lines = _gather(text, begins[is_good], LINE_LENGTH).view(np.uint8).reshape(-1, LINE_LENGTH)
        return len(ends), self._pack_lines(lines, suffix_ids[is_good])

    def _pack_lines(self, lines: Bytes, suffix_ids: Ids) -> list[Run]:
        """Pack those lines whose first 63 bytes are good; `suffix_ids` are the ids of their suffixes."""
        hash_hex = lines.view(_PARTS)["hash"].tobytes()
        hash_bytes = _decode(hash_hex)
        if hash_bytes is None:
            is_hash = ~np.frombuffer(hash_hex.translate(_IS_NOT_DIGIT), np.bool_).reshape(-1, _HASH_LENGTH).any(axis=1)
            lines, suffix_ids = lines[is_hash], suffix_ids[is_hash]
            hash_bytes = unhexlify(lines.view(_PARTS)["hash"].tobytes())
        country_ids = self._find_country_ids(lines.view("<u2")[:, COUNTRY.start // 2])
        rows = np.empty((len(lines), ROW_WORDS), "<u8")
        fields = rows.view(ROW)[:, 0]
        fields["hash"] = np.frombuffer(hash_bytes, ROW["hash"])
        np.bitwise_or(suffix_ids << np.uint32(COUNTRY_BITS), country_ids, out=fields["country_suffix"])
        if country_ids.max(initial=0) == _UNKNOWN:
            is_good = country_ids != _UNKNOWN
            lines, rows = lines[is_good], rows[is_good]
        return [Run(label, rows[chosen]) for label, chosen in _by_interval(lines)]

    def _find_country_ids(self, codes: NDArray[np.uint16]) -> Ids:
        """Give the id of each country code; `_UNKNOWN` where it is not of the grammar."""
        ids = self._country_ids.take(codes)
        if ids.max(initial=0) == _UNKNOWN:
            for code in set(codes[ids == _UNKNOWN].tolist()):
                country = code.to_bytes(2, "little")
                if is_prefix(b"2012-02-07 14:01:04 %s " % country):
                    self._country_ids[code] = len(self.countries)
                    self.countries.append(country.decode())
            ids = self._country_ids.take(codes)
        return ids

    def _find_suffix_ids(self, text: Bytes, begins: Offsets, lengths: Offsets) -> Ids:
        """Give the id of the suffix that begins at each offset; `_UNKNOWN` where it is not of the grammar."""
        ids = np.zeros(len(begins), np.uint32)
        for length in np.flatnonzero(np.bincount(lengths)).tolist():
            if length:
                has_length = lengths == length
                ids[has_length] = self._suffix_ids_of(_gather(text, begins[has_length], length))
        return ids

    def _suffix_ids_of(self, suffixes: NDArray[np.void]) -> Ids:
        """Give the id of each of some suffixes of the same length."""
        ids = np.empty(len(suffixes), np.uint32)
        # This type ignores NULs at the end of a text. Texts of one length are equal if they are equal without them.
        texts = suffixes.view(f"S{suffixes.itemsize}")
        left = np.arange(len(suffixes))
        for _ in range(_FEW_SUFFIXES):
            if not len(left):
                break
            is_same = texts[left] == texts[left[0]]
            ids[left[is_same]] = self._suffix_id(suffixes[left[0]].tobytes())
            left = left[~is_same]
        for offset in left.tolist():
            ids[offset] = self._suffix_id(suffixes[offset].tobytes())
        return ids

    def _suffix_id(self, suffix: bytes) -> int:
        suffix_id = self._suffix_ids.get(suffix)
        if suffix_id is None:
            try:
                parse_columns(suffix)
            except LineError:
                return _UNKNOWN
            suffix_id = self._suffix_ids[suffix] = len(self.suffixes)
            self.suffixes.append(suffix)
            if suffix_id == MAX_SUFFIXES:
                raise TooManySuffixesError
        return suffix_id


def _decode(hash_hex: bytes) -> bytes | None:
    """Decode lower-case hex digits; None where there is something else."""
    try:
        hash_bytes = unhexlify(hash_hex)
    except NotHexError:
        return None
    is_lower_case = np.bitwise_and.reduce(np.frombuffer(hash_hex, "<u8")) & _LOWER_CASE == _LOWER_CASE
    return hash_bytes if is_lower_case else None


def _by_interval(lines: Bytes) -> Iterable[tuple[bytes, Offsets | slice]]:
    """Give the label of every interval, and its lines; those whose time is not of the grammar are left out."""
    if not len(lines):
        return
    # The prefix but for the country: bytes 0 to 7, 8 to 15, 16 to 19, and 22.
    columns = lines.view("<u8")[:, 0], lines.view("<u8")[:, 1], lines.view("<u4")[:, 4], lines[:, HASH_OFFSET - 1]
    groups: list[tuple[int, Offsets | slice]] = [(0, slice(None))]
    if not all((column == column[0]).all() for column in columns):
        order = np.lexsort(columns)
        is_first = np.zeros(len(order) - 1, np.bool_)
        for column in columns:
            is_first |= column[order[1:]] != column[order[:-1]]
        groups = [(group[0], group) for group in np.split(order, np.flatnonzero(is_first) + 1)]
    for first, group in groups:
        prefix = lines[first, :HASH_OFFSET].tobytes()
        if is_prefix(prefix):
            yield prefix[:LABEL_LENGTH], group


def _gather(text: Bytes, begins: Offsets, size: int) -> NDArray[np.void]:
    """Copy the `size` bytes from each offset on."""
    windows = np.ndarray((max(len(text) - size + 1, 0),), f"V{size}", text.data, strides=(1,))
    return windows[begins]
