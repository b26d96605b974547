"""Group commit: one thread makes durable, in one transaction, the documents of all requests that wait at that moment.

Rules:

- A request is answered after its documents are on the disk, or with Unavailable. Nothing else is kept of it.
- One thread, one connection to the database. The event loop never waits for a disk.
- When the ledger fails, every request that waits gets Unavailable, and new ones at once, until the thread has opened
  the database again. It tries that every RETRY_SECONDS.
- What waits is bounded. A request is one transaction's: its documents are decided together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from obfstats.collect.server.reports import describe_error
from obfstats.collect.store.database import DatabaseError, open_database
from obfstats.collect.store.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from obfstats.collect.server.metrics import Metrics
    from obfstats.collect.store.admission import Decision
    from obfstats.collect.store.database import Database
    from obfstats.collect.submission import KeyStatus, Submission

MAX_BATCH = 1000
"""Documents after which a transaction takes no further request."""

MAX_WAITING = 4000
"""Documents and questions that may wait for the thread."""

RETRY_SECONDS = 1
"""After the ledger has failed, so long until it is opened again; what a client is told to wait."""

COMMIT_SECONDS = 20
"""So long a request waits for the ledger; after that its sender must send it again."""

REFRESH_SECONDS = 5
"""How often the admitted keys are read."""

_Answer = TypeVar("_Answer")

_log = logging.getLogger(__name__)


class Unavailable(Exception):  # noqa: N818 - not an error of the program
    """The ledger cannot take documents now. Whoever sent them must send them again."""


class _Batch(NamedTuple):
    submissions: Sequence[Submission]
    decided: asyncio.Future[list[Decision]]


class _Question(NamedTuple):
    key: str
    answered: asyncio.Future[KeyStatus]


_Job = _Batch | _Question


class Committer:
    """The ledger, as an event loop uses it. Everything but the thread's own work runs on the loop.

    Attributes:
        admitted: the keys that are admitted, as of a few seconds ago.
    """

    def __init__(self, url: str, metrics: Metrics, clock: Callable[[], float] = time.time) -> None:
        """Prepare; `start` opens the database.

        Args:
            url: as for `open_database`.
            metrics: where commits and failures are counted.
            clock: seconds since 1970.
        """
        self.admitted: frozenset[str] = frozenset()
        self._url = url
        self._metrics = metrics
        self._clock = clock
        self._waiting = 0
        self._is_failing = False
        self._busy_since: float | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> None:
        """Start the thread; for the event loop that runs."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """End the thread after what it is doing. A disk that hangs is not waited for."""
        self._stopping.set()
        self._jobs.put(None)
        self._thread.join(RETRY_SECONDS)

    @property
    def is_healthy(self) -> bool:
        """Whether the ledger answers: its last use succeeded, and none takes COMMIT_SECONDS."""
        since = self._busy_since
        return not self._is_failing and (since is None or time.monotonic() - since < COMMIT_SECONDS)

    async def commit(self, submissions: Sequence[Submission]) -> list[Decision]:
        """Have documents decided, and made durable.

        Raises:
            Unavailable: if the ledger fails, or does not answer; some may be durable nevertheless.
        """
        decided: asyncio.Future[list[Decision]] = asyncio.get_running_loop().create_future()
        return await self._wait(_Batch(submissions, decided), decided, len(submissions))

    async def status_of(self, key: str) -> KeyStatus:
        """Ask what the ledger has of a key.

        Raises:
            Unavailable: if it fails, or does not answer.
        """
        answered: asyncio.Future[KeyStatus] = asyncio.get_running_loop().create_future()
        return await self._wait(_Question(key, answered), answered, 1)

    async def _wait(self, job: _Job, answer: asyncio.Future[_Answer], size: int) -> _Answer:
        if not self.is_healthy or self._waiting + size > MAX_WAITING:
            raise Unavailable
        self._waiting += size
        try:
            self._jobs.put(job)
            async with asyncio.timeout(COMMIT_SECONDS):
                return await answer
        except TimeoutError:
            raise Unavailable from None
        finally:
            self._waiting -= size

    # The thread

    def _run(self) -> None:
        database: Database | None = None
        ledger: Ledger | None = None
        refresh_time = 0.0
        while not self._stopping.is_set():
            jobs = self._take_jobs(REFRESH_SECONDS if database else 0)
            self._busy_since = time.monotonic()
            try:
                if database is None or ledger is None:
                    database = open_database(self._url)
                    ledger = Ledger(database)
                self._serve(ledger, jobs)
                if time.monotonic() >= refresh_time:
                    self.admitted = ledger.admitted_keys()
                    self._metrics.quarantined.set(ledger.count_quarantined())
                    refresh_time = time.monotonic() + REFRESH_SECONDS
                self._report_recovery()
            except Exception as error:  # noqa: BLE001 - the thread must go on, and each waiting request be answered
                self._fail(jobs, error)
                if database:
                    database.close()
                database = None
                self._stopping.wait(RETRY_SECONDS)
            finally:
                self._busy_since = None
        if database:
            database.close()

    def _take_jobs(self, timeout: float) -> list[_Job]:
        """Take what waits, up to MAX_BATCH documents; wait for the first so many seconds."""
        jobs: list[_Job] = []
        size = 0
        with contextlib.suppress(queue.Empty):
            job = self._jobs.get(timeout=timeout) if timeout else self._jobs.get_nowait()
            while job is not None:
                jobs.append(job)
                size += len(job.submissions) if isinstance(job, _Batch) else 1
                if size >= MAX_BATCH:
                    break
                job = self._jobs.get_nowait()
        return jobs

    def _serve(self, ledger: Ledger, jobs: list[_Job]) -> None:
        batches = [job for job in jobs if isinstance(job, _Batch)]
        if batches:
            started = time.monotonic()
            documents = [submission for batch in batches for submission in batch.submissions]
            decisions = iter(ledger.accept(documents, int(self._clock())))
            self._metrics.commit_seconds.observe(time.monotonic() - started)
            self._answer([(batch.decided, [next(decisions) for _ in batch.submissions]) for batch in batches])
        questions = [job for job in jobs if isinstance(job, _Question)]
        if questions:
            self._answer([(question.answered, ledger.status_of(question.key)) for question in questions])

    def _fail(self, jobs: list[_Job], error: Exception) -> None:
        was_failing, self._is_failing = self._is_failing, True
        self._metrics.ledger_errors.inc()
        if not was_failing:
            reason = str(error) if isinstance(error, DatabaseError) else describe_error(error)
            _log.error("documents are refused, the ledger failed: %s", reason)
        while more := self._take_jobs(0):
            jobs += more
        self._answer([(job.decided if isinstance(job, _Batch) else job.answered, Unavailable()) for job in jobs])

    def _report_recovery(self) -> None:
        if self._is_failing:
            self._is_failing = False
            _log.warning("the ledger works again")

    def _answer(self, answers: list[tuple[asyncio.Future[Any], object]]) -> None:
        """Give the loop its answers in one call. Once the loop has ended, nobody waits."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_resolve, answers)


def _resolve(answers: list[tuple[asyncio.Future[Any], object]]) -> None:
    for future, answer in answers:
        if future.done():
            continue
        if isinstance(answer, Unavailable):
            future.set_exception(answer)
        else:
            future.set_result(answer)
