"""One page over HTTP, for its operator's browser, made anew for each request. Nothing is logged, so no address is.

    GET /    the page; 304 if the browser has it already; 503 if it cannot be made

This is for one person on the same machine. What the public reads is a file of `--to` behind a web server.
"""

from __future__ import annotations

import socket
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Final

from obfstats.show.pages import HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable

_PATHS: Final = ("/", "/index.html")


class SourceError(Exception):
    """A page cannot be made. Its text is one sentence for the operator."""


class PageServer(ThreadingHTTPServer):
    """Serves one page."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], make: Callable[[], str]) -> None:
        """Listen.

        Args:
            address: host and port.
            make: makes the page; may raise SourceError.

        Raises:
            OSError: if the address is not available.
        """
        self.make = make
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = self.server_address[:2]
        name = host if isinstance(host, str) else host.decode()
        return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"

    def server_bind(self) -> None:
        """Bind, without asking a name server for this machine's name as HTTPServer does."""
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """Report nothing: a browser that goes away is no error, and a traceback would name its address."""


class _Handler(BaseHTTPRequestHandler):
    """Answers a request."""

    protocol_version = "HTTP/1.1"
    timeout = 10
    server: PageServer

    def do_GET(self) -> None:
        """Send the page."""
        if self.path.partition("?")[0] not in _PATHS:
            self._answer(HTTPStatus.NOT_FOUND, "There is one page, at /.\n")
            return
        try:
            page = self.server.make()
        except SourceError as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n")
            return
        tag = f'"{sha256(page.encode()).hexdigest()[:32]}"'
        if self.headers["If-None-Match"] == tag:
            self._answer(HTTPStatus.NOT_MODIFIED, "", tag)
        else:
            self._answer(HTTPStatus.OK, page, tag)

    def do_HEAD(self) -> None:
        """Send the headers of the page."""
        self.do_GET()

    def _answer(self, status: HTTPStatus, text: str, tag: str = "") -> None:
        body = text.encode("utf-8", "backslashreplace")
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-cache")
        if tag:
            self.send_header("ETag", tag)
        if status is not HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Type", f"text/{'html' if tag else 'plain'}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Name the server, without any version."""
        return "obfstats"

    def log_message(self, *_: object) -> None:
        """Log nothing."""
