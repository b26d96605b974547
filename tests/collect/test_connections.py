"""What a connection may cost the collector: length, time and number are bounded, and nothing is logged about it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from obfstats.collect.server import connections
from obfstats.collect.server.connections import BoundedProtocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping

SECONDS = 30.0
CHUNK = bytes(65_536)
HEAD = b"POST / HTTP/1.1\r\nHost: collector\r\n"


async def application(_scope: object, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
    """Read a body and answer with its length."""
    length = 0
    message: MutableMapping[str, Any] = {"more_body": True}
    while message.get("more_body"):
        message = await receive()
        length += len(message.get("body", b""))
    body = b"%d" % length
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def serving(answering: Any = application) -> AsyncIterator[int]:
    """A server of these connections; gives its port."""
    config = uvicorn.Config(answering, port=0, http=BoundedProtocol, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether the server has closed the connection."""
    try:
        return await asyncio.wait_for(reader.read(1), SECONDS) == b""
    except ConnectionError:
        return True


async def send_for_ever(port: int, begin: bytes, rest: bytes) -> int:
    """Send and go on until the server has had enough; gives how much it took, at most 64 MiB."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(begin)
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 64 << 20 and not reader.at_eof():
            writer.write(rest)
            await asyncio.wait_for(writer.drain(), SECONDS)
            sent += len(rest)
    writer.transport.abort()
    return sent


@pytest.mark.parametrize(
    ("begin", "rest"),
    [
        (b"GET /", b"a" * 65_536),
        (HEAD, b"x: y\r\n" * 10_000),
        (HEAD + b"x: ", b"y" * 65_536),
        (HEAD + b"Content-Length: 99999999999\r\n\r\n", CHUNK),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n" * 10_000),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1", b";x=y" * 10_000),
        (HEAD + b"Content-Length: 0\r\n\r\n", b"\r\n" * 30_000),
        (b"", b"\r\n" * 30_000),
    ],
    ids=["url", "headers", "header", "body", "chunks", "trailers", "chunk extension", "after an answer", "empty lines"],
)
def test_nothing_is_taken_without_end(begin: bytes, rest: bytes) -> None:
    """The server closes the connection; the kernel's buffers hold some megabytes that it never reads."""

    async def story() -> None:
        async with serving() as port:
            assert await send_for_ever(port, begin, rest) < 32 << 20

    asyncio.run(story())


def test_a_request_of_the_greatest_length_is_taken() -> None:
    """1 MiB, by its length and in chunks of eight bytes."""

    async def story() -> None:
        async with serving() as port:
            for sent in (
                HEAD + b"Content-Length: 1048576\r\n\r\n" + bytes(1 << 20),
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"8\r\n01234567\r\n" * (1 << 17) + b"0\r\n\r\n",
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                for _ in range(2):
                    writer.write(sent)
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SECONDS)
                    assert head.startswith(b"HTTP/1.1 200 ")
                    assert await reader.readexactly(7) == b"1048576"
                writer.close()

    asyncio.run(story())


def test_few_requests_may_wait_behind_another() -> None:
    """All are answered; of very many at once none is, and they take no memory."""

    async def story() -> None:
        empty = HEAD + b"Content-Length: 0\r\n\r\n"
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(empty * connections.MAX_PIPELINED)
            for _ in range(connections.MAX_PIPELINED):
                assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SECONDS)).startswith(b"HTTP/1.1 200 ")
                assert await reader.readexactly(1) == b"0"
            writer.write(empty * 1000)
            # h11, where httptools is missing, does not look at a request before the earlier ones are answered.
            if importlib.util.find_spec("httptools"):
                assert await is_closed(reader)
            writer.close()

    asyncio.run(story())


@pytest.mark.parametrize("begin", [b"", b"POST", HEAD, HEAD + b"Content-Length: 9\r\n\r\n1234"])
def test_a_request_must_arrive_in_time(begin: bytes) -> None:
    """However slowly more of it comes: the clock is moved on, and the connection is closed."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        moved, clock = 0.0, loop.time
        loop.time = lambda: clock() + moved  # type: ignore[method-assign]
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begin)
            await asyncio.sleep(0.05)
            assert not reader.at_eof()
            # The connection is looked at twice; each time it has nothing new.
            for _ in range(2):
                moved += connections.REQUEST_SECONDS
                await asyncio.sleep(0.05)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()

    asyncio.run(story())


@pytest.mark.parametrize("reads", [True, False])
def test_an_answer_must_be_read(*, reads: bool) -> None:
    """A client that takes nothing is closed; one that takes a little at a time gets the whole answer."""
    length = 32 << 20

    async def answer(_scope: object, _receive: object, send: Callable[[Any], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % length)]})
        for sent in range(0, length, len(CHUNK)):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": sent + len(CHUNK) < length})

    async def story() -> None:
        loop = asyncio.get_running_loop()
        moved, clock = 0.0, loop.time
        loop.time = lambda: clock() + moved  # type: ignore[method-assign]
        async with serving(answer) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: collector\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            taken = 0
            for _ in range(4):
                await asyncio.sleep(0.05)
                moved += connections.REQUEST_SECONDS
                await asyncio.sleep(0.05)
                if reads:
                    taken += len(await reader.readexactly(4 << 20))
            with contextlib.suppress(ConnectionError):
                while part := await asyncio.wait_for(reader.read(1 << 20), SECONDS):
                    taken += len(part)
            assert (taken == length) == reads
            writer.close()

    asyncio.run(story())


def test_connections_beyond_the_greatest_number_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were there before go on; when one has left, the next is taken."""
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)

    async def story() -> None:
        async with serving() as port:
            opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
            assert await is_closed(opened[3][0])
            for reader, writer in opened[:3]:
                writer.write(HEAD + b"Content-Length: 2\r\n\r\nab")
                assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SECONDS)).startswith(b"HTTP/1.1 200 ")
            opened[0][1].close()
            await opened[0][1].wait_closed()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + b"Content-Length: 0\r\n\r\n")
            assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SECONDS)).startswith(b"HTTP/1.1 200 ")
            for _, each in (*opened, (reader, writer)):
                each.close()

    asyncio.run(story())


def test_limits_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A flood of connections that are closed writes no line."""

    async def story() -> None:
        async with serving() as port:
            await send_for_ever(port, HEAD, b"x: y\r\n" * 10_000)

    with caplog.at_level(logging.INFO):
        asyncio.run(story())
    assert [record.getMessage() for record in caplog.records if record.name != "uvicorn.error"] == []
