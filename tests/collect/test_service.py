"""The collector's service: what each request is answered, what it costs, and what nothing shows."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sqlite3
import threading
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

import psycopg
import pytest

from obfstats.collect.archive.publisher import next_publication
from obfstats.collect.server import committing
from obfstats.collect.server import service as service_module
from obfstats.collect.server.limits import Rate
from obfstats.collect.server.reports import describe_error
from obfstats.collect.signing import SigningKey
from obfstats.collect.store.database import open_database
from obfstats.collect.store.ledger import Ledger
from obfstats.collect.submission import DOCUMENTS_PATH, MAX_REQUEST_LENGTH, SignedText, write_request
from obfstats.formats.interval import format_time
from peers import disk
from tests.collect.collectors import DAY, NOW, bridge, document
from tests.collect.services import KEY, STRANGER, admit, calling, request

if TYPE_CHECKING:
    from pathlib import Path

    from peers.postgresql import Server

END = NOW - 3600
JSON = (b"content-type", b"application/json")
FREE = Rate(10**9, 10**9)


def label(moment: int) -> str:
    """Write a moment as documents have it."""
    return format_time(datetime.fromtimestamp(moment, UTC))


def texts_in(database: str) -> set[bytes]:
    """Give the published documents of a ledger, as another program sees it."""
    opened = open_database(database)
    try:
        ledger = Ledger(opened)
        ledger.assign_recent("test")
        return {each.text for each in ledger.read_recent("test")}
    finally:
        opened.close()


async def test_a_new_document_is_on_the_disk_when_it_is_answered(tmp_path: Path, database_url: str) -> None:
    """201 says when it will be published; another program finds it in the ledger at that moment."""
    admit(database_url, KEY)
    async with calling(tmp_path, database_url, NOW) as service:
        answer = await service.post(request(document(1, END)))
        assert answer.status == 201
        assert answer.results == [
            {"status": 201, "detail": "accepted", "published_by": label(next_publication(NOW, 3600))}
        ]
        assert texts_in(database_url) == {document(1, END)}


async def test_each_document_of_a_request_is_judged_by_itself(tmp_path: Path, database_url: str) -> None:
    """New, known, contradicting, wrongly signed, unreadable, too long: 207, and each its own."""
    admit(database_url, KEY)
    async with calling(tmp_path, database_url, NOW) as service:
        assert (await service.post(request(document(1, END)))).status == 201
        right = json.loads(
            request(
                document(1, END - DAY),
                document(1, END),
                document(1, END, clients=16),
                document(1, END - 2 * DAY),
                b"@type obfsproxy-stats 1.0\nx\n",
                b"x" * 70_000,
            )
        )
        right["documents"][3]["signature"] = right["documents"][0]["signature"]
        answer = await service.post(json.dumps(right).encode())
        assert answer.status == 207
        assert answer.statuses == [201, 200, 409, 401, 422, 413]
        assert answer.results[4]["detail"] == "line 2: unknown keyword"
        assert texts_in(database_url) == {document(1, END), document(1, END - DAY)}


async def test_all_alike_is_one_status(tmp_path: Path, database_url: str) -> None:
    """Sent again, the same documents are 200, also twice in one request."""
    admit(database_url, KEY)
    async with calling(tmp_path, database_url, NOW) as service:
        body = request(document(1, END), document(1, END - DAY))
        assert (await service.post(body)).status == 201
        assert (await service.post(body)).status == 200
        answer = await service.post(request(document(1, END - 2 * DAY), document(1, END - 2 * DAY)))
        assert answer.statuses == [201, 200]


async def test_an_unknown_key_is_quarantined(tmp_path: Path, database_url: str) -> None:
    """202 says what to do; nothing is published."""
    async with calling(tmp_path, database_url, NOW) as service:
        answer = await service.post(request(document(1, END), key=STRANGER))
        assert answer.status == 202
        assert "send the public key" in answer.results[0]["detail"]
        status = await service.get("/v1/status", f"key={STRANGER.public.replace('+', '%2B')}")
        assert json.loads(status.body) == {
            "key": STRANGER.public,
            "admitted": False,
            "published": 0,
            "last_interval_end": None,
            "quarantined": 1,
            "conflicting": 0,
        }
    assert texts_in(database_url) == set()


async def test_a_status_does_not_tell_when_a_document_arrives(tmp_path: Path, database_url: str) -> None:
    """Anyone may ask for a key that the archive shows: a new document counts when the archive has it, not before."""
    admit(database_url, KEY)
    query = f"key={KEY.public.replace('+', '%2B')}"
    async with calling(tmp_path, database_url, NOW) as service:
        before = await service.get("/v1/status", query)
        assert (await service.post(request(document(1, END)))).status == 201
        assert (await service.get("/v1/status", query)).body == before.body
        texts_in(database_url)
        status = json.loads((await service.get("/v1/status", query)).body)
        assert (status["admitted"], status["published"], status["last_interval_end"]) == (True, 1, label(END))


async def test_a_key_may_be_pasted_into_a_query(tmp_path: Path) -> None:
    """A "+" in it need not be quoted."""
    keys = (SigningKey.generate().public for _ in itertools.count())
    pasted = next(key for key in keys if "+" in key)
    async with calling(tmp_path, str(tmp_path / "ledger"), NOW) as service:
        answer = await service.get("/v1/status", f"key={pasted}")
        assert json.loads(answer.body)["key"] == pasted


@pytest.mark.parametrize("query", ["", "key=", "key=192.0.2.7", f"key={KEY.public[:-1]}"])
async def test_a_status_needs_a_key(tmp_path: Path, query: str) -> None:
    """422, which does not repeat what was asked."""
    async with calling(tmp_path, str(tmp_path / "ledger"), NOW) as service:
        answer = await service.get("/v1/status", query)
        assert answer.status == 422
        assert answer.detail.startswith("key: not a public key")


# Limits


async def test_a_length_that_is_too_much_is_refused_before_the_body_is_read(tmp_path: Path) -> None:
    """413 by the header alone."""
    async with calling(tmp_path, str(tmp_path / "ledger"), NOW) as service:
        length = (b"content-length", b"%d" % (MAX_REQUEST_LENGTH + 1))
        answer = await service.call("POST", DOCUMENTS_PATH, [b"x"] * 100, [JSON, length])
        assert (answer.status, service.received) == (413, 0)


async def test_a_body_without_a_length_is_counted_while_it_is_read(tmp_path: Path) -> None:
    """413 after the first byte too many; the rest is not read."""
    async with calling(tmp_path, str(tmp_path / "ledger"), NOW) as service:
        chunk = b" " * 65_536
        answer = await service.call("POST", DOCUMENTS_PATH, [chunk] * 100, [JSON])
        assert (answer.status, service.received) == (413, MAX_REQUEST_LENGTH // len(chunk) + 1)


@pytest.mark.parametrize(
    "content_type", [None, b"text/plain", b"application/x-www-form-urlencoded", b"application/jsonx"]
)
async def test_another_content_type_is_refused(tmp_path: Path, content_type: bytes | None) -> None:
    """415; a parameter such as charset is none of our business."""
    async with calling(tmp_path, str(tmp_path / "ledger"), NOW) as service:
        headers = [] if content_type is None else [(b"content-type", content_type)]
        assert (await service.post(request(document(1, END)), headers)).status == 415
        plain = (b"content-type", b"Application/JSON; charset=utf-8")
        assert (await service.post(request(document(1, END)), [plain])).status == 202


async def test_large_requests_share_a_bound_and_small_ones_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large body gets 503 while others hold too much; a small one is taken at the same time."""
    monkeypatch.setattr(service_module, "MAX_LARGE_REQUESTS_LENGTH", 100_000)
    async with calling(tmp_path, str(tmp_path / "ledger"), NOW) as service:
        large = await service.call("POST", DOCUMENTS_PATH, [b" " * 65_536] * 4, [JSON])
        assert (large.status, service.received) == (503, 3)
        assert large.headers["retry-after"] == "1"
        assert (await service.post(request(document(1, END)))).status == 202
        # What the refused one held is free again.
        assert (await service.call("POST", DOCUMENTS_PATH, [b" " * 65_536] * 2, [JSON])).status == 400


async def test_a_key_that_sends_too_much_waits(tmp_path: Path) -> None:
    """100 at once, one a second after that; refused before any signature is verified, and told how long."""
    database = str(tmp_path / "ledger")
    admit(database, KEY)
    texts = [document(1, END - number * 60) for number in range(120)]
    async with calling(tmp_path, database, NOW) as service:
        assert (await service.post(request(*texts[:99]))).status == 201
        assert (await service.post(request(*texts[99:109]))).status == 201
        refused = await service.post(write_request(KEY.public, [SignedText(texts[110], b"not looked at")]))
        assert (refused.status, refused.headers["retry-after"]) == (429, "10")
        service.now += 10
        assert (await service.post(request(texts[110]))).status == 201


async def test_strangers_share_one_bucket(tmp_path: Path) -> None:
    """Keys that are not admitted wait for each other; an admitted one does not wait for them."""
    database = str(tmp_path / "ledger")
    admit(database, KEY)
    async with calling(tmp_path, database, NOW, unknown_keys=Rate(2, 0.5)) as service:
        assert (await service.post(request(document(1, END), document(2, END), key=STRANGER))).status == 202
        forged = write_request(STRANGER.public, [SignedText(document(1, END), b"not looked at")])
        refused = await service.post(forged)
        assert (refused.status, refused.headers["retry-after"]) == (429, "2")
        assert (await service.post(request(document(3, END)))).status == 201
        service.now += 2
        assert (await service.post(forged)).status == 401


async def test_who_knows_a_public_key_cannot_use_up_its_limit(tmp_path: Path) -> None:
    """Wrong signatures are not charged to the key that is named."""
    database = str(tmp_path / "ledger")
    admit(database, KEY)
    async with calling(tmp_path, database, NOW) as service:
        forged = write_request(KEY.public, [SignedText(document(1, END), b"x")] * 500)
        assert (await service.post(forged)).status == 401
        assert (await service.post(request(document(1, END)))).status == 201


async def test_who_repeats_what_is_published_cannot_use_up_a_keys_limit(tmp_path: Path) -> None:
    """Published documents and their signatures are public, also those of past months and those that are withdrawn."""
    database = str(tmp_path / "ledger")
    admit(database, KEY)
    withdrawn = document(1, END - 60)
    async with calling(tmp_path, database, NOW) as service:
        assert (await service.post(request(document(1, END), withdrawn))).status == 201
        with contextlib.closing(open_database(database)) as opened:
            Ledger(opened).withdraw(sha256(withdrawn).hexdigest())
        for text, status in (document(1, END), 200), (withdrawn, 409), (document(1, END - 31 * DAY), 422):
            assert (await service.post(request(*[text] * 500))).status == status
        assert (await service.post(request(document(1, END - 120)))).status == 201


# The ledger


async def test_documents_that_wait_together_are_committed_together(tmp_path: Path, database_url: str) -> None:
    """64 requests at once take a few transactions, and each gets its own answer."""
    admit(database_url, KEY, bridges=[bridge(number) for number in range(64)])
    async with calling(tmp_path, database_url, NOW, per_key=FREE) as service:
        bodies = [request(document(number, END)) for number in range(64)]
        answers = await asyncio.gather(*(service.post(body) for body in (*bodies, *bodies[:8])))
        assert [answer.status for answer in answers] == [201] * 64 + [200] * 8
        assert service.number("commit_seconds_count") <= 8
        assert service.number("documents_total", outcome="published") == 64
        assert service.number("documents_total", outcome="known") == 8
    assert len(texts_in(database_url)) == 64


async def test_a_full_disk_refuses_and_nothing_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All that wait get 503 and health says so; with space again it works by itself, and 201 meant on the disk."""
    with disk.mount(tmp_path / "disk", 1 << 20) as small:
        database = str(small.folder / "ledger")
        admit(database, KEY)
        async with calling(tmp_path, database, NOW, per_key=FREE) as service:
            assert (await service.get("/v1/health")).status == 200
            assert (await service.post(request(document(1, END)))).status == 201
            small.fill()
            accepted = {document(1, END)}
            statuses: list[int] = []
            for number in range(1, 200):
                texts = [document(1, END - 60 * (4 * number + each)) for each in range(4)]
                answers = await asyncio.gather(*(service.post(request(text)) for text in texts))
                accepted |= {text for text, answer in zip(texts, answers, strict=True) if answer.status == 201}
                statuses = [answer.status for answer in answers]
                if 503 in statuses:
                    break
            assert 503 in statuses, "the disk was never full"
            health = await service.get("/v1/health")
            assert (health.status, health.headers["retry-after"]) == (503, "1")
            small.clear()
            while (await service.get("/v1/health")).status != 200:  # noqa: ASYNC110 - asked as a monitor asks
                await asyncio.sleep(0.05)
            assert (await service.post(request(document(1, END - DAY)))).status == 201
            assert service.number("ledger_errors_total") >= 1
        assert accepted | {document(1, END - DAY)} <= texts_in(database)
    assert [record.getMessage() for record in caplog.records][-1] == "the ledger works again"


async def test_a_lost_database_refuses_until_it_is_back(tmp_path: Path, postgresql_server: Server) -> None:
    """PostgreSQL ends every connection and takes none: 503; afterwards documents are taken without a restart."""
    database = postgresql_server.create_database()
    name = database.partition("?")[0].rpartition("/")[2]
    admit(database, KEY)
    with psycopg.connect(postgresql_server.create_database(), autocommit=True) as administrator:

        def execute(statement: str) -> None:
            administrator.execute(statement.encode())

        async with calling(tmp_path, database, NOW) as service:
            assert (await service.post(request(document(1, END)))).status == 201
            execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
            execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
            refused = await service.post(request(document(1, END - DAY)))
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert (await service.get("/v1/health")).status == 503
            execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
            while (await service.get("/v1/health")).status != 200:  # noqa: ASYNC110 - asked as a monitor asks
                await asyncio.sleep(0.05)
            assert (await service.post(request(document(1, END - DAY)))).status == 201
    assert texts_in(database) == {document(1, END), document(1, END - DAY)}


async def test_a_database_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another program has the ledger, requests get 503 after a while and then at once; afterwards it goes on."""
    monkeypatch.setattr(committing, "COMMIT_SECONDS", 0.2)
    database = str(tmp_path / "ledger")
    admit(database, KEY)
    async with calling(tmp_path, database, NOW) as service:
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert (await service.post(request(document(1, END)))).status == 503
            assert (await service.get("/v1/health")).status == 503
            assert (await service.post(request(document(1, END - DAY)))).status == 503
            assert service.number("ledger_errors_total") == 0
        while (await service.get("/v1/health")).status != 200:  # noqa: ASYNC110 - asked as a monitor asks
            await asyncio.sleep(0.01)
        # What was in the ledger's hands is there: its sender gets 200 for sending it again.
        assert (await service.post(request(document(1, END)))).status == 200


# Errors, and what is visible


async def test_an_unexpected_error_is_answered_and_logged_without_what_was_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """500 in JSON; the log has the error's class and line, neither its text nor a traceback."""
    async with calling(tmp_path, str(tmp_path / "ledger"), NOW) as service:

        def broken_clock() -> float:
            raise LookupError("a request by 192.0.2.7")

        service.service.clock = broken_clock
        answer = await service.post(request(document(1, END)))
        assert (answer.status, answer.detail) == (500, "internal error")
    (record,) = caplog.records
    assert record.getMessage().startswith("internal error: LookupError at collect/server/service.py:")
    assert record.exc_info is None


def test_an_error_of_another_package_is_its_class() -> None:
    """No line of ours is in it."""
    assert describe_error(ValueError("192.0.2.7")) == "ValueError"


async def test_a_client_that_leaves_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half a body, then nothing: nothing is logged, and nothing is kept of it."""
    async with calling(tmp_path, str(tmp_path / "ledger"), NOW) as service:
        left = await service.call("POST", DOCUMENTS_PATH, [b'{"key"', None], [JSON])
        assert left.status == 500
        assert (await service.post(request(document(1, END)))).status == 202
    assert not caplog.records


async def test_no_number_names_a_bridge_a_key_or_a_moment(tmp_path: Path) -> None:
    """Whatever was sent, /metrics has counts alone, and the labels that it has from the start."""
    database = str(tmp_path / "ledger")
    admit(database, KEY)
    async with calling(tmp_path, database, NOW) as service:
        before = {line.rpartition(" ")[0] for line in (await service.get("/metrics")).body.decode().splitlines()}
        for body in (
            request(document(1, END)),
            request(document(2, END), key=STRANGER),
            b"{",
            write_request(KEY.public, [SignedText(b"x", b"x")]),
        ):
            await service.post(body)
        answer = await service.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        text = answer.body.decode()
        assert {line.rpartition(" ")[0] for line in text.splitlines()} == before
        assert "_created" not in text
        assert 'documents_total{outcome="published"} 1.0' in text
        assert 'refused_requests_total{status="400"} 1.0' in text


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", DOCUMENTS_PATH, "POST"), ("DELETE", "/v1/status", "GET, HEAD"), ("POST", "/index.json", "GET, HEAD")],
)
async def test_another_method_is_refused(tmp_path: Path, method: str, path: str, allow: str) -> None:
    """405 names those that there are."""
    async with calling(tmp_path, str(tmp_path / "ledger"), NOW) as service:
        answer = await service.get(path, method=method)
        assert answer.status == 405
        assert set(answer.headers["allow"].split(", ")) == set(allow.split(", "))


# Public files


async def test_public_files_are_served(tmp_path: Path) -> None:
    """GET and HEAD, also of a name that leads to another one."""
    async with calling(tmp_path, str(tmp_path / "ledger"), NOW) as service:
        (service.public / "index").mkdir()
        content = bytes(range(256)) * 4096
        (service.public / "index.json.xz").write_bytes(content)
        (service.public / "index" / "index.json.xz").symlink_to("../index.json.xz")
        for path in ("/index.json.xz", "/index/index.json.xz"):
            answer = await service.get(path)
            assert (answer.status, answer.body) == (200, content)
            head = await service.get(path, method="HEAD")
            assert (head.status, head.body) == (200, b"")
            for headers in (answer.headers, head.headers):
                assert headers["content-length"] == str(len(content))
                assert headers["content-type"] == "application/x-xz"
                assert headers["x-content-type-options"] == "nosniff"


async def test_a_file_that_is_replaced_meanwhile_is_sent_as_it_was(tmp_path: Path) -> None:
    """Length and content are of one version."""
    async with calling(tmp_path, str(tmp_path / "ledger"), NOW) as service:
        path = service.public / "index.json"
        stop = threading.Event()

        def publish() -> None:
            length = 1
            while not stop.is_set():
                length = length % 5000 + 1
                path.with_name(".index.json").write_bytes(b"x" * length)
                path.with_name(".index.json").rename(path)

        publishing = threading.Thread(target=publish)
        publishing.start()
        try:
            while not path.exists():  # noqa: ASYNC110 - another thread makes it
                await asyncio.sleep(0)
            for _ in range(200):
                answer = await service.get("/index.json")
                assert answer.headers["content-length"] == str(len(answer.body))
        finally:
            stop.set()
            publishing.join()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/recent",
        "/recent/",
        "/.hidden",
        "/recent/.hidden",
        "/../secret",
        "/recent/../../secret",
        "//secret",
        "/link",
        "/loop",
        "/pipe",
        "/recent/\0",
        "/" + "x" * 5000,
        "/v1/documents/",
        "/v1/nothing",
    ],
)
async def test_nothing_else_is_served(tmp_path: Path, path: str) -> None:
    """No listing, no unfinished file, nothing outside the folder, whatever the path or a link says."""
    async with calling(tmp_path, str(tmp_path / "ledger"), NOW) as service:
        (tmp_path / "secret").write_text("secret")
        (service.public / "recent").mkdir()
        (service.public / ".hidden").write_text("secret")
        (service.public / "recent" / ".hidden").write_text("secret")
        (service.public / "link").symlink_to(tmp_path / "secret")
        (service.public / "loop").symlink_to("loop")
        os.mkfifo(service.public / "pipe")
        answer = await service.get(path)
        assert (answer.status, answer.detail) == (404, "Not Found")
