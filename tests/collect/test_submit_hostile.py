"""A collector, or what answers in its place, may answer anything: it holds nothing up, fills nothing, shows nothing."""

from __future__ import annotations

import re
import time
from itertools import repeat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.collect.client.keys import KEY_NAME
from obfstats.collect.client.request import RequestError, send_request, write_get
from obfstats.collect.signing import SigningKey
from peers.program import OBFSTATS
from tests.collect import stand_in
from tests.publish.programs import run, run_measured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.collect.stand_in import Collector

HEAD = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector that a test gives its answers."""
    with stand_in.serve() as running:
        yield running


@pytest.fixture
def submit(tmp_path: Path, collector: Collector) -> list[str]:
    """The command line that sends one document."""
    SigningKey.create(tmp_path / KEY_NAME)
    (tmp_path / "document").write_bytes(stand_in.document())
    words = [OBFSTATS, "submit", "--to", collector.url_text, "--data-dir", tmp_path, tmp_path / "document"]
    return list(map(str, words))


def dripping(*, start: bytes, drop: bytes) -> Iterator[bytes]:
    """Send a little every 5 ms, for as long as the other end listens."""
    yield start
    for part in repeat(drop):
        time.sleep(0.005)
        yield part


@pytest.mark.parametrize(
    ("start", "endless"),
    [
        (HEAD + b"\r\n", b" " * 65_536),
        (HEAD + b"Content-Length: 1073741824\r\n\r\n", b" " * 65_536),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65_536 + b"\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", b" " * 65_536),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: " + b"y" * 60_000 + b"\r\n"),
        (HEAD, b"X: " + b"y" * 60_000 + b"\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (b"HTTP/1.1 201 ", b"x" * 65_536),
    ],
    ids=["body", "content-length", "chunks", "negative-chunk", "trailers", "headers", "interim", "status-line"],
)
def test_an_endless_answer_fills_no_memory(
    submit: list[str], collector: Collector, start: bytes, endless: bytes
) -> None:
    """Whatever is endless in it: it is cut off, and the document waits for a better collector."""
    collector.respond = collector.judge
    _, usual = run_measured([*submit, "--dry-run"])
    collector.respond = lambda _head, _body: (part for parts in ((start,), repeat(endless)) for part in parts)
    result, peak = run_measured(submit)
    assert result.returncode == 2
    assert re.search(rb"does not answer as HTTP; is the URL right\?; 1 document in ", result.stderr)
    assert peak < usual + 12 * 1024


@pytest.mark.parametrize(
    ("start", "drop"),
    [(b"", b"x"), (HEAD + b"X: ", b"x"), (HEAD + b"Content-Length: 1000000\r\n\r\n", b" "), (b"", b"")],
    ids=["status", "headers", "body", "silence"],
)
def test_a_slow_answer_has_one_deadline(collector: Collector, start: bytes, drop: bytes) -> None:
    """However it drips: the time for the whole counts, not the time since the last byte."""
    collector.respond = lambda _head, _body: dripping(start=start, drop=drop)
    began = time.monotonic()
    with pytest.raises(RequestError, match="has not answered in time") as caught:
        send_request(collector.url, None, write_get(collector.url, "/v1/health"), seconds=0.3)
    assert 0.2 < time.monotonic() - began < 10
    assert caught.value.is_temporary


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(submit: list[str], collector: Collector, status: int) -> None:
    """It could lead past the proxy; the line says where it leads, as text that no terminal obeys."""
    count = len(collector.requests)
    location = "Location: https://elsewhere.example/\x1b[31m"
    collector.respond = lambda _head, _body: stand_in.answer(status, b"", "text/html", location)
    result = run(submit)
    assert result.returncode == 2
    assert rb"redirects to 'https://elsewhere.example/\x1b[31m', which is not followed because" in result.stderr
    assert len(collector.requests) == count + 1


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>\x1b[2J\x07welcome</html>", b" answered 200, but not as a collector does; is the URL right?"),
        (404, b"<html>\x1b[2Jnot found</html>", b" answered 404, but not as a collector does; is the URL right?"),
        (400, b'{"detail": "\\u001b[2J"}', b" answered 400, but not as a collector does; is the URL right?"),
        (415, b'{"detail": "send JSON"}', b" answered 415 send JSON; 1 document in "),
        (201, b'{"documents": []}', b" answered 201, but not as a collector does; is the URL right?"),
        (201, b"[" * 100_000, b" answered 201, but not as a collector does; is the URL right?"),
        (201, b'{"documents": [{"status": 201, "detail": "\\u001b[2J"}]}', b" answered 201, but not as a"),
        (204, b"", b" answered 204, but not as a collector does; is the URL right?"),
    ],
)
def test_an_answer_that_is_none_is_a_sentence(
    submit: list[str], collector: Collector, status: int, body: bytes, said: bytes
) -> None:
    """No byte of it that a terminal could obey is shown, and the document waits."""
    collector.respond = lambda _head, _body: stand_in.answer(status, body)
    result = run(submit)
    assert (result.returncode, result.stdout) == (2, b"")
    assert said in result.stderr
    assert result.stderr.count(b"\n") == 1
    assert result.stderr.decode().removesuffix("\n").isprintable()


@settings(max_examples=300)
@given(
    st.binary(max_size=200)
    | st.builds(
        lambda head, body: b"HTTP/1.1 " + head + b"\r\n\r\n" + body,
        st.from_regex(
            rb"[0-9]{3} [a-z]*(\r\n(Content-Length|Transfer-Encoding|Retry-After|Location): [!-~]{0,20}){0,3}"
        ),
        st.binary(max_size=60),
    )
)
def test_any_bytes_are_an_answer_or_a_sentence(collector: Collector, data: bytes) -> None:
    """Nothing else is raised, whatever comes."""
    collector.respond = lambda _head, _body: data
    try:
        answer = send_request(collector.url, None, write_get(collector.url, "/v1/health"), seconds=10)
    except RequestError as error:
        sentence = str(error)
    else:
        sentence = f"{answer.status} {answer.retry_after}"
    assert sentence.isprintable()
