"""Connecting through a SOCKS5 proxy, as tor connects through a transport's client (RFC 1928, RFC 1929, pt-spec).

socks.connect(proxy, ("127.0.0.1", 443))                                IPv4
socks.connect(proxy, ("::1", 443))                                      IPv6
socks.connect(proxy, ("bridge.example", 443))                           a name, which the proxy gets unresolved
socks.connect(proxy, ("127.0.0.1", 443), "shared-secret=it is one")     with a bridge line's arguments

Sources: RFC 1928, RFC 1929, pt-spec ("Pluggable Transport Client Per-Connection Arguments").
"""

from __future__ import annotations

import socket

SECONDS = 30.0
"""How long the proxy may take; also the time-out of the sockets that `connect` gives."""

_NO_AUTHENTICATION = b"\x05\x01\x00"
_PASSWORD = b"\x05\x01\x02"
_CONNECT = b"\x05\x01\x00"
_V4, _NAME, _V6 = b"\x01", b"\x03", b"\x04"
_MAX_USERNAME = 255


class SocksError(ConnectionError):
    """The proxy has not connected.

    Attributes:
        reply: its reply to the request (RFC 1928, section 6); None if it sent none.
    """

    def __init__(self, what: str, reply: int | None = None) -> None:
        super().__init__(what)
        self.reply = reply


def connect(proxy: tuple[str, int], destination: tuple[str, int], arguments: str | None = None) -> socket.socket:
    """Connect to an address, or a name, and a port through a proxy.

    Args:
        proxy: where it listens.
        destination: where the proxy connects to.
        arguments: a bridge line's, as `k=v;k2=v2`: they are sent as username and password. None for no authentication.

    Raises:
        SocksError: if the proxy refuses.
        OSError: if the proxy cannot be reached, hangs up, or takes too long.
    """
    connection = socket.create_connection(proxy, SECONDS)
    try:
        _authenticate(connection, arguments)
        _ask(connection, destination)
    except BaseException:
        connection.close()
        raise
    return connection


def _authenticate(connection: socket.socket, arguments: str | None) -> None:
    """Agree on a method; as tor does, fill the username and put the rest, or one NUL, into the password."""
    if arguments is None:
        connection.sendall(_NO_AUTHENTICATION)
        if receive_exactly(connection, 2) != b"\x05\x00":
            raise SocksError("the proxy demands a password")
        return
    connection.sendall(_PASSWORD)
    if receive_exactly(connection, 2) != b"\x05\x02":
        raise SocksError("the proxy accepts no password")
    text = arguments.encode()
    username, password = text[:_MAX_USERNAME], text[_MAX_USERNAME:] or b"\0"
    connection.sendall(b"\x01" + _counted(username) + _counted(password))
    if receive_exactly(connection, 2) != b"\x01\x00":
        raise SocksError("the proxy refused the arguments")


def _ask(connection: socket.socket, destination: tuple[str, int]) -> None:
    host, port = destination
    connection.sendall(_CONNECT + _address(host) + port.to_bytes(2, "big"))
    _version, reply, _reserved, kind = receive_exactly(connection, 4)
    if reply or kind not in {1, 4}:
        raise SocksError(f"the proxy replied {reply}", reply)
    # The address that the proxy connected from, and its port.
    receive_exactly(connection, (4 if kind == 1 else 16) + 2)


def _address(host: str) -> bytes:
    """Write an address, or a name, with its type before it."""
    if ":" in host:
        return _V6 + socket.inet_pton(socket.AF_INET6, host)
    try:
        return _V4 + socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return _NAME + _counted(host.encode("ascii"))


def _counted(text: bytes) -> bytes:
    return bytes((len(text),)) + text


def receive_exactly(connection: socket.socket, length: int) -> bytes:
    """Receive exactly that many bytes: what follows is not ours.

    Raises:
        ConnectionError: if the other end hangs up before.
    """
    received = b""
    while len(received) < length:
        more = connection.recv(length - len(received))
        if not more:
            raise ConnectionError("the other end hung up")
        received += more
    return received
