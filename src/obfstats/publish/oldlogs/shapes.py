"""What lines look like that differ in nothing but time, address and port: learnt from examples, for columns.py.

    2012-03-06 07:22:39 [info] 192.0.2.7:42963 (obfs2): Successful outbound connection to '127.0.0.1:15901'.
    |                  |       |              |
    time               head    place          rest

What such a line says is asked once of formats/oldlog.py, which knows the grammar; from then on every line with the same
head and the same rest says the same, of the address and the port that stand in its place. So a shape is learnt only
where what was said is about just these:

- The place is the line's first address with a port in the way that all programs write it, or the port behind a scrubbed
  address, or nothing at all.
- Addresses of the machine itself have shapes of their own: to the grammar they are no client's.
- A few beginnings are known to say nothing, whatever stands behind them.
- Starts, stops, heartbeats and the like are rare, and have none.
"""

from __future__ import annotations

import re
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from obfstats.formats.oldlog import SILENT, Connection, Failed, read_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

LOOPBACK = 127
"""First byte of the machine's own addresses."""

LONGEST_HEAD = 64
LONGEST_REST = 96
_MOST_HEADS = 64
_MOST_RESTS = 64
_TIME_LENGTH = len("2012-03-06 07:22:39")

_OCTET = rb"(?:0|[1-9][0-9]{0,2})"
_PLACE = re.compile(
    rb"(?<![0-9.:])(?:(" + _OCTET + rb"(?:\." + _OCTET + rb"){3}):|(\[scrubbed\]:))(0|[1-9][0-9]{0,4})(?![0-9])"
)


class Prefix(Enum):
    """How a line's time is written, and so how much stands before the head."""

    C = (b"-", _TIME_LENGTH)
    PYTHON = (b"-", _TIME_LENGTH + len(",438"))
    GO = (b"/", _TIME_LENGTH)

    @property
    def length(self) -> int:
        """How many bytes it has."""
        return self.value[1]


class Place(IntEnum):
    """What stands between head and rest."""

    ENDPOINT = 0
    PORT = 1
    NOTHING = 2
    ANYTHING = 3


class Kind(IntEnum):
    """What a line says."""

    OTHER = 0
    CONNECTION = 1
    FAILED = 2


class Saying(NamedTuple):
    """What all lines of a shape say.

    Attributes:
        kind: of what.
        is_scrubbed: whether it is not known of whom.
        has_port: whether it names a port.
        transport: of a connection.
        destination: of a connection.
    """

    kind: Kind
    is_scrubbed: bool
    has_port: bool
    transport: str | None = None
    destination: bytes | None = None


_NOTHING_SAID = Saying(Kind.OTHER, is_scrubbed=False, has_port=False)


class Rest(NamedTuple):
    """How lines end.

    Attributes:
        text: what stands behind the place.
        is_machine: whether the address before it is one of the machine itself.
    """

    text: bytes
    is_machine: bool


class Head(NamedTuple):
    """How lines begin.

    Attributes:
        prefix: how the time is written.
        text: what stands behind it.
        place: what stands behind that.
    """

    prefix: Prefix
    text: bytes
    place: Place


class Shapes:
    """The shapes that have been learnt.

    Attributes:
        heads: for each way in which lines begin, what they say by how they end: places in `sayings`.
        sayings: what lines say.
    """

    def __init__(self) -> None:
        self.sayings = [_NOTHING_SAID]
        self.heads: dict[Head, dict[Rest, int]] = {
            Head(Prefix.C, text, Place.ANYTHING): {Rest(b"", is_machine=False): 0} for text in SILENT
        }

    def kinds(self) -> NDArray[np.int8]:
        """Give the kind of each of `sayings`."""
        return np.array([saying.kind for saying in self.sayings], np.int8)

    def learn(self, lines: Iterable[bytes]) -> bool:
        """Learn from lines; tell whether there was anything new in them.

        Args:
            lines: without their newlines. Only what is there twice is learnt.
        """
        seen = set()
        is_new = False
        for line in lines:
            parts = _take_apart(line)
            if parts is None:
                continue
            head, rest, _ = parts
            if (head, rest) not in seen:
                seen.add((head, rest))
            elif rest not in self.heads.get(head, ()):
                is_new |= self._learn(line, *parts)
        return is_new

    def _learn(self, line: bytes, head: Head, rest: Rest, client: _Client) -> bool:
        """Learn from one line."""
        saying = _ask(line, client)
        if saying is None or (head not in self.heads and len(self.heads) >= _MOST_HEADS):
            return False
        rests = self.heads.setdefault(head, {})
        if len(rests) >= _MOST_RESTS:
            return False
        rests[rest] = len(self.sayings)
        self.sayings.append(saying)
        return True


_Client = tuple[bytes | None, int | None]


def _take_apart(line: bytes) -> tuple[Head, Rest, _Client] | None:
    """Take a line apart: head, rest, and what is between them; None if it can be no example."""
    prefix = (
        Prefix.GO if line[4:5] == b"/" else Prefix.PYTHON if line[_TIME_LENGTH : _TIME_LENGTH + 1] == b"," else Prefix.C
    )
    text = line[prefix.length :]
    found = _PLACE.search(text)
    client: _Client
    is_machine = False
    if found is None:
        begin, place, client = min(len(text), LONGEST_HEAD), Place.NOTHING, (None, None)
        end = begin
    else:
        end, port = found.end(), int(found[3])
        if port > 0xFFFF:
            return None
        if found[2] is not None:
            begin, place, client = found.end(2), Place.PORT, (None, port)
        else:
            octets = [int(octet) for octet in found[1].split(b".")]
            if max(octets) > 255:
                return None
            is_machine = octets[0] == LOOPBACK
            begin, place, client = found.start(), Place.ENDPOINT, (bytes(octets), port)
    head, rest = text[:begin], text[end:]
    if len(head) > LONGEST_HEAD or len(rest) > LONGEST_REST:
        return None
    return Head(prefix, head, place), Rest(rest, is_machine), client


def _ask(line: bytes, client: _Client) -> Saying | None:
    """Ask the grammar what a line says; None where other lines of its shape may say something else."""
    seconds, event = read_line(line)
    if seconds is None:
        return None
    if event is None:
        return _NOTHING_SAID
    if not isinstance(event, Connection | Failed) or (event.address, event.port) != client:
        return None
    is_scrubbed, has_port = event.address is None, event.port is not None
    if isinstance(event, Failed):
        return Saying(Kind.FAILED, is_scrubbed, has_port)
    return Saying(Kind.CONNECTION, is_scrubbed, has_port, event.transport, event.destination)
