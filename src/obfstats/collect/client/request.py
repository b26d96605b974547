"""One HTTP request to a collector and its answer, directly or through a SOCKS proxy.

- The request is written here byte by byte, so that `--dry-run` prints what is sent. It says nothing that a collector
  does not need: no program, no version, no language.
- A request has one deadline, however slowly an answer arrives, and an answer one limit, whatever its headers say.
- Redirects are not followed: they could lead to a host that is not reached through the proxy.
- Errors name the collector and the proxy, and what to do.
"""

from __future__ import annotations

import io
import re
import socket
import ssl
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse, IncompleteRead
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from obfstats.collect.client.route import CollectorUrl, Proxy

REQUEST_SECONDS = 120.0
"""How long a request may take, from the connection to the end of the answer. A circuit of tor's may take a minute."""

MAX_ANSWER_LENGTH = 1024 * 1024
"""Bytes of an answer, with its headers."""

_MAX_SHOWN = 100


class Answer(NamedTuple):
    """An answer.

    Attributes:
        status: its status.
        body: its body.
        retry_after: seconds after which the collector wants to be asked again; 0 if it does not say.
    """

    status: int
    body: bytes
    retry_after: int


class RequestError(Exception):
    """A request has no answer. Its text is one sentence for the operator.

    Attributes:
        is_temporary: whether the same request may succeed a little later.
        retry_after: seconds after which the collector wants to be asked again; 0 if it does not say.
    """

    def __init__(self, sentence: str, *, is_temporary: bool, retry_after: int = 0) -> None:
        super().__init__(sentence)
        self.is_temporary = is_temporary
        self.retry_after = retry_after


def write_get(url: CollectorUrl, path: str) -> bytes:
    """Write a request for a path below a collector's URL."""
    return _write_head(url, "GET", path, ())


def write_post(url: CollectorUrl, path: str, content_type: str, body: bytes) -> bytes:
    """Write a request that sends a body to a path below a collector's URL."""
    return _write_head(url, "POST", path, (f"Content-Type: {content_type}", f"Content-Length: {len(body)}")) + body


def send_request(
    url: CollectorUrl,
    proxy: Proxy | None,
    request: bytes,
    clock: Callable[[], float] = monotonic,
    *,
    seconds: float = REQUEST_SECONDS,
) -> Answer:
    """Send a request on a connection of its own.

    Args:
        url: the collector.
        proxy: through which it is reached; None for a direct connection.
        request: the request.
        clock: seconds, for the deadline.
        seconds: how long it may take, from the connection to the end of the answer.

    Raises:
        RequestError: if there is no answer, or a redirect.
    """
    deadline = clock() + seconds

    def remaining() -> float:
        left = deadline - clock()
        if left <= 0:
            raise TimeoutError
        return left

    with naming_errors(url), open_connection(url, proxy, remaining) as connection:
        _send(connection, request, remaining)
        answer, location = _receive(connection, remaining)
    if 300 <= answer.status < 400:
        raise RequestError(
            f"{url} redirects to {location[:_MAX_SHOWN]!a}, which is not followed because it could lead past the "
            "proxy; if you trust that address, give it instead",
            is_temporary=False,
        )
    return answer


def open_connection(url: CollectorUrl, proxy: Proxy | None, remaining: Callable[[], float]) -> socket.socket:
    """Connect, and agree on TLS where the URL says so.

    Args:
        url: the collector.
        proxy: through which it is reached; None for a direct connection.
        remaining: gives the seconds that are left for it; raises TimeoutError.

    Raises:
        RequestError: if the proxy fails.
        OSError: if something else does; `naming_errors` puts it into words.
    """
    if proxy is None:
        connection = socket.create_connection((url.host, url.port), remaining())
    else:
        connection = _connect_through(url, proxy, remaining())
    if not url.is_https:
        return connection
    # SSL_CERT_FILE and SSL_CERT_DIR name other certificates than the system's.
    context = ssl.create_default_context()
    try:
        connection.settimeout(remaining())
        return context.wrap_socket(connection, server_hostname=url.host)
    except BaseException:
        connection.close()
        raise


@contextmanager
def naming_errors(url: CollectorUrl) -> Iterator[None]:
    """Make a RequestError of what a connection to a collector may fail with."""
    try:
        yield
    except TimeoutError:
        raise RequestError(f"{url} has not answered in time", is_temporary=True) from None
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message.rstrip(".")
        raise RequestError(
            f"the certificate of {url} is not valid: {reason}; nothing was sent", is_temporary=False
        ) from None
    except ssl.SSLError as error:
        raise RequestError(
            f"no TLS connection to {url}: {error.reason or 'it was closed'}", is_temporary=True
        ) from None
    except socket.gaierror as error:
        raise RequestError(f"the name of {url} cannot be resolved: {error.strerror}", is_temporary=True) from None
    except OSError as error:
        raise RequestError(
            f"the connection to {url} failed: {error.strerror or 'it was closed'}", is_temporary=True
        ) from None
    except HTTPException:
        raise RequestError(f"{url} does not answer as HTTP; is the URL right?", is_temporary=False) from None


def _write_head(url: CollectorUrl, method: str, path: str, headers: tuple[str, ...]) -> bytes:
    lines = [f"{method} {url.path}{path} HTTP/1.1", f"Host: {url.authority}", *headers, "Connection: close", "", ""]
    return "\r\n".join(lines).encode("ascii")


def _connect_through(url: CollectorUrl, proxy: Proxy, seconds: float) -> socket.socket:
    # Loaded where it is needed, because a direct connection and --help do not need it.
    from python_socks import ProxyConnectionError, ProxyError, ProxyType  # noqa: PLC0415
    from python_socks.sync import Proxy as SocksProxy  # noqa: PLC0415

    try:
        socks = SocksProxy.create(ProxyType.SOCKS5, proxy.host, proxy.port, rdns=True)
        return socks.connect(url.host, url.port, timeout=seconds)
    except ProxyConnectionError as error:
        reason = getattr(error.__cause__, "strerror", None) or "no answer"
        raise RequestError(
            f"no proxy at {proxy}: {reason}; start tor, or name its SOCKS port with --through", is_temporary=False
        ) from None
    except ProxyError as error:
        raise RequestError(f"the proxy at {proxy} cannot reach {url}: {error}", is_temporary=True) from None


def _send(connection: socket.socket, request: bytes, remaining: Callable[[], float]) -> None:
    rest = memoryview(request)
    while rest:
        connection.settimeout(remaining())
        rest = rest[connection.send(rest) :]


def _receive(connection: socket.socket, remaining: Callable[[], float]) -> tuple[Answer, str]:
    """Read an answer; give it and where it redirects to.

    Raises:
        ConnectionError: if it ends too early.
    """
    response = HTTPResponse(_Reader(connection, remaining))  # type: ignore[arg-type]
    try:
        response.begin()
        body = response.read(MAX_ANSWER_LENGTH)
        if response.length:
            raise ConnectionError
        after = response.getheader("Retry-After", "")
        seconds = int(after) if re.fullmatch("[0-9]{1,6}", after) else 0
        return Answer(response.status, body, seconds), response.getheader("Location", "")
    except IncompleteRead:
        raise ConnectionError from None
    finally:
        response.close()


class _Reader(io.RawIOBase):
    """Reads a connection until a deadline and a limit. It is what `HTTPResponse` needs of a socket."""

    def __init__(self, connection: socket.socket, remaining: Callable[[], float]) -> None:
        self._connection = connection
        self._remaining = remaining
        self._left = MAX_ANSWER_LENGTH

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._connection.settimeout(self._remaining())
        received = self._connection.recv_into(buffer)
        self._left -= received
        if self._left < 0:
            raise HTTPException("the answer is too long")
        return received
