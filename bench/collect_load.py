"""Bridges that send their documents to a collector: requests made in advance, and connections that send them.

The load costs little beside the server: a request is one buffer, one thread serves all connections (epoll), and an
answer is read only as far as its status.
"""

from __future__ import annotations

import itertools
import re
import select
import socket
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from bench.report import BrokenError
from obfstats.collect.signing import SigningKey
from obfstats.collect.submission import DOCUMENTS_PATH, TRUSTED_COMMENT, SignedText, write_request
from obfstats.formats.document import Document, write_document
from obfstats.formats.interval import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PATIENCE = 60.0
"""Seconds without an answer after which a measurement is given up."""

COUNTRIES = [first + second for first in "BCDFGILMNPRSTU" for second in "AERU"][:20]
"""A document has so many countries; bridges have between one and some fifty."""

DAY = 86_400

_BUFFER = 1 << 16
_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n", re.IGNORECASE)
_END, _FINGERPRINT = "2000-01-01 00:00:00", "0" * 40


class Bridge(NamedTuple):
    """A bridge that sends documents.

    Attributes:
        fingerprint: its hashed fingerprint.
        key: what it signs with.
    """

    fingerprint: str
    key: SigningKey


class Served(NamedTuple):
    """How a load was served.

    Attributes:
        wall: seconds from the first request to the last answer.
        latencies: seconds from each request to its answer.
    """

    wall: float
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.wall

    def percentile(self, percent: int) -> float:
        """Give the latency that so many percent of the requests did not exceed, in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000


def make_bridges(count: int) -> list[Bridge]:
    """Make bridges with keys of their own."""
    return [
        Bridge(f"{number * 0x9E3779B97F4A7C15 % (1 << 160):040x}", SigningKey.generate())
        for number in range(1, count + 1)
    ]


def make_documents(bridges: Sequence[Bridge], now: int) -> Iterator[tuple[Bridge, bytes]]:
    """Give documents without end: one of each bridge, then another of each, all with intervals of their own.

    Args:
        bridges: whose.
        now: the time, in seconds since 1970; intervals end in the 20 days before it.
    """
    numbers = {code: 8 * (len(COUNTRIES) - rank) for rank, code in enumerate(COUNTRIES)}
    template = write_document(
        Document(
            _END,
            DAY,
            fingerprint=_FINGERPRINT,
            ips=numbers,
            requests={code: 2 * number for code, number in numbers.items()},
            ip_versions={"v4": sum(numbers.values()), "v6": 8},
            ip_transports={"obfs3": 8, "obfs4": sum(numbers.values())},
            ip_country_transports={(code, "obfs4"): number for code, number in numbers.items()},
            minor=0,
        )
    ).decode()
    for round_ in itertools.count():
        end = format_time(datetime.fromtimestamp(now - 3600 - round_ * 997 % (20 * DAY), UTC))
        dated = template.replace(_END, end)
        for bridge in bridges:
            yield bridge, dated.replace(_FINGERPRINT, bridge.fingerprint).encode()


def make_request(bridge: Bridge, documents: Iterable[bytes]) -> bytes:
    """Write a whole HTTP request that sends documents of one bridge."""
    body = write_request(
        bridge.key.public, [SignedText(text, bridge.key.sign(text, TRUSTED_COMMENT)) for text in documents]
    )
    head = (
        f"POST {DOCUMENTS_PATH} HTTP/1.1\r\nHost: collector\r\nUser-Agent: bench\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def send(address: tuple[str, int], requests: Sequence[bytes], connections: int, *, reconnect: bool = False) -> Served:
    """Send requests on several connections, on each as soon as the one before it is answered.

    Args:
        address: where the server listens.
        requests: what is sent.
        connections: how many are open at once.
        reconnect: whether each request has a connection of its own.

    Raises:
        BrokenError: if an answer has another status, or none comes.
    """
    waiting = deque(requests)
    latencies: list[float] = []
    open_: dict[int, tuple[socket.socket, float]] = {}
    with select.epoll() as poll:

        def connect() -> None:
            connection = socket.create_connection(address, PATIENCE)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            poll.register(connection, select.EPOLLIN)
            send_next(connection)

        def send_next(connection: socket.socket) -> None:
            open_[connection.fileno()] = connection, time.perf_counter()
            connection.sendall(waiting.popleft())

        begin = time.perf_counter()
        try:
            for _ in range(min(connections, len(requests))):
                connect()
            while len(latencies) < len(requests):
                events = poll.poll(PATIENCE)
                if not events:
                    raise BrokenError(f"no answer came for {PATIENCE:.0f} s")
                for number, _ in events:
                    connection, since = open_[number]
                    _read_answer(connection)
                    latencies.append(time.perf_counter() - since)
                    if reconnect or not waiting:
                        del open_[number]
                        connection.close()
                        if waiting:
                            connect()
                    else:
                        send_next(connection)
        finally:
            for connection, _ in open_.values():
                connection.close()
    return Served(time.perf_counter() - begin, latencies)


def _read_answer(connection: socket.socket) -> None:
    """Read one answer, which must be 201; what has begun to arrive is waited for."""
    answer, end, whole = b"", -1, 0
    while end < 0 or len(answer) < whole:
        more = connection.recv(_BUFFER)
        if not more:
            break
        answer += more
        if end < 0 and (end := answer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(answer, 0, end + 2)
            whole = end + 4 + int(length[1]) if length else 0
    if answer[9:12] != b"201" or len(answer) != whole:
        raise BrokenError(f"the server answered {answer[:1000]!r}")
