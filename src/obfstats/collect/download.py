"""Files fetched over HTTP, one after the other on one connection, into files that can be continued later.

Rules:

- A file is streamed: memory does not grow with it. Not a byte more is written than it may have.
- A connection that ends too early is made anew, and the file is continued with a Range request. Where the server does
  not support that, the file begins again.
- Redirects are not followed: the source does not decide where a mirror connects to.
- Errors never hold what the server sent.

Sources: RFC 9110 (HTTP semantics; sections 14.2 and 14.4 for ranges).
"""

from __future__ import annotations

import hashlib
import re
from http import HTTPStatus
from http.client import HTTPConnection, IncompleteRead
from typing import TYPE_CHECKING

from obfstats.collect.client.request import RequestError, naming_errors, open_connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPResponse
    from pathlib import Path
    from typing import BinaryIO

    from obfstats.collect.client.route import CollectorUrl, Proxy

DELAYS = (0.0, 2.0, 8.0)
"""Seconds before each further connection, after one that ended without one more byte."""

# For each part of an answer: a circuit of tor's may take a minute.
_SECONDS = 120.0
_CHUNK = 64 << 10
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-[0-9]{1,15}/(?:[0-9]{1,15}|\*)")
_ABSENT = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
_PASSING = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class DownloadError(Exception):
    """The source has something else than it should have. Its text is a sentence whose subject is the file's name."""


class Source:
    """A folder on a web server.

    Attributes:
        url: the folder.
    """

    def __init__(self, url: CollectorUrl, proxy: Proxy | None, sleep: Callable[[float], object]) -> None:
        """Name a folder; nothing is sent yet.

        Args:
            url: the folder.
            proxy: through which it is reached; None for a direct connection.
            sleep: waits for so many seconds.
        """
        self.url = url
        self._proxy = proxy
        self._sleep = sleep
        self._connection: HTTPConnection | None = None

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def read(self, path: str, limit: int) -> bytes | None:
        """Fetch a small file into memory.

        Args:
            path: the file, from the folder.
            limit: how many bytes it may have.

        Returns:
            Its content; None if the source does not have it.

        Raises:
            DownloadError: if the source answers with an error, or with more bytes.
            RequestError: if the source cannot be reached.
        """
        failures = 0
        while True:
            try:
                return self._read(path, limit)
            except RequestError as error:
                self._wait(failures, error)
                failures += 1

    def fetch(self, path: str, partial: Path, size: int, advance: Callable[[int], object]) -> bytes:
        """Fetch a file, or the rest of it.

        Args:
            path: the file, from the folder.
            partial: where it is written; what is there already is its beginning.
            size: how many bytes it has.
            advance: gets how many bytes were added, below 0 where the file begins again.

        Returns:
            The SHA-256 of all of it.

        Raises:
            DownloadError: if the source does not have it, or has another size.
            RequestError: if the source cannot be reached; what came is kept.
            OSError: if it cannot be written.
        """
        with partial.open("ab+") as file:
            download = _Download(file, size, advance)
            failures = 0
            while download.done < size:
                before = download.done
                try:
                    self._continue(path, download)
                except RequestError as error:
                    failures = 0 if download.done > before else failures
                    self._wait(failures, error)
                    failures += 1
            return download.digest.digest()

    def _read(self, path: str, limit: int) -> bytes | None:
        response = self._request(path, 0)
        if response is None:
            return None
        content = bytearray()
        while chunk := self._receive(response):
            content += chunk
            if len(content) > limit:
                self.close()
                raise DownloadError(f"has more than {limit} bytes")
        return bytes(content)

    def _continue(self, path: str, download: _Download) -> None:
        """Fetch what is missing, as far as the connection lasts."""
        response = self._request(path, download.done)
        if response is None:
            raise DownloadError("is in the index, but not at the source")
        try:
            if response.status == HTTPStatus.OK:
                download.restart()
            if response.length is not None:
                download.check_size(download.done + response.length)
            while chunk := self._receive(response):
                download.append(chunk)
            download.check_size(download.done)
        except DownloadError:
            # The rest of the answer is not read.
            self.close()
            raise

    def _request(self, path: str, start: int) -> HTTPResponse | None:
        """Ask for a file from an offset on.

        Returns:
            The answer: 206 from that offset on, or 200 from the beginning; None if the source does not have the file.
        """
        headers = {"Host": self.url.authority, "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with naming_errors(self.url):
            # http.client itself would renew a connection that the server has closed: past the proxy, and without TLS.
            if self._connection is None or self._connection.sock is None:
                self._connection = HTTPConnection(self.url.host, self.url.port)
                self._connection.sock = open_connection(self.url, self._proxy, lambda: _SECONDS)
                self._connection.sock.settimeout(_SECONDS)
            self._connection.request("GET", f"{self.url.path}/{path}", headers=headers)
            response = self._connection.getresponse()
        if response.status == HTTPStatus.OK:
            return response
        if response.status == HTTPStatus.PARTIAL_CONTENT and start:
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if found is not None and int(found[1]) == start:
                return response
        if response.length is not None and response.length <= _CHUNK:
            self._receive(response)
        else:
            self.close()
        if response.status in _ABSENT:
            return None
        if response.status in _PASSING:
            raise RequestError(f"{self.url} answers {response.status}", is_temporary=True)
        raise DownloadError(f"cannot be fetched: {self.url} answers {response.status}")

    def _receive(self, response: HTTPResponse) -> bytes:
        """Receive a part of the body; nothing at its end."""
        with naming_errors(self.url):
            try:
                chunk = response.read(_CHUNK)
            except IncompleteRead:
                raise ConnectionError from None
            if not chunk and response.length:
                raise ConnectionError
        return chunk

    def _wait(self, failures: int, error: RequestError) -> None:
        """Wait before a further attempt.

        Raises:
            RequestError: if there were enough.
        """
        self.close()
        if failures == len(DELAYS) or not error.is_temporary:
            raise error
        self._sleep(DELAYS[failures])


class _Download:
    """A file that is being fetched.

    Attributes:
        done: so many bytes of it are there.
        digest: the SHA-256 of these.
    """

    def __init__(self, file: BinaryIO, size: int, advance: Callable[[int], object]) -> None:
        """Read what is there; more than the file may have is no beginning of it."""
        self._file = file
        self._size = size
        self._advance = advance
        self.digest = hashlib.sha256()
        self.done = 0
        file.seek(0)
        while chunk := file.read(_CHUNK):
            self._count(chunk)
        if self.done > size:
            self.restart()

    def restart(self) -> None:
        """Begin again."""
        self._file.truncate(0)
        self._advance(-self.done)
        self.digest = hashlib.sha256()
        self.done = 0

    def check_size(self, size: int) -> None:
        """Refuse a file that turns out to have another size.

        Raises:
            DownloadError: if so.
        """
        if size != self._size:
            raise DownloadError(f"has {size} bytes, but {self._size} in the index")

    def append(self, chunk: bytes) -> None:
        """Write what came.

        Raises:
            DownloadError: if it is too much.
        """
        if self.done + len(chunk) > self._size:
            raise DownloadError(f"has more than {self._size} bytes, its size in the index")
        self._file.write(chunk)
        self._count(chunk)

    def _count(self, chunk: bytes) -> None:
        self.digest.update(chunk)
        self.done += len(chunk)
        self._advance(len(chunk))
