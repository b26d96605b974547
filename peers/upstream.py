"""Upstream proxies on loopback: SOCKS5 with passwords, SOCKS4a and HTTP CONNECT; they record their requests.

    with upstream.serve("socks5", {"bridge.example": server.address}) as proxy:
        proxy.uri("me", "secret")       socks5://me:secret@127.0.0.1:4711
        proxy.asked                     each request: destination and credentials

They use no resolver: a test sets the address of each name. Sources: RFC 1928, RFC 1929, the notes "SOCKS 4A: A Simple
Extension to SOCKS 4 Protocol", RFC 9110 (9.3.6), RFC 7617.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Literal

from obfstats.wire.endpoint import Endpoint, parse_endpoint
from peers import destinations
from peers.child import is_readable
from peers.socks import receive_exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Scheme = Literal["socks5", "socks4a", "http"]
SCHEMES: tuple[Scheme, ...] = ("socks5", "socks4a", "http")
"""The kinds of proxies there are."""

PAUSE = 0.2
"""Seconds between the pieces of an answer, unless the other end sends something before."""

_CHUNK = 1 << 16


class Manner(Enum):
    """How a proxy answers; the values describe it."""

    PLAIN = "as soon as it is connected"
    REFUSE = "no"
    REFUSE_FIRST = "no to the first request"
    IN_PIECES = "in two pieces"
    TOGETHER = "together with the first bytes of the destination"


@dataclass(frozen=True)
class Asked:
    """A client's request.

    Attributes:
        host: the destination: an address, or a name as it was sent.
        port: the port there.
        username: None if none was sent.
        password: None if none was sent.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass
class Upstream:
    """A running proxy.

    Attributes:
        scheme: its protocol.
        address: where it listens.
        asked: its requests, in order.
        manner: how it answers.
    """

    scheme: Scheme
    address: tuple[str, int] = ("", 0)
    asked: list[Asked] = field(default_factory=list)
    manner: Manner = Manner.PLAIN

    def uri(self, username: str | None = None, password: str | None = None) -> str:
        """Give its URI as in torrc; credentials are not escaped."""
        credentials = username or ""
        if password is not None:
            credentials += f":{password}"
        return f"{self.scheme}://{credentials}{'@' if credentials else ''}{Endpoint(*self.address)}"


@contextlib.contextmanager
def serve(
    scheme: Scheme,
    names: Mapping[str, tuple[str, int]] | None = None,
    *,
    host: str = "127.0.0.1",
) -> Iterator[Upstream]:
    """Run a proxy until the block ends.

    Args:
        scheme: which kind.
        names: the address of each name.
        host: where it listens, on loopback.
    """
    proxy = Upstream(scheme)
    read = {"socks5": _read_socks5, "socks4a": _read_socks4a, "http": _read_http}[scheme]

    def handle(connection: socket.socket) -> None:
        wanted = read(connection)
        proxy.asked.append(wanted)
        if proxy.manner is Manner.REFUSE or (proxy.manner is Manner.REFUSE_FIRST and len(proxy.asked) == 1):
            connection.sendall(_REFUSED[scheme])
            return
        place = (names or {}).get(wanted.host, (wanted.host, wanted.port))
        with socket.create_connection(place, destinations.TIMEOUT) as onward:
            _answer(connection, onward, _GRANTED[scheme], proxy.manner)
            _join(connection, onward)

    with destinations.serve(handle, host) as address:
        proxy.address = parse_endpoint(address)
        yield proxy


def _answer(connection: socket.socket, onward: socket.socket, granted: bytes, manner: Manner) -> None:
    if manner is Manner.IN_PIECES:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(granted[:-4])
        is_readable(connection, PAUSE)
        connection.sendall(granted[-4:])
    else:
        first = onward.recv(_CHUNK) if manner is Manner.TOGETHER else b""
        connection.sendall(granted + first)


def _join(one: socket.socket, other: socket.socket) -> None:
    """Forward both directions, until both have ended."""
    back = threading.Thread(target=_pump, args=(other, one), daemon=True)
    back.start()
    _pump(one, other)
    back.join(destinations.TIMEOUT)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _read_socks5(connection: socket.socket) -> Asked:
    """Use the password method if it is offered."""
    _version, count = receive_exactly(connection, 2)
    methods = receive_exactly(connection, count)
    username = password = None
    if 2 in methods:
        connection.sendall(b"\x05\x02")
        receive_exactly(connection, 1)
        username, password = (_counted(connection).decode() for _ in range(2))
        connection.sendall(b"\x01\x00")
    else:
        connection.sendall(b"\x05\x00")
    kind = receive_exactly(connection, 4)[3]
    readers: dict[int, Callable[[], str]] = {
        1: lambda: socket.inet_ntop(socket.AF_INET, receive_exactly(connection, 4)),
        3: lambda: _counted(connection).decode("ascii"),
        4: lambda: socket.inet_ntop(socket.AF_INET6, receive_exactly(connection, 16)),
    }
    host = readers[kind]()
    return Asked(host, int.from_bytes(receive_exactly(connection, 2), "big"), username, password)


def _read_socks4a(connection: socket.socket) -> Asked:
    """Addresses 0.0.0.x mean that a name follows."""
    head = receive_exactly(connection, 8)
    username = _until(connection, b"\0").decode() or None
    named = head[4:7] == bytes(3) and head[7] != 0
    host = _until(connection, b"\0").decode("ascii") if named else socket.inet_ntoa(head[4:])
    return Asked(host, int.from_bytes(head[2:4], "big"), username)


def _read_http(connection: socket.socket) -> Asked:
    """Read the request and its header."""
    request, *fields = _until(connection, b"\r\n\r\n").decode("ascii").split("\r\n")
    method, target, _version = request.split(" ")
    assert method == "CONNECT"
    header = {name.lower(): value for name, _, value in (line.partition(": ") for line in fields)}
    username = password = None
    if "proxy-authorization" in header:
        way, _, credentials = header["proxy-authorization"].partition(" ")
        assert way == "Basic"
        username, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    host, _, port = target.rpartition(":")
    return Asked(host.strip("[]"), int(port), username, password)


_GRANTED = {
    "socks5": b"\x05\x00\x00\x01" + bytes(6),
    "socks4a": b"\x00\x5a" + bytes(6),
    "http": b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n",
}
_REFUSED = {
    "socks5": b"\x05\x02\x00\x01" + bytes(6),
    "socks4a": b"\x00\x5b" + bytes(6),
    "http": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
}


def _counted(connection: socket.socket) -> bytes:
    return receive_exactly(connection, receive_exactly(connection, 1)[0])


def _until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        received += receive_exactly(connection, 1)
    return received.removesuffix(end)
