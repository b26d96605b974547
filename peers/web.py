"""A small web server on loopback, and fetching from it through tor."""

from __future__ import annotations

import contextlib
import hashlib
import socketserver
import threading
from typing import TYPE_CHECKING

from peers import socks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedIOBase


@contextlib.contextmanager
def serve(content: bytes) -> Iterator[tuple[str, int]]:
    """Answer every request with the same file; gives the server's address.

    Args:
        content: the file.
    """

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            _skip_head(self.rfile)
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n" + content)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield "127.0.0.1", server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def fetch_digest(proxy: tuple[str, int], web: tuple[str, int]) -> str:
    """Fetch the file through a SOCKS5 proxy, and give its SHA-256.

    Raises:
        OSError: if the proxy or the server cannot be reached, or takes too long.
    """
    with socks.connect(proxy, web) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with connection.makefile("rb") as answer:
            _skip_head(answer)
            return hashlib.sha256(answer.read()).hexdigest()


def _skip_head(stream: BufferedIOBase) -> None:
    """Read up to the empty line, or to the end."""
    while stream.readline() not in {b"\r\n", b""}:
        pass
