"""Connecting through a SOCKS5 proxy, as tor connects through a transport's client (RFC 1928)."""

from __future__ import annotations

import socket

SECONDS = 30.0
"""How long the proxy may take; the sockets that are given keep it as their time-out."""

_NO_AUTHENTICATION = b"\x05\x01\x00"
_CONNECT_V4 = b"\x05\x01\x00\x01"


class SocksError(ConnectionError):
    """The proxy did not connect."""


def connect(proxy: tuple[str, int], destination: tuple[str, int]) -> socket.socket:
    """Connect to an IPv4 address and port through a proxy that asks for no password.

    Raises:
        SocksError: if the proxy says no.
        OSError: if the proxy cannot be reached, or takes too long.
    """
    connection = socket.create_connection(proxy, SECONDS)
    try:
        _ask(connection, destination)
    except BaseException:
        connection.close()
        raise
    return connection


def _ask(connection: socket.socket, destination: tuple[str, int]) -> None:
    connection.sendall(_NO_AUTHENTICATION)
    if _receive(connection, 2) != b"\x05\x00":
        raise SocksError("the proxy wants a password")
    host, port = destination
    connection.sendall(_CONNECT_V4 + socket.inet_aton(host) + port.to_bytes(2, "big"))
    _version, status, _reserved, kind = _receive(connection, 4)
    if status or kind not in {1, 4}:
        raise SocksError(f"the proxy says {status}")
    # The address that the proxy connected from, and its port.
    _receive(connection, (4 if kind == 1 else 16) + 2)


def _receive(connection: socket.socket, length: int) -> bytes:
    """Read exactly so many bytes, so that none of the destination's is taken."""
    received = b""
    while len(received) < length:
        more = connection.recv(length - len(received))
        if not more:
            raise SocksError("the proxy hung up")
        received += more
    return received
