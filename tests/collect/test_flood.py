"""Forged, replayed, mutated, malformed and squatting submissions, among honest ones: none is published.

OBFSTATS_FLOOD sets how many there are; 100,000 is what a change of the service is tried with.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from obfstats.collect.server.limits import UNKNOWN_KEYS, Rate
from obfstats.collect.store.admission import MAX_WAITING_PER_KEY, Status
from obfstats.collect.store.database import open_database
from obfstats.collect.store.ledger import Ledger
from tests.collect.flooding import ANSWERS, Flood
from tests.collect.services import Answer, Called, admit, calling
from tests.proxy.honest import resident

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.collect.flooding import Post

COUNT = int(os.environ.get("OBFSTATS_FLOOD", "10000"))
"""Attacks."""

AT_ONCE = 64
"""Requests at once; one of them is honest."""

MEMORY = 24 << 20
"""Bytes by which the process may grow while the flood lasts, once a tenth of it has come."""

NO_LIMIT = Rate(10**12, 1)


def admit_all(database: str, flood: Flood) -> None:
    """Admit the keys: of every second bridge with its name, the others for the first bridge that they send."""
    for number, bridge in enumerate((*flood.honest, flood.squatter)):
        admit(database, bridge.key, bridges=[bridge.fingerprint] if number % 2 else [])


async def send(service: Called, posts: Iterable[Post]) -> list[Answer]:
    """Send requests, all at once."""
    return await asyncio.gather(
        *(service.post(post.body, [(b"content-type", post.content_type.encode("latin-1"))]) for post in posts)
    )


@contextlib.contextmanager
def opened(database: str) -> Iterator[Ledger]:
    """The ledger, as another program sees it."""
    with contextlib.closing(open_database(database)) as database_:
        yield Ledger(database_)


def published(ledger: Ledger) -> list[bytes]:
    """All texts that will be published, sorted."""
    ledger.assign_recent("recent")
    return sorted(document.text for document in ledger.read_recent("recent"))


async def test_a_flood_publishes_nothing_and_stops_no_honest_bridge(tmp_path: Path) -> None:
    """Each honest document is taken at once; the ledger has these and a bounded quarantine; the memory is flat."""
    database = str(tmp_path / "ledger.sqlite")
    flood = Flood(random.Random(20), int(time.time()))
    admit_all(database, flood)
    sizes: list[int] = []
    async with calling(tmp_path, database, flood.now, per_key=NO_LIMIT, unknown_keys=NO_LIMIT) as service:
        # Each bridge has a claim, and something that can be replayed.
        for answer in await send(service, [flood.honest_post() for _ in range(len(flood.honest) + 1)]):
            assert answer.status == 201
        attacks = flood.attacks()
        for begin in range(0, COUNT, AT_ONCE - 1):
            if begin >= COUNT // 10:
                sizes.append(resident(os.getpid()))
            posts = [*islice(attacks, AT_ONCE - 1), flood.honest_post()]
            for post, answer in zip(posts, await send(service, posts), strict=True):
                assert answer.status in ANSWERS[post.kind], (post, answer)
    assert max(sizes) - sizes[0] < MEMORY
    with opened(database) as ledger:
        assert published(ledger) == sorted(accepted.signed.text for accepted in flood.accepted)
        waiting = Counter(document.key for document in ledger.review())
        statuses = {document.status for document in ledger.review()}
    assert max(waiting.values()) <= MAX_WAITING_PER_KEY
    assert flood.squatter.key.public in waiting
    assert statuses == {Status.QUARANTINED, Status.CONFLICTING}


async def test_unknown_keys_use_up_their_own_limit_only(tmp_path: Path) -> None:
    """With a collector's limits and a clock that does not move: so many are judged, the rest is told to wait."""
    database = str(tmp_path / "ledger.sqlite")
    flood = Flood(random.Random(21), int(time.time()), strangers=100)
    admit_all(database, flood)
    judged = 0
    async with calling(tmp_path, database, flood.now) as service:
        for _ in range(20):
            answers = await send(service, [flood.unknown_post() for _ in range(AT_ONCE)])
            judged += sum(len(answer.results) for answer in answers if b'"documents"' in answer.body)
            (honest,) = await send(service, [flood.honest_post()])
            assert honest.status == 201
    assert judged == UNKNOWN_KEYS.burst
    with opened(database) as ledger:
        assert published(ledger) == sorted(accepted.signed.text for accepted in flood.accepted)
