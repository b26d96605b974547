"""Write what a log says as tor writes its own bridge statistics (dir-spec, bridge-stats-end and what follows it).

    bridge-stats-end 2026-11-23 12:22:27 (86400 s)
    bridge-ips ??=8,tr=8,us=8
    bridge-ip-versions v4=16,v6=8
    bridge-ip-transports <??>=8,<OR>=8,obfs3=8

So both can be put side by side (ticket 5047: equivalent, or at least easily comparable). As with tor:

- A client is an address and a transport: an address that came through two counts twice, in every line. Where the log
  does not name transports, a client is an address.
- Numbers are rounded up to a multiple of 8. Countries are sorted by what is left then, so that their order tells
  nothing of what was rounded away; transports are sorted by name.

Whatever lacks a column in one line of an interval lacks it in the whole: what counts a part must not look like a whole.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from obfstats.publish.simple import round_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from obfstats.publish.simple import Row

_INTERVAL = timedelta(hours=24)
_FAMILIES = (b"v4", b"v6")
_HASH_SIZE = 20


class _Columns(NamedTuple):
    """What a line says beside address and country; None where it does not."""

    transport: bytes | None
    family: bytes | None


def write_statistics(table: Mapping[bytes, Row], out: BinaryIO) -> None:
    """Write the lines of each interval, in order.

    An interval that would end after the year 9999 has no such lines and is left out.

    Args:
        table: what is known about each interval and country, by how its lines begin.
        out: takes the lines.
    """
    for start, begins in groupby(sorted(table), key=lambda begin: begin[:19].decode()):
        try:
            end = datetime.fromisoformat(start) + _INTERVAL
        except OverflowError:
            continue
        out.write(f"bridge-stats-end {end} ({_INTERVAL.total_seconds():.0f} s)\n".encode())
        out.writelines(_lines({begin[20:22]: table[begin].clients for begin in begins}))
    out.flush()


def _lines(clients: Mapping[bytes, set[bytes]]) -> Iterator[bytes]:
    """Give the lines of one interval, from the clients of each country."""
    countries, transports, families = Counter[bytes](), Counter[bytes](), Counter[bytes]()
    for (country, columns), number in _count(clients).items():
        countries[country] += number
        if columns.transport is not None:
            transports[columns.transport] += number
        if columns.family is not None:
            families[columns.family] += number
    by_size = sorted(countries, key=lambda country: (-round_up(countries[country]), country))
    yield b"bridge-ips %s\n" % _cells(countries, by_size)
    if families:
        yield b"bridge-ip-versions %s\n" % _cells(families, _FAMILIES)
    if transports:
        yield b"bridge-ip-transports %s\n" % _cells(transports, sorted(transports))


def _cells(numbers: Mapping[bytes, int], order: Iterable[bytes]) -> bytes:
    """Write numbers, rounded up, in a given order."""
    return b",".join(b"%s=%d" % (name, round_up(numbers[name])) for name in order)


def _count(clients: Mapping[bytes, set[bytes]]) -> Counter[tuple[bytes, _Columns]]:
    """Count the clients of an interval by country and by the columns that all of its lines have."""
    read = {
        end: _read(end) for of_country in clients.values() for end in {client[_HASH_SIZE:] for client in of_country}
    }
    with_transport = all(columns.transport is not None for columns in read.values())
    with_family = all(columns.family is not None for columns in read.values())
    kept = {
        end: _Columns(columns.transport if with_transport else None, columns.family if with_family else None)
        for end, columns in read.items()
    }
    numbers = Counter[tuple[bytes, _Columns]]()
    for country, of_country in clients.items():
        # Without a column two of them may be one.
        different = {(client[:_HASH_SIZE], kept[client[_HASH_SIZE:]]) for client in of_country}
        numbers.update((country, columns) for _, columns in different)
    return numbers


def _read(end: bytes) -> _Columns:
    """Read what stands behind the hash."""
    words = end.split()
    family = words.pop() if words and words[-1] in _FAMILIES else None
    return _Columns(words[0] if words else None, family)
