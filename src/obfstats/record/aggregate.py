"""Counting lines in memory: an interval's numbers, and of its clients only what is needed to tell them apart.

An Aggregate replaces the journal where nothing about a client is to be written. It counts each line when the next one
arrives, and an interval's last line at a random moment (batches.py, with a capacity of 1). What the journal has written
is counted by an Aggregate too (bridge/interval_sources.py), so the numbers are the same.

- Of a client it keeps what the log would contain: the hash, and how the client connected, as the id of its class
  (formats/counts.py). They are in pages of their own (pages.py), which are overwritten with zeros when the interval is
  published, or the program ends.
- It is bounded: from MAX_CLIENTS clients of an interval on, new ones are not counted as addresses, and the operator is
  warned. Their connections are counted. A client more then displaces another, which may be of another country: noise on
  these numbers promises half as much (publish/noise.py).
- A program that ends loses the running interval, as tor does.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from obfstats.formats.counts import ClientClass, Counts
from obfstats.formats.logline import (
    ENTRY_COUNTRY,
    ENTRY_HASH,
    ENTRY_SUFFIX,
    UNNAMED_TRANSPORT,
    Columns,
    parse_columns,
)
from obfstats.record.pages import Pages

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from mmap import mmap

    from obfstats.formats.interval import Interval

MAX_CLIENTS = 1_000_000
"""Clients of one interval that are told apart; they take 50 MB."""

MAX_COLUMNS = 1_000_000
"""Most columns of all classes of a ClientCounter together, some 50 MB; a bridge with five transports has 40,000."""

_MAX_TRANSPORTS = 999

# A slot of the table: the hash and the id of the client's class, which is 0 in a free slot.
_HASH_SIZE, _SLOT_SIZE = 20, 24
_FREE = bytes(_SLOT_SIZE - _HASH_SIZE)
_FIRST_SLOTS = 1 << 14


class Aggregate:
    """Counts what a journal would write.

    Attributes:
        held: lines that wait to be counted: always 0.
    """

    def __init__(self, max_clients: int | None = MAX_CLIENTS, *, warn: Callable[[str], None] | None = None) -> None:
        """Start empty.

        Args:
            max_clients: clients of an interval that are told apart; None for all.
            warn: called once with a sentence for each limit that is reached.
        """
        self.held = 0
        self._max_clients = max_clients
        self._warn = warn
        self._warned: set[str] = set()
        self._intervals: dict[Interval, _AggregateInterval] = {}

    def append(self, interval: Interval, entries: list[str], now: float = 0.0) -> None:  # noqa: ARG002 - as Journal's
        """Count a batch.

        Args:
            interval: the interval of its lines.
            entries: its lines without their labels (formats/logline.py).
            now: boot time; not used.
        """
        counter = self._intervals.get(interval)
        if counter is None:
            counter = self._intervals[interval] = _AggregateInterval(self._max_clients)
        for entry in entries:
            counter.count(entry)
        if counter.is_full:
            self._warn_once(
                "an interval has more clients than can be told apart: of further ones only connections are counted"
            )
        if not counter.clients.is_locked:
            self._warn_once("the kernel does not lock memory (ulimit -l, madvise): hashes could reach a disk")

    @property
    def is_full(self) -> bool:
        """Whether numbers of clients are too low, because there were more than can be told apart."""
        return any(counter.is_full for counter in self._intervals.values())

    def connections(self, interval: Interval) -> int:
        """Give the number of an interval's lines so far."""
        counter = self._intervals.get(interval)
        return 0 if counter is None else counter.connections

    def counts(self, interval: Interval) -> Counts:
        """Give an interval's numbers so far."""
        counter = self._intervals.get(interval)
        return Counts(interval, {}, {}) if counter is None else counter.numbers.counts(interval)

    def wipe_interval(self, interval: Interval) -> None:
        """Wipe an interval, if it has been counted."""
        counter = self._intervals.pop(interval, None)
        if counter is not None:
            counter.clients.wipe()

    def wipe_all_but(self, intervals: Collection[Interval]) -> None:
        """Wipe all other intervals."""
        for interval in set(self._intervals) - set(intervals):
            self.wipe_interval(interval)

    def close(self) -> None:
        """Wipe every interval. May be called twice."""
        self.wipe_all_but(())

    def _warn_once(self, sentence: str) -> None:
        if self._warn is not None and sentence not in self._warned:
            self._warned.add(sentence)
            self._warn(sentence)


class _AggregateInterval:
    """Counts one interval.

    Attributes:
        clients: its clients, as hashes.
        numbers: its numbers.
        connections: lines so far.
        is_full: whether a client was not counted.
    """

    def __init__(self, max_clients: int | None) -> None:
        self.clients = ClientTable(max_clients)
        self.numbers = ClientCounter(self.clients)
        self.connections = 0
        self.is_full = False
        self._transports: set[str] = set()

    def count(self, entry: str) -> None:
        """Count one line."""
        country = entry[ENTRY_COUNTRY]
        columns = parse_columns(entry[ENTRY_SUFFIX].encode("ascii"))
        if columns.transport is not None and columns.transport not in self._transports:
            # A transport program may make names up: beyond the bound they count as unnamed.
            if len(self._transports) < _MAX_TRANSPORTS:
                self._transports.add(columns.transport)
            else:
                columns = Columns(UNNAMED_TRANSPORT, columns.family)
        self.connections += 1
        self.numbers.count_request(country)
        try:
            self.numbers.count_client(bytes.fromhex(entry[ENTRY_HASH]), country, columns)
        except OverflowError:
            self.is_full = True


class ClientCounter:
    """Counts one interval's clients, from their connections in any order.

    A client moves to another class when it connects with columns that it did not have before. Only the number of
    clients in each class and the class of each client are kept.
    """

    def __init__(self, clients: ClientTable) -> None:
        """Start with no client.

        Args:
            clients: remembers the class of each client; empty.
        """
        self._clients = clients
        self._requests = Counter[str]()
        # The first class is that of clients that have not connected.
        self._classes = [ClientClass("", frozenset())]
        self._columns = 0
        self._sizes = [0]
        self._moves: dict[tuple[int, str, Columns], int] = {}
        self._class_ids: dict[ClientClass, int] = {}

    def count_request(self, country: str) -> None:
        """Count a connection."""
        self._requests[country] += 1

    def count_client(self, hash_bytes: bytes, country: str, columns: Columns) -> None:
        """Count a client that may have been seen before.

        Args:
            hash_bytes: the client's hash.
            country: lower-case country code; the same whenever the hash is.
            columns: how it connected.

        Raises:
            OverflowError: where no new client, or no new class, can be remembered; the client stays as it was.
        """
        before = self._clients.get(hash_bytes, 0)
        if columns in self._classes[before].columns:
            return
        move = (before, country, columns)
        after = self._moves.get(move)
        if after is None:
            after = self._moves[move] = self._class_after(move)
        self._clients[hash_bytes] = after
        self._sizes[after] += 1
        self._sizes[before] -= 1

    def counts(self, interval: Interval) -> Counts:
        """Give the numbers so far."""
        classes = zip(self._classes[1:], self._sizes[1:], strict=True)
        return Counts(interval, dict(self._requests), {one: size for one, size in classes if size})

    def _class_after(self, move: tuple[int, str, Columns]) -> int:
        """Give the id of the class that a client moves to."""
        before, country, columns = move
        after = ClientClass(country, self._classes[before].columns | {columns})
        class_id = self._class_ids.get(after)
        if class_id is None:
            if self._columns + len(after.columns) > MAX_COLUMNS:
                raise OverflowError
            self._columns += len(after.columns)
            class_id = self._class_ids[after] = len(self._classes)
            self._classes.append(after)
            self._sizes.append(0)
        return class_id


class ClientTable:
    """A class id for each hash, in memory that can be wiped: a hash table with open addressing, in blocks.

    Each block is twice as large as the one before it and is added when that is half full. Nothing moves when the table
    grows: growing takes no time, and nothing is ever in memory twice.
    """

    def __init__(self, max_clients: int | None) -> None:
        self._max_clients = max_clients
        self._count = 0
        self._blocks = [Pages(_FIRST_SLOTS * _SLOT_SIZE)]
        self._free_slots = _FIRST_SLOTS // 2

    @property
    def is_locked(self) -> bool:
        """Whether the kernel keeps all of it out of swap."""
        return all(block.locked for block in self._blocks)

    def get(self, hash_bytes: bytes, default: int) -> int:
        """Give the id of a client's class, or the default for a new client."""
        found = self._find(hash_bytes)
        if found is None:
            return default
        block, offset = found
        return int.from_bytes(block[offset + _HASH_SIZE : offset + _SLOT_SIZE], "big")

    def __setitem__(self, hash_bytes: bytes, class_id: int) -> None:
        """Set the id of a client's class; raises OverflowError where a new client exceeds the bound."""
        found = self._find(hash_bytes)
        if found is None:
            found = self._add(hash_bytes)
        block, offset = found
        block[offset : offset + _SLOT_SIZE] = hash_bytes + class_id.to_bytes(_SLOT_SIZE - _HASH_SIZE, "big")

    def wipe(self) -> None:
        """Overwrite everything with zeros and unmap it. The table must not be used afterwards."""
        for block in self._blocks:
            block.wipe()

    def _find(self, hash_bytes: bytes) -> tuple[mmap, int] | None:
        """Give a client's slot: the block and the offset in it."""
        for pages in self._blocks:
            offset = _probe(pages.memory, hash_bytes)
            if pages.memory[offset + _HASH_SIZE : offset + _SLOT_SIZE] != _FREE:
                return pages.memory, offset
        return None

    def _add(self, hash_bytes: bytes) -> tuple[mmap, int]:
        """Give a free slot for a new client."""
        if self._max_clients is not None and self._count >= self._max_clients:
            raise OverflowError
        if not self._free_slots:
            size = 2 * len(self._blocks[-1].memory)
            self._blocks.append(Pages(size))
            self._free_slots = size // _SLOT_SIZE // 2
        self._count += 1
        self._free_slots -= 1
        block = self._blocks[-1].memory
        return block, _probe(block, hash_bytes)


def _probe(block: mmap, hash_bytes: bytes) -> int:
    """Give the offset of a client's slot in a block, or of the free slot where it belongs."""
    size = len(block)
    offset = int.from_bytes(hash_bytes[:8], "big") % (size // _SLOT_SIZE) * _SLOT_SIZE
    while (
        block[offset + _HASH_SIZE : offset + _SLOT_SIZE] != _FREE and block[offset : offset + _HASH_SIZE] != hash_bytes
    ):
        offset = (offset + _SLOT_SIZE) % size
    return offset
