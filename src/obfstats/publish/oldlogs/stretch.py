"""A stretch of many lines within one interval, counted at once.

Each address is hashed once, however often it is there. What may be taken back is handed on in the lines' order: the
last connections, and those whose address and port are among what failed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from obfstats.formats.oldlog import Connection, Event, Failed
from obfstats.publish.oldlogs.clients import SCRUBBED
from obfstats.publish.oldlogs.failing import REMEMBERED
from obfstats.publish.oldlogs.shapes import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from obfstats.publish.oldlogs.counting import Counting
    from obfstats.publish.oldlogs.failing import Failing
    from obfstats.publish.oldlogs.lineup import Clients
    from obfstats.publish.oldlogs.shapes import Saying

    Keys = NDArray[np.int64]
    Places = NDArray[np.intp]

_FEW = 32
"""So many lines are counted one by one: putting them side by side would cost more."""

_SCRUBBED_KEY = 1 << 48
_NO_PORT = 1 << 16


class Other(NamedTuple):
    """A line that was read by itself.

    Attributes:
        line: its number.
        seconds: what the clock showed.
        event: what happened.
    """

    line: int
    seconds: int
    event: Event


class Stretch(NamedTuple):
    """What happened in a stretch of lines.

    Attributes:
        connections: who came.
        failed: who failed.
        others: what else there was, in the lines' order.
        sayings: what connections and failures say.
    """

    connections: Clients
    failed: Clients
    others: list[Other]
    sayings: Sequence[Saying]


class _Step(NamedTuple):
    """What happens in a line; one of the last two.

    Attributes:
        line: its number.
        before: how many connections are before it in the stretch.
        event: what happens, if it is no connection that has been counted.
        connection: its place in the stretch's connections.
    """

    line: int
    before: int
    seconds: int
    event: Event | None
    connection: int = -1


def event_of(clients: Clients, place: int, sayings: Sequence[Saying]) -> Connection | Failed:
    """Give what a line says as it is said when it is read by itself.

    Args:
        clients: several lines.
        place: which of them.
        sayings: what they say.
    """
    saying = sayings[clients.sayings[place]]
    port: int | None = int(clients.ports[place])
    address: bytes | None = int(clients.addresses[place]).to_bytes(4, "big")
    if saying.is_scrubbed:
        address, port = None, port if saying.has_port else None
    if saying.kind == Kind.FAILED:
        return Failed(address, port)
    return Connection(address, port, saying.transport, saying.destination)


def count_stretch(counting: Counting, stretch: Stretch) -> None:
    """Count a stretch.

    Args:
        counting: counts it; an interval is running, and all of the stretch lies in it.
        stretch: what happened.
    """
    if len(stretch.connections.lines) + len(stretch.failed.lines) <= _FEW:
        _count_few(counting, stretch)
    else:
        _count_many(counting, stretch)


def _count_few(counting: Counting, stretch: Stretch) -> None:
    """Count line by line."""
    events = [(other.line, other.seconds, other.event) for other in stretch.others]
    for clients in (stretch.connections, stretch.failed):
        events += [
            (line, counting.latest, event_of(clients, place, stretch.sayings))
            for place, line in enumerate(clients.lines.tolist())
        ]
    for _, seconds, event in sorted(events, key=lambda one: one[0]):
        if isinstance(event, Connection):
            counting.connect(event)
        else:
            counting.take_aside(seconds, event)


def _count_many(counting: Counting, stretch: Stretch) -> None:
    """Count the connections at once, and then go through what may be taken back."""
    numbers = _come(counting, stretch)
    connections, failing = stretch.connections, counting.failing
    base, count = failing.place, len(connections.lines)
    add = _Adding(failing, stretch, numbers)
    others = [other for other in stretch.others if isinstance(other.event, Connection | Failed)]
    for other in stretch.others:
        if not isinstance(other.event, Connection | Failed):
            counting.take_aside(other.seconds, other.event)
    if not others and not len(stretch.failed.lines):
        failing.place = base + count
        failing.add_later(partial(add.last, failing.place))
        return
    for step in _steps(stretch._replace(others=others)):
        failing.place = base + step.before
        if isinstance(step.event, Connection):
            counting.connect(step.event)
            count += 1
        elif step.event is not None:
            counting.take_aside(step.seconds, step.event)
        else:
            add(step.connection)
    failing.place = base + count


class _Adding:
    """Hands connections of a stretch on to where they may be taken back."""

    def __init__(self, failing: Failing, stretch: Stretch, numbers: Places) -> None:
        self._failing = failing
        self._numbers = numbers
        self._ports = stretch.connections.ports
        self._which = stretch.connections.sayings
        self._sayings = stretch.sayings

    def __call__(self, place: int) -> None:
        """Hand one on."""
        saying = self._sayings[self._which[place]]
        port = int(self._ports[place]) if saying.has_port else None
        self._failing.add((int(self._numbers[place]), port), saying.transport, saying.destination)

    def last(self, end: int) -> None:
        """Hand the last ones on.

        Args:
            end: the place behind the last of all.
        """
        size = len(self._numbers)
        begin = max(0, size - REMEMBERED)
        self._failing.place = end - (size - begin)
        for place in range(begin, size):
            self(place)


def _come(counting: Counting, stretch: Stretch) -> Places:
    """Count those who came; give the numbers that stand for their addresses."""
    connections, sayings = stretch.connections, stretch.sayings
    is_known = ~np.array([saying.is_scrubbed for saying in sayings], np.bool_)[connections.sayings]
    different, places = np.unique(connections.addresses[is_known], return_inverse=True)
    packed = different.astype(">u4").tobytes()
    numbers = counting.clients.numbers(packed[begin : begin + 4] for begin in range(0, len(packed), 4))
    numbers.append(SCRUBBED)
    slots = np.full(len(is_known), len(different))
    slots[is_known] = places
    transports = [saying.transport for saying in sayings]
    for transport in {transports[saying] for saying in np.unique(connections.sayings).tolist()}:
        is_its = np.array([name == transport for name in transports], np.bool_)[connections.sayings]
        times = np.bincount(slots[is_its], minlength=len(numbers)).tolist()
        counting.clients.come_many(zip(numbers, times, strict=True), transport)
    counting.count(len(slots))
    of_slots: Places = np.array(numbers)[slots]
    return of_slots


def _steps(stretch: Stretch) -> Iterator[_Step]:
    """Give what has to be done in the lines' order."""
    connections, failed = stretch.connections, stretch.failed
    others = np.array([one.line for one in stretch.others if isinstance(one.event, Connection)], np.intp)
    is_wanted = np.zeros(len(connections.lines), np.bool_)
    is_wanted[-REMEMBERED:] = True
    keys = [_key(one.event) for one in stretch.others if isinstance(one.event, Failed)]
    if len(failed.lines) or keys:
        every = np.concatenate((_keys(failed, stretch.sayings), np.array(keys, np.int64)))
        is_wanted |= np.isin(_keys(connections, stretch.sayings), every)
    wanted = np.flatnonzero(is_wanted)
    lines = connections.lines[wanted]
    before = wanted + np.searchsorted(others, lines)
    steps = [
        _Step(line, count, 0, None, place)
        for line, count, place in zip(lines.tolist(), before.tolist(), wanted.tolist(), strict=True)
    ]
    events = [(one.line, one.seconds, one.event) for one in stretch.others]
    events += [(line, 0, event_of(failed, place, stretch.sayings)) for place, line in enumerate(failed.lines.tolist())]
    lines = np.array([line for line, _, _ in events], np.intp)
    before = np.searchsorted(connections.lines, lines) + np.searchsorted(others, lines)
    steps += [
        _Step(line, count, seconds, event)
        for (line, seconds, event), count in zip(events, before.tolist(), strict=True)
    ]
    return iter(sorted(steps, key=lambda step: step.line))


def _keys(clients: Clients, sayings: Sequence[Saying]) -> Keys:
    """Give a number for each address with its port; the same for the same."""
    keys = clients.addresses.astype(np.int64) << 16 | clients.ports
    for number, saying in enumerate(sayings):
        if saying.is_scrubbed:
            keys[clients.sayings == number] |= _SCRUBBED_KEY
            if not saying.has_port:
                keys[clients.sayings == number] = _SCRUBBED_KEY | _NO_PORT
    return keys


def _key(failed: Failed) -> int:
    """Give the same number for what a single line says; -1 where it can be no such address."""
    if failed.address is None:
        return _SCRUBBED_KEY | (_NO_PORT if failed.port is None else failed.port)
    if len(failed.address) != 4 or failed.port is None:
        return -1
    return int.from_bytes(failed.address, "big") << 16 | failed.port
