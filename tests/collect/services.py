"""The collector's service for tests: in this process, called as uvicorn calls it, or the program that operators run.

async with calling(folder, database) as service:
    answer = await service.post(request(document(1, NOW - DAY)))

with serving(folder) as server:
    server.post(...)
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from obfstats.collect.archive.publishing import PUBLIC
from obfstats.collect.server.committing import Committer
from obfstats.collect.server.limits import PER_KEY, UNKNOWN_KEYS, Rate, SubmissionLimits
from obfstats.collect.server.metrics import CollectorMetrics
from obfstats.collect.server.service import CollectorService
from obfstats.collect.signing import SigningKey
from obfstats.collect.store.database import open_database
from obfstats.collect.store.ledger import Ledger
from obfstats.collect.submission import CONTENT_TYPE, DOCUMENTS_PATH, TRUSTED_COMMENT, SignedText, write_request
from peers.child import Child
from peers.program import OBFSTATS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from starlette.types import ASGIApp

KEY = SigningKey.generate()
"""A bridge's key."""

STRANGER = SigningKey.generate()
"""A key that is never admitted."""

_JSON = [(b"content-type", CONTENT_TYPE.encode())]
_LISTENING = r"listening at http://127\.0\.0\.1:([0-9]+)$"


def request(*texts: bytes, key: SigningKey = KEY) -> bytes:
    """Write the body of a request with right signatures."""
    return write_request(key.public, [SignedText(text, key.sign(text, TRUSTED_COMMENT)) for text in texts])


def admit(database: str, *keys: SigningKey, bridges: Sequence[str] = ()) -> None:
    """Admit keys, as `obfstats collect admit` does."""
    with contextlib.closing(open_database(database)) as opened:
        for key in keys:
            Ledger(opened).admit(key.public, bridges)


@dataclass(frozen=True)
class Answer:
    """What the service has answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def detail(self) -> str:
        """The reason why the whole request was refused."""
        detail: str = json.loads(self.body)["detail"]
        return detail

    @property
    def results(self) -> list[dict[str, Any]]:
        """What became of each document."""
        documents: list[dict[str, Any]] = json.loads(self.body)["documents"]
        return documents

    @property
    def statuses(self) -> list[int]:
        """The status of each document."""
        return [result["status"] for result in self.results]


class Called:
    """The service in this process.

    Attributes:
        now: its clock, epoch seconds; seconds of its limits pass with it.
        committer: its ledger.
        metrics: its numbers.
        public: the folder of its public files.
    """

    def __init__(self, folder: Path, database: str, now: int, per_key: Rate, unknown_keys: Rate) -> None:
        """Make one; its ledger is not started."""
        self.now = float(now)
        self.public = folder / PUBLIC
        self.public.mkdir(parents=True, exist_ok=True)
        self.metrics = CollectorMetrics()
        self.committer = Committer(database, self.metrics, lambda: self.now)
        limits = SubmissionLimits(lambda: self.now, per_key, unknown_keys)
        self.service = CollectorService(self.committer, self.metrics, 3600, limits, lambda: self.now)
        self.application: ASGIApp = self.service.make_application(self.public)

    async def post(self, body: bytes, headers: Sequence[tuple[bytes, bytes]] = _JSON) -> Answer:
        """Send a body whose length is announced."""
        return await self.call("POST", DOCUMENTS_PATH, [body], [*headers, (b"content-length", b"%d" % len(body))])

    async def get(self, path: str, query: str = "", *, method: str = "GET") -> Answer:
        """Ask for something."""
        return await self.call(method, path, [b""], query=query)

    async def call(
        self,
        method: str,
        path: str,
        chunks: Sequence[bytes | None],
        headers: Sequence[tuple[bytes, bytes]] = (),
        query: str = "",
    ) -> Answer:
        """Call the application.

        Args:
            method: of HTTP.
            path: decoded.
            chunks: the body as it arrives; None: the client has left.
            headers: of the request.
            query: of the URL.
        """
        messages = [
            {"type": "http.disconnect"}
            if chunk is None
            else {"type": "http.request", "body": chunk, "more_body": number < len(chunks) - 1}
            for number, chunk in enumerate(chunks)
        ]
        self.received = 0
        sent: list[Any] = []

        async def receive() -> Any:
            if self.received == len(messages):
                # The client stays.
                await asyncio.Event().wait()
            self.received += 1
            return messages[self.received - 1]

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(b"host", b"collector"), *headers],
            "client": ("192.0.2.7", 40_000),
            "server": ("127.0.0.1", 8085),
            "state": {},
        }
        await self.application(scope, receive, send)
        start = sent[0]
        return Answer(
            start["status"],
            {name.decode(): value.decode() for name, value in start["headers"]},
            b"".join(message.get("body", b"") for message in sent[1:]),
        )

    def number(self, name: str, **labels: str) -> float:
        """Give one of the numbers of /metrics."""
        wanted = ",".join(f'{label}="{value}"' for label, value in labels.items())
        line = f"obfstats_collect_{name}{{{wanted}}} " if labels else f"obfstats_collect_{name} "
        for written in self.metrics.render().decode().splitlines():
            if written.startswith(line):
                return float(written.removeprefix(line))
        return 0.0


@contextlib.asynccontextmanager
async def calling(
    folder: Path, database: str, now: int, *, per_key: Rate = PER_KEY, unknown_keys: Rate = UNKNOWN_KEYS
) -> AsyncIterator[Called]:
    """Run the service in this process."""
    called = Called(folder, database, now, per_key, unknown_keys)
    called.committer.start()
    try:
        # The thread knows the admitted keys before it answers.
        await called.committer.status_of(KEY.public)
        yield called
    finally:
        called.committer.stop()


class Served:
    """The running program.

    Attributes:
        child: its process.
        port: where it listens.
    """

    def __init__(self, child: Child, port: int) -> None:
        """Take a program that listens."""
        self.child = child
        self.port = port

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def post(self, body: bytes, source: str = "127.0.0.1") -> Answer:
        """Send documents.

        Args:
            body: of the request.
            source: the client's address.
        """
        return self.call("POST", DOCUMENTS_PATH, body, source)

    def get(self, path: str, source: str = "127.0.0.1") -> Answer:
        """Ask for something."""
        return self.call("GET", path, None, source)

    def call(self, method: str, path: str, body: bytes | None, source: str) -> Answer:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, 30, source_address=(source, 0))
        with contextlib.closing(connection):
            connection.request(method, path, body, {"content-type": CONTENT_TYPE} if body is not None else {})
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())


def serve_arguments(folder: Path, *arguments: str) -> list[str]:
    """Give the command line of a collector."""
    return [OBFSTATS, "collect", "serve", "--dir", str(folder), "--listen", "127.0.0.1:0", *arguments]


@contextlib.contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Served]:
    """Run the program until the block ends."""
    with Child(serve_arguments(folder, *arguments)) as child:
        yield Served(child, int(child.wait_for_line("stdout", _LISTENING)[1]))
