"""Forged, replayed, mutated, malformed and squatting submissions, among honest ones: none is published.

OBFSTATS_FLOOD sets how many there are; it is what a change of the service is tried with.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from obfstats.collect.server.committing import Committer
from obfstats.collect.server.limits import UNKNOWN_KEYS, Limits, Rate
from obfstats.collect.server.metrics import Metrics
from obfstats.collect.server.service import Service
from obfstats.collect.store.admission import MAX_WAITING_PER_KEY
from obfstats.collect.store.database import open_database
from obfstats.collect.store.ledger import Ledger
from obfstats.collect.submission import DOCUMENTS_PATH
from tests.collect.flooding import ANSWERS, Flood
from tests.proxy.honest import resident

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from starlette.types import ASGIApp, Message

    from tests.collect.flooding import Post

COUNT = int(os.environ.get("OBFSTATS_FLOOD", "10000"))
"""Attacks. Issue 20 asks for 100,000."""

AT_ONCE = 64
"""Requests at once; one of them is honest."""

MEMORY = 24 << 20
"""Bytes by which the process may grow while the flood lasts, once a tenth of it has come."""

NO_LIMIT = Rate(10**12, 1)


class Answer(NamedTuple):
    """What a request was answered with."""

    status: int
    body: dict[str, Any]


async def send(application: ASGIApp, post: Post) -> Answer:
    """Send one request to the application, as a server would."""
    headers = [(b"content-type", post.content_type.encode("latin-1")), (b"content-length", b"%d" % len(post.body))]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": DOCUMENTS_PATH, "raw_path": DOCUMENTS_PATH.encode(), "query_string": b"", "root_path": "",
        "headers": headers, "client": None, "server": None,
    }  # fmt: skip
    answer: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": post.body, "more_body": False}

    async def take(message: Message) -> None:
        answer.append(message)

    await application(scope, receive, take)
    start, *bodies = answer
    return Answer(start["status"], json.loads(b"".join(message["body"] for message in bodies)))


class Collector:
    """The service without its sockets and its publisher."""

    def __init__(self, folder: Path, flood: Flood, limits: Limits) -> None:
        """Admit the flood's keys: of every second bridge with its name, the others for one bridge of their choice."""
        self._url = str(folder / "ledger.sqlite")
        self.ledger = Ledger(open_database(self._url))
        for number, (key, bridge) in enumerate(flood.keys.items()):
            self.ledger.admit(key, [bridge] if number % 2 else [])
        metrics = Metrics()
        self.committer = Committer(self._url, metrics, lambda: flood.now)
        service = Service(self.committer, metrics, 3600, limits, lambda: flood.now)
        self.application = service.make_application(folder)

    async def send(self, posts: Iterable[Post]) -> list[Answer]:
        """Send requests, all at once."""
        return await asyncio.gather(*(send(self.application, post) for post in posts))

    def published(self) -> list[bytes]:
        """All texts that will be published, sorted."""
        self.ledger.assign_recent("recent")
        return sorted(document.text for document in self.ledger.read_recent("recent"))


def test_a_flood_publishes_nothing_and_stops_nobody(tmp_path: Path) -> None:
    """Each honest document is taken at once; the ledger has these, a bounded quarantine, and the memory is flat."""
    flood = Flood(random.Random(20), int(time.time()))
    collector = Collector(tmp_path, flood, Limits(time.monotonic, NO_LIMIT, NO_LIMIT))
    sizes: list[int] = []

    async def story() -> None:
        collector.committer.start()
        # Each bridge has a claim, and something that can be replayed.
        for answer in await collector.send([flood.honest_post() for _ in range(len(flood.keys))]):
            assert answer.status == 201
        attacks = flood.attacks()
        for begin in range(0, COUNT, AT_ONCE - 1):
            if begin >= COUNT // 10:
                sizes.append(resident(os.getpid()))
            posts = [*islice(attacks, AT_ONCE - 1), flood.honest_post()]
            for post, answer in zip(posts, await collector.send(posts), strict=True):
                assert answer.status in ANSWERS[post.kind], (post, answer)
        collector.committer.stop()

    asyncio.run(story())
    assert max(sizes) - sizes[0] < MEMORY
    assert collector.published() == sorted(accepted.signed.text for accepted in flood.accepted)
    waiting = [(listed.key, listed.status) for listed in collector.ledger.review()]
    assert {key for key, _ in waiting} >= {flood.squatter.key.public}
    assert max(map([key for key, _ in waiting].count, {key for key, _ in waiting})) <= MAX_WAITING_PER_KEY


def test_unknown_keys_use_up_their_own_limit_only(tmp_path: Path) -> None:
    """With the limits of a collector and a clock that stands still: so many are judged, the rest is told to wait."""
    flood = Flood(random.Random(21), int(time.time()), strangers=100)
    collector = Collector(tmp_path, flood, Limits(lambda: 0.0))

    async def story() -> None:
        collector.committer.start()
        while len(collector.committer.admitted) < len(flood.keys):  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0.01)
        judged = 0
        for _ in range(40):
            answers = await collector.send([flood.unknown_post() for _ in range(AT_ONCE)])
            judged += sum(2 for answer in answers if answer.status != 429 or "documents" in answer.body)
            (honest,) = await collector.send([flood.honest_post()])
            assert honest.status == 201
        assert judged == UNKNOWN_KEYS.burst
        collector.committer.stop()

    asyncio.run(story())
    assert collector.published() == sorted(accepted.signed.text for accepted in flood.accepted)
