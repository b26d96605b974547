"""Archives for the tests of `mirror`: signed ones as our collector's, plain ones as CollecTor's, and a web server."""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from obfstats.collect.index import FileEntry, Index, write_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from obfstats.collect.signing import SigningKey

CREATED = 1_796_047_740
"""2026-11-30 14:09 UTC."""

RECENT = "recent/obfsproxy-stats/2026-11-30-14-09-00-obfsproxy-stats"
MONTH = "archive/obfsproxy-stats-2026-11.tar.xz"


def entry_of(path: str, content: bytes) -> FileEntry:
    """A file's entry in an index."""
    return FileEntry(path, len(content), CREATED, hashlib.sha256(content).digest())


def write(folder: Path, path: str, content: bytes) -> None:
    """Write a file, and the folders above it."""
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content)


def publish_plain(
    folder: Path, files: Mapping[str, bytes], *, index_path: str = "index/index.json.xz", created: int = CREATED
) -> None:
    """Write a tree as CollecTor's."""
    for path, content in files.items():
        write(folder, path, content)
    entries = [entry_of(path, content) for path, content in files.items()]
    write_plain_index(folder, entries, index_path=index_path, created=created)


def write_plain_index(
    folder: Path, entries: list[FileEntry], *, index_path: str = "index/index.json.xz", created: int = CREATED
) -> None:
    """Write an index without a signature."""
    text = write_index(Index(created, files=tuple(entries)))
    write(folder, index_path, lzma.compress(text) if index_path.endswith(".xz") else text)


def publish_signed(folder: Path, files: Mapping[str, bytes], key: SigningKey, *, created: int = CREATED) -> None:
    """Write an archive as our collector's: each file is signed, and the index too."""
    entries = []
    for path, content in {**files, "minisign.pub": f"untrusted comment: ours\n{key.public}\n".encode()}.items():
        signature = key.sign(content, f"file:{path}")
        for name, part in ((path, content), (f"{path}.minisig", signature)):
            write(folder, name, part)
            entries.append(entry_of(name, part))
    write_signed_index(folder, entries, key, created=created)


def write_signed_index(folder: Path, entries: list[FileEntry], key: SigningKey, *, created: int = CREATED) -> None:
    """Write the index of a signed archive."""
    text = write_index(Index(created, files=tuple(entries)))
    for path, content in (("index.json", text), ("index.json.xz", lzma.compress(text))):
        write(folder, path, content)
        write(folder, f"{path}.minisig", key.sign(content, f"file:{path}"))


@dataclass
class WebServer:
    """A web server of a folder, whose behaviour a test may change.

    Attributes:
        folder: what it serves.
        port: where it listens, on loopback.
        requests: paths that were asked for, with the range.
        has_ranges: whether it knows Range requests.
        cut_after: bytes of a body after which it ends the connection, once for each entry.
        replace: answers instead of files: status and body.
        stalled: files of which the second half is sent when the event is set.
    """

    folder: Path
    port: int = 0
    requests: list[str] = field(default_factory=list)
    has_ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    replace: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    stalled: dict[str, threading.Event] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def asked(self, path: str) -> list[str]:
        """The requests for a path."""
        return [request for request in self.requests if request.split(" ")[0] == path]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a request for a file."""
        path = handler.path.removeprefix("/")
        wanted = handler.headers.get("Range", "")
        self.requests.append(f"{path} {wanted}".strip())
        status, content = self.replace.get(path, (200, b""))
        if path not in self.replace:
            try:
                content = (self.folder / path).read_bytes()
            except OSError:
                status, content = 404, b"no such file"
        start = 0
        found = re.fullmatch("bytes=([0-9]+)-", wanted)
        if status == 200 and self.has_ranges and found is not None:
            start = int(found[1])
            status = 206 if start < len(content) else 416
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content) - start))
        if status == 206:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if status == 301:
            handler.send_header("Location", "http://127.0.0.1:9/")
        handler.end_headers()
        body = content[start:]
        if self.cut_after and len(body) > self.cut_after[0]:
            body = body[: self.cut_after.pop(0)]
            handler.close_connection = True
        half = len(body) // 2
        with contextlib.suppress(OSError):
            handler.wfile.write(body[:half])
            if path in self.stalled:
                self.stalled[path].wait(30)
            handler.wfile.write(body[half:])


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[WebServer]:
    """Serve a folder on loopback until the block ends."""
    web = WebServer(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            web.answer(self)

        def log_message(self, *_arguments: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        web.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()
