"""A SOCKS5 proxy on loopback that takes names, as tor's SOCKS port does, and leads each to one server.

    with socks_proxy.serve(collector) as proxy:
        ... connect to anything through proxy.address ...
        proxy.asked         [("collector.example", 443)]: what it was asked for, in order

Sources: RFC 1928.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from peers.socks import receive_exactly

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 30.0
_CHUNK = 1 << 16


@dataclass
class SocksProxy:
    """A running proxy.

    Attributes:
        address: where it listens.
        asked: the names or addresses, and ports, that it was asked to connect to.
        reply: what it answers to a request (RFC 1928, section 6); 0 connects.
    """

    address: tuple[str, int]
    asked: list[tuple[str, int]] = field(default_factory=list)
    reply: int = 0


@contextmanager
def serve(destination: tuple[str, int], source: str = "") -> Iterator[SocksProxy]:
    """Serve until the block ends.

    Args:
        destination: where every connection leads, whatever it asks for.
        source: the loopback address that the destination sees, if not the usual one.
    """

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(_SECONDS)
            with suppress(ConnectionError, TimeoutError):
                if not _answer(self.request, proxy):
                    return
                with socket.create_connection(destination, _SECONDS, (source, 0)) as onward:
                    back = threading.Thread(target=_copy, args=(onward, self.request))
                    back.start()
                    _copy(self.request, onward)
                    back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        proxy = SocksProxy(("127.0.0.1", server.server_address[1]))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


def _answer(connection: socket.socket, proxy: SocksProxy) -> bool:
    """Agree to connect without a password; tell whether that is done."""
    _version, methods = receive_exactly(connection, 2)
    receive_exactly(connection, methods)
    connection.sendall(b"\x05\x00")
    _version, _command, _reserved, kind = receive_exactly(connection, 4)
    if kind == 3:
        host = receive_exactly(connection, receive_exactly(connection, 1)[0]).decode()
    else:
        packed = receive_exactly(connection, 4 if kind == 1 else 16)
        host = socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, packed)
    proxy.asked.append((host, int.from_bytes(receive_exactly(connection, 2), "big")))
    connection.sendall(bytes((5, proxy.reply, 0, 1)) + bytes(6))
    return not proxy.reply


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until the source ends, and end the sink then."""
    with suppress(ConnectionError, TimeoutError, OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
