"""Counting lines as they come: an interval's numbers, and of its clients no more than it takes to tell them apart.

An Aggregate takes the place of the journal where nothing about a client is to be written. What the journal would append
it counts, batch by batch, in the same order and at the same moments; and what the journal has written is counted by an
Aggregate, too (bridge/own_log.py). So the numbers are the same.

- Of a client it keeps what the log would: the keyed hash, and which transports it came by; in pages of their own
  (pages.py), which are overwritten with zeros when the interval is published, or the program ends.
- It is bounded: beyond MOST_ENTRIES, which is half a million clients with a transport each, those who are new are not
  told apart from those who came before, and `overflowed` says so. Connections are counted all the same.
- A program that ends takes the running interval with it, as tor does.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from obfstats.formats.counts import Counts, Pairs
from obfstats.record.pages import Pages

if TYPE_CHECKING:
    from mmap import mmap

MOST_ENTRIES = 1_000_000
"""Of one interval: a client takes one, and one more for each transport it came by. They take 50 MB."""

_DIGEST = slice(3, 43)
_FURTHER = slice(44, None)
_FIRST_SIZE = 1 << 14
# 20 bytes of digest, two for the transport's number, one that says the slot is taken, one to fill up.
_SLOT = 24
_TAKEN = b"\1\0"
_ADDRESS = 0
# A transport program may make names up: further ones count as unnamed.
_MOST_TRANSPORTS = 1000
_UNNAMED = "<??>"
_FAMILIES = frozenset({"v4", "v6"})


class Aggregate:
    """Counts what a journal would write.

    Attributes:
        held: lines that wait for a disk: none ever does.
        dropped: lines that were lost: none ever is.
        overflowed: whether an interval had more clients than are told apart.
        locked: whether the kernel agreed to keep everything so far out of swap.
    """

    def __init__(self, most: int | None = MOST_ENTRIES) -> None:
        """Begin with nothing.

        Args:
            most: clients, and pairs of client and transport, that are remembered in an interval; None for all.
        """
        self.held = self.dropped = 0
        self.overflowed, self.locked = False, True
        self._most = most
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
        self.overflowed = self.overflowed or interval.clients.is_full
        self.locked = self.locked and interval.clients.is_locked

    def requests(self, start: str) -> int:
        """Give the number of an interval's lines so far."""
        interval = self._intervals.get(start)
        return 0 if interval is None else interval.requests.total()

    def counts(self, start: str) -> Counts:
        """Give an interval's numbers so far."""
        interval = self._intervals.get(start)
        return Counts(start, {}, {}, {}, Pairs({}, {}, {}), {}, {}, {}) if interval is None else interval.counts(start)

    def forget(self, start: str) -> None:
        """Wipe an interval, if there is one that began then."""
        interval = self._intervals.pop(start, None)
        if interval is not None:
            interval.clients.forget()

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


class _Interval:
    """What is counted of one interval.

    Attributes:
        clients: who came, as hashes.
        requests: lines by country.
    """

    def __init__(self, most: int | None) -> None:
        self.clients = _Clients(most)
        self._names_transports = self._names_families = True
        self.requests, self._addresses = Counter[str](), Counter[str]()
        self._families, self._transports = Counter[str](), Counter[str]()
        self._by_country, self._pairs_by_family = Counter[tuple[str, str]](), Counter[str]()
        self._numbers = {_UNNAMED: 1}

    def count(self, message: str) -> None:
        """Count one line, without its label."""
        country, digest = message[:2], bytes.fromhex(message[_DIGEST])
        transport, _, family = message[_FURTHER].partition(" ")
        if not family:
            if transport in _FAMILIES:
                transport, family = "", transport
            self._names_transports = self._names_transports and bool(transport)
            self._names_families = self._names_families and bool(family)
        self.requests[country] += 1
        if self.clients.add(digest, _ADDRESS):
            self._addresses[country] += 1
            self._families[family] += 1
        if not transport:
            return
        if transport not in self._numbers:
            if len(self._numbers) < _MOST_TRANSPORTS:
                self._numbers[transport] = len(self._numbers) + 1
            else:
                transport = _UNNAMED
        if self.clients.add(digest, self._numbers[transport]):
            self._transports[transport] += 1
            self._by_country[country, transport] += 1
            self._pairs_by_family[family] += 1

    def counts(self, start: str) -> Counts:
        """Give the numbers; what depends on a column that a line lacked is None."""
        pairs, pairs_by_family = self._addresses, self._families
        if self._names_transports:
            pairs, pairs_by_family = Counter[str](), self._pairs_by_family
            for (country, _), number in self._by_country.items():
                pairs[country] += number
        transports = dict(self._transports) if self._names_transports else None
        return Counts(
            start=start,
            requests=dict(self.requests),
            lines=dict(pairs),
            addresses=dict(self._addresses),
            pairs=Pairs(dict(pairs), dict(pairs_by_family) if self._names_families else None, transports),
            families=dict(self._families) if self._names_families else None,
            transports=transports,
            country_transports=dict(self._by_country) if self._names_transports else None,
        )


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

    def add(self, digest: bytes, number: int) -> bool:
        """Take somebody in; False where they are in it already, or where it is full."""
        key = digest + number.to_bytes(2, "big") + _TAKEN
        place = 0
        for block in self._blocks:
            place = _find(block.memory, key)
            if block.memory[place + _SLOT - 2]:
                return False
        if self._most is not None and self._count >= self._most:
            self.is_full = True
            return False
        if not self._room:
            size = 2 * len(self._blocks[-1].memory)
            self._blocks.append(Pages(size))
            self._room = size // _SLOT // 2
            place = _find(self._blocks[-1].memory, key)
        self._blocks[-1].memory[place : place + _SLOT] = key
        self._room -= 1
        self._count += 1
        return True

    def forget(self) -> None:
        """Overwrite everything with zeros. Nothing may be asked of it afterwards."""
        for block in self._blocks:
            block.forget()


def _find(block: mmap, key: bytes) -> int:
    """Give the place of the key, or the free one where it belongs."""
    size = len(block)
    place = int.from_bytes(key[:8], "big") % (size // _SLOT) * _SLOT
    while block[place + _SLOT - 2] and block[place : place + _SLOT] != key:
        place = (place + _SLOT) % size
    return place
