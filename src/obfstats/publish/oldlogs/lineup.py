"""The lines of a piece side by side: where they are, their times, and what those say whose shape is known (shapes.py).

A line is read here only where its time is written as it should be, its date is in the calendar, and behind it stands a
known head, an address that can be read at once and a known rest. All others are left to formats/oldlog.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from obfstats.formats.oldlog import DAY_SECONDS, LONGEST_LINE, day_number
from obfstats.publish.oldlogs.endpoints import read_endpoints
from obfstats.publish.oldlogs.shapes import (
    LOOPBACK,
    Head,
    Kind,
    Place,
    Prefix,
    Rest,
    Shapes,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from obfstats.publish.oldlogs.pieces import Piece

    Words = NDArray[np.uint64]
    Places = NDArray[np.intp]
    Flags = NDArray[np.bool_]

NEVER = np.int64(-(1 << 62))
"""The time of a line that has none; earlier than all others."""

_NEWLINE = ord("\n")
_ENOUGH = 0.02
"""So many of the lines may be left to oldlog.py before shapes are learnt."""
_SAMPLE = 256
_ROUNDS = 4


def _mask(text: bytes, sign: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(bytes(0xFF if char in sign else 0 for char in text), "little"))


def _word(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(text, "little"))


# The three words of a line's time: 0 a digit, - or / or : or a blank as they are, x what belongs to it no more.
_SHAPES = (b"0000-00-", b"00 00:00", b":00xxxxx")
_DIGITS = [_mask(text, b"0") for text in _SHAPES]
_SIGNS = [_mask(text, b"-: ") for text in _SHAPES]
_DASHES = [_word(text) & mask for text, mask in zip(_SHAPES, _SIGNS, strict=True)]
_SLASHES = [_word(text.replace(b"-", b"/")) & mask for text, mask in zip(_SHAPES, _SIGNS, strict=True)]


class Clients(NamedTuple):
    """Lines that tell of clients.

    Attributes:
        lines: their numbers, rising.
        addresses: as numbers; 0 where they are scrubbed.
        ports: as numbers.
        sayings: what each line says, as a place in `Shapes.sayings`.
    """

    lines: Places
    addresses: NDArray[np.uint32]
    ports: NDArray[np.uint32]
    sayings: NDArray[np.int32]

    def chosen(self, which: Flags | Places | slice) -> Clients:
        """Give some of them."""
        return Clients(self.lines[which], self.addresses[which], self.ports[which], self.sayings[which])


NOBODY = Clients(np.zeros(0, np.intp), np.zeros(0, np.uint32), np.zeros(0, np.uint32), np.zeros(0, np.int32))


class LineUp:
    """The lines of one piece.

    Args:
        piece: where they are.
        shapes: what is known of lines; more is learnt if that helps.

    Attributes:
        times: of the lines that have been read; `NEVER` for all others.
        is_read: which ones have been read.
        clients: those of them that tell of clients.
    """

    def __init__(self, piece: Piece, shapes: Shapes) -> None:
        self._piece = piece
        self._memory = np.frombuffer(piece.memory, np.uint8)
        self._stops: Places = np.flatnonzero(self._memory[piece.begin : piece.end] == _NEWLINE) + piece.begin
        self._begins: Places = np.concatenate((np.full(1, piece.begin, np.intp), self._stops[:-1] + 1))
        self._shapes = shapes
        self.times, self._prefixes = self._read_times()
        self.is_read = np.zeros(len(self), np.bool_)
        found: list[Clients] = []
        for _ in range(_ROUNDS):
            left = np.flatnonzero(~self.is_read & (self.times != NEVER))
            for head, rests in shapes.heads.items():
                found.append(self._read_shape(head, rests, left))
                left = left[~self.is_read[left]]
            if len(left) <= max(_ENOUGH * len(self), 2) or not shapes.learn(self._examples(left)):
                break
        self.times[~self.is_read] = NEVER
        self.clients = _in_order(found)

    def __len__(self) -> int:
        """Give the number of lines."""
        return len(self._stops)

    def text(self, number: int) -> bytes:
        """Give a line, without its newline."""
        return bytes(self._piece.memory[self._begins[number] : self._stops[number]])

    def _examples(self, left: Places) -> list[bytes]:
        """Give some lines from all over the piece, in pairs, so that what is there often is there twice."""
        step = max(1, len(left) // _SAMPLE)
        return [
            self.text(number) for number in left[::step].tolist() if self._stops[number] - self._begins[number] < 500
        ]

    def _read_times(self) -> tuple[NDArray[np.int64], dict[Prefix, Flags]]:
        """Read the times of all lines; tell which lines have them written in which way."""
        words = self._cut(self._begins, 24).view("<u8").reshape(-1, 3)
        columns = [np.ascontiguousarray(words[:, number]) for number in range(3)]
        digits = [
            (column ^ np.uint64(0x3030303030303030)) & mask for column, mask in zip(columns, _DIGITS, strict=True)
        ]
        is_good = np.ones(len(words), np.bool_)
        for column in digits:
            is_good &= (column | (column + np.uint64(0x0606060606060606))) & np.uint64(0xF0F0F0F0F0F0F0F0) == 0
        signs = [column & mask for column, mask in zip(columns, _SIGNS, strict=True)]
        is_dashed, is_slashed = (
            is_good & (signs[0] == sign[0]) & (signs[1] == sign[1]) & (signs[2] == sign[2])
            for sign in (_DASHES, _SLASHES)
        )
        hours, minutes, seconds = _pair(digits[1], 3), _pair(digits[1], 6), _pair(digits[2], 1)
        is_time = (hours < 24) & (minutes < 60) & (seconds < 60)
        times = hours * 3600 + minutes * 60 + seconds
        times += self._days(columns, (is_dashed | is_slashed) & is_time) * DAY_SECONDS
        is_dated = times >= 0
        has_thousandths = (columns[2] >> np.uint64(24)) & np.uint64(0xFF) == ord(",")
        thousandths = (columns[2] >> np.uint64(32) & np.uint64(0x00FFFFFF)) ^ np.uint64(0x00303030)
        has_thousandths &= (thousandths | (thousandths + np.uint64(0x00060606))) & np.uint64(0x00F0F0F0) == 0
        times[~is_dated] = NEVER
        return times, {
            Prefix.C: is_dashed & ~has_thousandths,
            Prefix.PYTHON: is_dashed & has_thousandths,
            Prefix.GO: is_slashed,
        }

    def _days(self, columns: list[Words], is_good: Flags) -> NDArray[np.int64]:
        """Give the days of all lines since 1970; far below 0 where there is none."""
        days = np.full(len(self), -(1 << 40), np.int64)
        good = np.flatnonzero(is_good)
        if not len(good):
            return days
        first, second = columns[0][good], columns[1][good] & np.uint64(0xFFFF)
        changes = np.flatnonzero((first[1:] != first[:-1]) | (second[1:] != second[:-1])) + 1
        begins = [0, *changes.tolist()]
        numbers = [day_number(self.text(int(good[begin]))[:10]) for begin in begins]
        each = np.array([-(1 << 40) if number is None else number for number in numbers], np.int64)
        days[good] = np.repeat(each, np.diff([*begins, len(good)]))
        return days

    def _read_shape(self, head: Head, rests: dict[Rest, int], left: Places) -> Clients:
        """Read those of the lines that are left which begin in one way and end in a known one."""
        lines = left[self._prefixes[head.prefix][left]]
        places = self._begins[lines] + head.prefix.length
        fits = self._is_there(head.text, places)
        if head.place == Place.ANYTHING:
            fits &= self._stops[lines] - self._begins[lines] <= LONGEST_LINE
            self.is_read[lines[fits]] = True
            return NOBODY
        if head.place == Place.NOTHING:
            lines, places = lines[fits], places[fits] + len(head.text)
            addresses, ports = np.zeros((2, len(lines)), np.uint32)
            is_good = np.ones(len(lines), np.bool_)
        else:
            # The cheapest look at what follows: most lines that begin alike and go on otherwise are out by it.
            fits &= self._memory[places + len(head.text)] - np.uint8(ord("0")) <= 9
            lines, places = lines[fits], places[fits] + len(head.text)
            is_good, addresses, ports, lengths = read_endpoints(
                self._memory, places, is_port_only=head.place == Place.PORT
            )
            places = places + lengths
            # A line that ends within the address has its rest before it.
            is_good &= places <= self._stops[lines]
        sayings = self._ask(rests, places, self._stops[lines] - places, addresses, is_good)
        self.is_read[lines[sayings >= 0]] = True
        tells = np.flatnonzero((sayings >= 0) & (self._shapes.kinds()[sayings] != Kind.OTHER))
        return Clients(lines, addresses, ports, sayings).chosen(tells)

    def _ask(
        self, rests: dict[Rest, int], places: Places, sizes: Places, addresses: NDArray[np.uint32], is_good: Flags
    ) -> NDArray[np.int32]:
        """Give what lines say by how they end; -1 where that is not known.

        Args:
            rests: what is known.
            places: where each line's rest begins.
            sizes: how long each rest is.
            addresses: what stands before it.
            is_good: whether that could be read.
        """
        sayings = np.full(len(places), -1, np.int32)
        is_machine = addresses >> np.uint32(24) == LOOPBACK
        for rest, saying in rests.items():
            same = np.flatnonzero(is_good & (sizes == len(rest.text)) & (is_machine == rest.is_machine))
            sayings[same[self._is_there(rest.text, places[same])]] = saying
        return sayings

    def _is_there(self, text: bytes, places: Places) -> Flags:
        """Tell at which places a text stands."""
        is_there = np.ones(len(places), np.bool_)
        if not text or not len(places):
            return is_there
        size = -(-len(text) // 8) * 8
        columns = self._cut(places, size).view("<u8").reshape(len(places), -1)
        for number in range(size // 8):
            part = text[8 * number : 8 * number + 8]
            mask = np.uint64(2 ** (8 * len(part)) - 1)
            is_there &= columns[:, number] & mask == _word(part)
        return is_there

    def _cut(self, places: Places, size: int) -> NDArray[np.void]:
        """Take so many bytes from each of these places on."""
        windows = np.ndarray(len(self._memory) - size + 1, np.dtype((np.void, size)), self._memory, strides=(1,))
        return windows[places]


def _pair(digits: Words, place: int) -> NDArray[np.int64]:
    """Give the number that two digits of a word are."""
    tens, ones = (digits >> np.uint64(8 * byte) & np.uint64(15) for byte in (place, place + 1))
    return (tens * np.uint64(10) + ones).view(np.int64)


def _in_order(found: list[Clients]) -> Clients:
    """Put lines of several shapes in order."""
    together = Clients(*(np.concatenate(columns) for columns in zip(NOBODY, *found, strict=True)))
    return together.chosen(np.argsort(together.lines, kind="stable"))
