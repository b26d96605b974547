"""Lines of any length, many at once: what is damaged is left out, what stands behind the hash is read.

A block of the log holds whole lines. Where every one has 64 bytes and is good, the block is packed as it is
(fixed_lines.py); a damaged line or one with further columns has the block sorted out: lines of the same length are laid
side by side, their first 64 bytes packed, and what stands behind the hash looked at once for all lines that have the
same there. The lines that are damaged are the same ones as for simple.py, and the reason is asked of it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from obfstats.formats.logline import LINE_LENGTH, MAX_LINE_LENGTH
from obfstats.publish.simple import HEX_DIGITS, further_columns, read_log
from obfstats.publish.tally.fixed_lines import (
    END_SHIFT,
    NO_COUNTRY,
    START_LENGTH,
    WORD,
    Packer,
    Rows,
    countries,
    different,
    is_start,
    starting_alike,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from obfstats.publish.tally.ends import Ends

    Words = NDArray[np.uint64]
    Bytes = NDArray[np.uint8]
    Places = NDArray[np.intp]

_NEWLINE = ord("\n")

# What may stand where: each kind of sign is a bit, and a line's shape is the bits that its bytes must have.
_KINDS = {"0": b"0123456789", "x": HEX_DIGITS, "-": b"-", ":": b":", " ": b" ", "\n": b"\n"}
_BITS = {kind: 1 << place for place, kind in enumerate(_KINDS)}
_KINDS_OF = bytes(sum(_BITS[kind] for kind, signs in _KINDS.items() if sign in signs) for sign in range(256))
_SHAPE = "0000-00-00 00:00:00 ?? " + "x" * 40 + "\n"
_SHAPE_BITS = np.array([_BITS.get(kind, 0) for kind in _SHAPE], np.uint8).view(WORD)
_EIGHT_TRUE = np.ones(8, np.uint8).view(WORD)

_NO_END = np.uint64(2**64 - 1)
_FEW = 100
"""Lines so few that packing them takes as long for one as for all."""

_SCATTERED = 1000
"""Different intervals of one block from which on plain Python is faster, and needs less memory."""

_MANY = 30
"""Different ends of lines of one length, from which on each line is looked at by itself."""


class ScatteredError(Exception):
    """There are so many intervals of so few lines that this is not the way to count them. No bridge writes that."""


class Run(NamedTuple):
    """Good lines of one interval.

    Attributes:
        start: the interval's start.
        rows: the lines, packed.
        ends: the numbers of what stands behind their hashes.
    """

    start: bytes
    rows: Rows
    ends: frozenset[int]


class Part(NamedTuple):
    """What was found in one block.

    Attributes:
        lines: how many there are.
        damaged: how many of them are left out.
        first: the first of those, counted from 0, and what is wrong with it; None where nothing is.
        runs: the others, in order of the intervals' first lines. Their rows are in memory that was given.
    """

    lines: int
    damaged: int
    first: tuple[int, str] | None
    runs: list[Run]


def read_block(block: Bytes, size: int, rows: Rows, packer: Packer, ends: Ends, *, take_scattered: bool = True) -> Part:
    """Read the lines of one block.

    Args:
        block: the bytes, and `blocks.PADDING` more behind them.
        size: how many of them belong to the block; the last one is a line's end.
        rows: memory for all lines of the block.
        packer: packs blocks of this size.
        ends: gives numbers to what stands behind the hashes.
        take_scattered: whether to go on where lines are of very many intervals.

    Raises:
        LogFileError: if there are too many different ends.
        ScatteredError: if lines are of very many intervals.
    """
    if size % LINE_LENGTH == 0:
        lines = block[:size].reshape(-1, LINE_LENGTH)
        runs = _fixed_runs(lines, rows, packer)
        if runs is not None:
            return Part(len(lines), 0, None, runs)
    return _SortingOut(block, size, rows, packer, ends, take_scattered=take_scattered).part()


def _fixed_runs(lines: Bytes, rows: Rows, packer: Packer) -> list[Run] | None:
    """Pack lines of 64 bytes, of one interval or some behind each other; None if one is damaged, or all are mixed."""
    runs: list[Run] = []
    while len(lines):
        count = len(lines)
        start = packer.pack(lines, rows.part(0, count))
        if start is None:
            count = starting_alike(lines)
            start = packer.pack(lines[:count], rows.part(0, count)) if _FEW < count < len(lines) else None
        if start is None:
            return None
        runs.append(Run(start, rows.part(0, count), frozenset((0,))))
        lines, rows = lines[count:], rows.part(count)
    return runs


class _SortingOut:
    """Takes a block apart that has damaged lines, lines of different lengths or of different intervals."""

    def __init__(
        self, block: Bytes, size: int, rows: Rows, packer: Packer, ends: Ends, *, take_scattered: bool
    ) -> None:
        self._take_scattered = take_scattered
        self._block, self._rows, self._packer, self._ends = block, rows, packer, ends
        self._stops = _line_ends(block, size)
        self._begins: Places = np.concatenate((np.zeros(1, np.intp), self._stops[:-1] + 1))
        self._good = np.zeros(len(self._stops), np.bool_)
        self._runs: list[tuple[int, Run]] = []

    def part(self) -> Part:
        """Give what was found."""
        lengths = np.minimum(self._stops - self._begins + 1, MAX_LINE_LENGTH + 1)
        present = np.flatnonzero(np.bincount(lengths))
        for length in present[(present >= LINE_LENGTH) & (present <= MAX_LINE_LENGTH)].tolist():
            self._take_length(length, np.flatnonzero(lengths == length))
        damaged = np.flatnonzero(~self._good)
        first = None
        if len(damaged):
            number = int(damaged[0])
            first = number, self._reason(number)
        return Part(
            len(self._good), len(damaged), first, [run for _, run in sorted(self._runs, key=lambda one: one[0])]
        )

    def _reason(self, number: int) -> str:
        """Give the simple script's words for what is wrong with a line."""
        begin = self._begins[number]
        line = self._block[begin : min(self._stops[number] + 1, begin + MAX_LINE_LENGTH)].tobytes()
        return read_log(io.BytesIO(line), {})[2].partition(": ")[2]

    def _take_length(self, length: int, numbers: Places) -> None:
        """Take the lines of one length."""
        if length == LINE_LENGTH:
            self._take(numbers, np.zeros(len(numbers), WORD))
            return
        ends = self._find_ends(length, numbers)
        is_end = ends != _NO_END
        if is_end.all():
            self._take(numbers, ends)
        else:
            self._take(numbers[is_end], ends[is_end])

    def _take(self, numbers: Places, ends: Words) -> None:
        """Take the good ones of some lines; what stands behind their hashes is known."""
        lines = self._cut(self._begins[numbers], LINE_LENGTH).view(np.uint8).reshape(-1, LINE_LENGTH)
        lines[:, -1] = _NEWLINE
        if self._add(lines, numbers, ends):
            return
        is_good = look_at_each(lines)
        lines, numbers, ends = lines[is_good], numbers[is_good], ends[is_good]
        intervals = by_start(lines)
        if len(intervals) > _SCATTERED and not self._take_scattered:
            raise ScatteredError
        for same in intervals:
            if is_start(lines[same[0], :START_LENGTH].tobytes()) and not self._add(
                lines[same], numbers[same], ends[same]
            ):
                raise AssertionError("good lines of one interval cannot be packed")

    def _add(self, lines: Bytes, numbers: Places, ends: Words) -> bool:
        """Add lines that are good and of one interval; tell whether they are."""
        if not len(lines):
            return True
        rows = self._rows.part(0, len(lines))
        start = self._packer.pack(lines, rows)
        if start is None:
            return False
        self._rows = self._rows.part(len(lines))
        rows.kinds[:] |= ends << END_SHIFT
        self._good[numbers] = True
        self._runs.append((int(numbers[0]), Run(start, rows, frozenset(different(ends).tolist()))))
        return True

    def _find_ends(self, length: int, numbers: Places) -> Words:
        """Give the number of what stands behind each line's hash; `_NO_END` where it may not."""
        size = length - LINE_LENGTH + 1
        begins = self._begins[numbers] + (LINE_LENGTH - 1)
        words = self._cut(begins, -(-size // 8) * 8).view(WORD).reshape(len(begins), -1)
        words[:, -1] &= np.uint64(2 ** (8 * ((size - 1) % 8 + 1)) - 1)
        columns = words.T.copy()
        ends = np.full(len(begins), _NO_END)
        is_left = np.ones(len(begins), np.bool_)
        for _ in range(_MANY):
            first = int(is_left.argmax())
            if not is_left[first]:
                return ends
            is_like_first = columns[0] == columns[0, first]
            for column in columns[1:]:
                is_like_first &= column == column[first]
            ends[is_like_first] = self._number(words[first].tobytes()[:size])
            is_left &= ~is_like_first
        for place in np.flatnonzero(is_left).tolist():
            ends[place] = self._number(words[place].tobytes()[:size])
        return ends

    def _number(self, end: bytes) -> np.uint64:
        columns = further_columns(end)
        return _NO_END if columns is None else np.uint64(self._ends.number(columns))

    def _cut(self, begins: Places, size: int) -> NDArray[np.void]:
        """Take so many bytes from each of these places on."""
        windows = np.ndarray(len(self._block) - size + 1, np.dtype((np.void, size)), self._block, strides=1)
        return windows[begins]


def _line_ends(block: Bytes, size: int) -> Places:
    """Give the places of all line ends in a block; most eights of bytes have none, and are not looked at one by one."""
    is_end = block[: -(-size // 8) * 8] == _NEWLINE
    is_end[size:] = False
    eights = np.flatnonzero(is_end.view(WORD) != 0)
    inside = np.flatnonzero(is_end.reshape(-1, 8).take(eights, axis=0))
    places: Places = eights[inside >> 3] * 8 + (inside & 7)
    return places


def look_at_each(lines: Bytes) -> NDArray[np.bool_]:
    """Tell which lines of 64 bytes are good, but for their dates."""
    codes, found = np.empty((2, len(lines)), WORD)
    countries(lines.view(WORD)[:, 2], codes, found)
    kinds = np.frombuffer(lines.tobytes().translate(_KINDS_OF), WORD).reshape(-1, LINE_LENGTH // 8)
    # One truth for every eight bytes, and the eight truths of a line as one number.
    fits = kinds & _SHAPE_BITS == _SHAPE_BITS
    is_good: NDArray[np.bool_] = (fits.view(WORD)[:, 0] == _EIGHT_TRUE) & (found != NO_COUNTRY)
    return is_good


def by_start(lines: Bytes) -> list[Places]:
    """Give the places of those lines together whose intervals have the same start; the dates have digits only."""
    # 14 digits are 56 bits: the first 6, the next 6 in the free bits of those, and the seconds where - and - stood.
    columns = lines.view(WORD) & np.uint64(0x0F0F0F0F0F0F0F0F)
    keys = columns[:, 0] & np.uint64(0x000F0F000F0F0F0F)
    keys |= (columns[:, 1] & np.uint64(0x0F0F000F0F000F0F)) << np.uint64(4)
    keys |= (columns[:, 2] & np.uint64(0x0F00)) << np.uint64(24)
    keys |= (columns[:, 2] & np.uint64(0x0F0000)) << np.uint64(40)
    order = keys.argsort(kind="stable")
    sorted_keys = keys[order]
    return np.split(order, np.flatnonzero(sorted_keys[1:] != sorted_keys[:-1]) + 1) if len(order) else []
