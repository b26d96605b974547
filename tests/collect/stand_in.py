"""A collector for tests of what sends to one: it judges documents as the service does, and keeps them in memory.

    with stand_in.serve() as collector:
        ... submit to collector.url ...
        collector.requests          each request, byte for byte
        collector.documents         what it has accepted

A test may set `collector.respond` to let it answer anything.
"""

from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from obfstats.collect.client.route import CollectorUrl, parse_collector_url
from obfstats.collect.submission import (
    Refusal,
    Result,
    check_submission,
    read_request,
    response_status,
    write_detail,
    write_response,
)
from obfstats.formats.interval import format_time

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator

SECONDS = 30.0
"""How long the collector waits for a request's next bytes."""

NOW = datetime.now(UTC).replace(microsecond=0)
PUBLISHED_BY = "2099-11-30 14:09:00"


@dataclass
class Collector:
    """A running collector.

    Attributes:
        address: where it listens.
        scheme: http or https.
        requests: every request, byte for byte.
        documents: the texts of the documents that it has accepted.
        respond: takes a request's head and body, and gives the bytes of the answer, whole or in parts.
    """

    address: tuple[str, int]
    scheme: str = "http"
    requests: list[bytes] = field(default_factory=list)
    documents: list[bytes] = field(default_factory=list)
    respond: Callable[[bytes, bytes], bytes | Iterator[bytes]] = lambda _head, _body: b""

    @property
    def url_text(self) -> str:
        """Its URL."""
        return f"{self.scheme}://127.0.0.1:{self.address[1]}"

    @property
    def url(self) -> CollectorUrl:
        """Its URL, read."""
        return parse_collector_url(self.url_text)

    def judge(self, head: bytes, body: bytes) -> bytes:
        """Answer as the service does, with every key admitted."""
        if not head.startswith(b"POST /v1/documents HTTP/1.1\r\n"):
            return answer(404, b"<html>not found</html>", "text/html")
        try:
            key, items = read_request(body)
        except Refusal as refusal:
            return answer(refusal.status, write_detail(refusal.detail))
        results = [self._judge_one(key, item.text, item.signature) for item in items]
        return answer(response_status(results), write_response(results))

    def _judge_one(self, key: str, text: bytes, signature: bytes) -> Result:
        try:
            check_submission(key, text, signature, int(NOW.timestamp()))
        except Refusal as refusal:
            return Result(refusal.status, refusal.detail)
        if text in self.documents:
            return Result(200, "known already")
        self.documents.append(text)
        return Result(201, "accepted", PUBLISHED_BY)


def answer(status: int, body: bytes, content_type: str = "application/json", *headers: str) -> bytes:
    """Write an answer of HTTP."""
    lines = [
        f"HTTP/1.1 {status} Words",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *headers,
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def serve(context: ssl.SSLContext | None = None) -> Iterator[Collector]:
    """Serve on loopback until the block ends.

    Args:
        context: the certificate, for TLS.
    """

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connection: socket.socket = self.request
            connection.settimeout(SECONDS)
            # A client that has read enough, or that does not trust the certificate, hangs up.
            with suppress(OSError):
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                self._answer(connection)
                connection.close()

        def _answer(self, connection: socket.socket) -> None:
            with connection.makefile("rb") as stream:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = stream.readline()
                    if not line:
                        return
                    head += line
                length = next((line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")), b": 0")
                body = stream.read(int(length.partition(b": ")[2]))
            collector.requests.append(head + body)
            answered = collector.respond(head, body)
            for part in [answered] if isinstance(answered, bytes) else answered:
                connection.sendall(part)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector = Collector(("127.0.0.1", server.server_address[1]), "http" if context is None else "https")
        collector.respond = collector.judge
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def document(
    days_ago: int = 1, *, number: int = 8, fingerprint: str = "7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e"
) -> bytes:
    """Write a document as it is sent, of an interval that ended some days ago."""
    end = format_time(NOW - timedelta(days=days_ago))
    return (
        f"@type obfsproxy-stats 1.0\nhashed-fingerprint {fingerprint}\n"
        f"obfsproxy-stats-end (86400 s) {end}\nobfsproxy-ips DE={number}\nobfsproxy-reqs DE={number}\n"
    ).encode()
