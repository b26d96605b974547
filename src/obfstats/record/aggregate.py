"""Counting lines as they come: an interval's numbers, and of its clients no more than it takes to tell them apart.

An Aggregate takes the place of the journal where nothing about a client is to be written. What the journal would append
it counts, batch by batch, in the same order and at the same moments; and what the journal has written is counted by an
Aggregate, too (bridge/sources.py). So the numbers are the same.

- Of a client it keeps what the log would: the keyed hash, and which transports it came by; in pages of their own
  (pages.py), which are overwritten with zeros when the interval is published, or the program ends.
- It is bounded: beyond MOST_CLIENTS those who are new are not
  told apart from those who came before, and the operator is warned. Connections are counted all the same.
- A program that ends takes the running interval with it, as tor does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from obfstats.formats.counts import ClientCounter, Counts
from obfstats.formats.interval import Interval
from obfstats.formats.logline import Columns, parse_columns
from obfstats.record.pages import Pages

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from mmap import mmap

MOST_CLIENTS = 1_000_000
"""Of one interval. They take 50 MB."""

_DIGEST = slice(3, 43)
_SUFFIX = slice(43, None)
_FIRST_SIZE = 1 << 14
# 20 bytes of digest and the number of the client's class; nought where nobody is.
_DIGEST_SIZE = 20
_SLOT = 24
_FREE = bytes(_SLOT - _DIGEST_SIZE)
# A transport program may make names up: further ones count as unnamed.
_MOST_TRANSPORTS = 999
_UNNAMED = "<??>"


class Aggregate:
    """Counts what a journal would write.

    Attributes:
        held: lines that wait for a disk: none ever does.
        dropped: lines that were lost: none ever is.
    """

    def __init__(self, most: int | None = MOST_CLIENTS, *, warn: Callable[[str], None] | None = None) -> None:
        """Begin with nothing.

        Args:
            most: clients that are remembered in an interval; None for all.
            warn: takes one sentence for each limit that is met.
        """
        self.held = self.dropped = 0
        self._most = most
        self._warn = warn
        self._warned: set[str] = set()
        self._intervals: dict[str, _Interval] = {}

    def append(self, start: str, messages: list[str], now: float) -> None:  # noqa: ARG002 - the journal's shape
        """Count a batch.

        Args:
            start: what each of its lines would begin with: the interval's start and a blank.
            messages: the rest of each line.
            now: boot time.
        """
        interval = self._intervals.get(start.rstrip())
        if interval is None:
            interval = self._intervals[start.rstrip()] = _Interval(self._most)
        for message in messages:
            interval.count(message)
        if interval.clients.is_full:
            self._warn_once(
                "more clients came in one interval than are told apart: of further ones only connections are counted"
            )
        if not interval.clients.is_locked:
            self._warn_once("the kernel does not lock memory (ulimit -l): hashes could reach a swap file")

    def requests(self, start: str) -> int:
        """Give the number of an interval's lines so far."""
        interval = self._intervals.get(start)
        return 0 if interval is None else interval.requests

    def counts(self, start: str) -> Counts:
        """Give an interval's numbers so far."""
        interval = self._intervals.get(start)
        value = Interval.parse(start)
        return Counts(value, {}, {}) if interval is None else interval.counts(value)

    def forget(self, start: str) -> None:
        """Wipe an interval, if there is one that began then."""
        interval = self._intervals.pop(start, None)
        if interval is not None:
            interval.clients.forget()

    def forget_all_but(self, starts: Collection[str]) -> None:
        """Wipe every interval but those that began then."""
        for start in set(self._intervals) - set(starts):
            self.forget(start)

    def close(self) -> None:
        """Wipe every interval. May be called twice."""
        for start in list(self._intervals):
            self.forget(start)

    def retry(self, now: float) -> None:
        """Have nothing to write."""

    def reopen(self, now: float) -> None:
        """Have no file to follow."""

    def touch(self) -> None:
        """Have no file whose time could tell of a client."""

    def _warn_once(self, sentence: str) -> None:
        if self._warn is not None and sentence not in self._warned:
            self._warned.add(sentence)
            self._warn(sentence)


class _Interval:
    """What is counted of one interval.

    Attributes:
        clients: who came, as hashes.
        requests: how many lines.
    """

    def __init__(self, most: int | None) -> None:
        self.clients = _Clients(most)
        self.requests = 0
        self._counter = ClientCounter(self.clients)
        self._transports: set[str] = set()

    def count(self, message: str) -> None:
        """Count one line, without its label."""
        country, digest = message[:2], bytes.fromhex(message[_DIGEST])
        columns = parse_columns(message[_SUFFIX].encode("ascii"))
        self.requests += 1
        self._counter.count_request(country)
        if columns.transport is not None and columns.transport not in self._transports:
            if len(self._transports) < _MOST_TRANSPORTS:
                self._transports.add(columns.transport)
            else:
                columns = Columns(_UNNAMED, columns.family)
        try:
            self._counter.count_client(digest, country, columns)
        except OverflowError:
            self.clients.is_full = True

    def counts(self, interval: Interval) -> Counts:
        """Give the numbers."""
        return self._counter.counts(interval)


class _Clients:
    """A set of (digest, number) in blocks of memory, so that it can be wiped.

    Each block is twice as large as the one before it and takes what comes when that is half full. Nothing moves when
    there is need for more: nobody waits for it, and nothing of it is ever twice in memory.

    Attributes:
        is_full: whether somebody has been turned away.
    """

    def __init__(self, most: int | None) -> None:
        self.is_full = False
        self._most = most
        self._count = 0
        self._blocks = [Pages(_FIRST_SIZE * _SLOT)]
        self._room = _FIRST_SIZE // 2

    @property
    def is_locked(self) -> bool:
        """Whether the kernel keeps it out of swap."""
        return all(block.locked for block in self._blocks)

    def get(self, digest: bytes, default: int) -> int:
        """Give a client's class number, or the default for a new client."""
        for block in self._blocks:
            place = _find(block.memory, digest)
            number = block.memory[place + _DIGEST_SIZE : place + _SLOT]
            if number != _FREE:
                return int.from_bytes(number, "big")
        return default

    def __setitem__(self, digest: bytes, number: int) -> None:
        """Set a client's class number."""
        entry = digest + number.to_bytes(_SLOT - _DIGEST_SIZE, "big")
        for block in self._blocks:
            place = _find(block.memory, digest)
            if block.memory[place + _DIGEST_SIZE : place + _SLOT] != _FREE:
                block.memory[place : place + _SLOT] = entry
                return
        if self._most is not None and self._count >= self._most:
            raise OverflowError
        if not self._room:
            size = 2 * len(self._blocks[-1].memory)
            self._blocks.append(Pages(size))
            self._room = size // _SLOT // 2
            place = _find(self._blocks[-1].memory, digest)
        self._blocks[-1].memory[place : place + _SLOT] = entry
        self._room -= 1
        self._count += 1

    def forget(self) -> None:
        """Overwrite everything with zeros. Nothing may be asked of it afterwards."""
        for block in self._blocks:
            block.wipe()


def _find(block: mmap, digest: bytes) -> int:
    """Give the place of a client, or the free one where it belongs."""
    size = len(block)
    place = int.from_bytes(digest[:8], "big") % (size // _SLOT) * _SLOT
    while block[place + _DIGEST_SIZE : place + _SLOT] != _FREE and block[place : place + _DIGEST_SIZE] != digest:
        place = (place + _SLOT) % size
    return place
