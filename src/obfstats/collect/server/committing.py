"""Group commit: one thread makes durable, in one transaction, the documents of all requests that wait at that moment.

Rules:

- A request is answered after its documents are on the disk, or with Unavailable. Nothing else is kept of it.
- One thread, one connection to the database. The event loop never waits for a disk.
- When the ledger fails, every request that waits gets Unavailable, and new ones at once, until the thread has opened
  the database again. It tries that every RETRY_SECONDS.
- What waits is bounded. While the thread commits one group, the next one gathers on the event loop.
- A request is one transaction's: its documents are decided together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from obfstats.collect.server.reports import describe_error
from obfstats.collect.store.database import DatabaseError, open_database
from obfstats.collect.store.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from obfstats.collect.server.metrics import CollectorMetrics
    from obfstats.collect.store.admission import Decision
    from obfstats.collect.submission import KeyStatus, Submission

MAX_BATCH = 1000
"""Documents after which a transaction takes no further request."""

MAX_WAITING = 4000
"""Documents and questions that may wait for the thread."""

RETRY_SECONDS = 1
"""Seconds after a failure until the ledger is opened again; also the Retry-After of an answer."""

COMMIT_SECONDS = 20
"""Seconds that a request waits for the ledger; after that its sender must send it again."""

REFRESH_SECONDS = 5
"""Seconds after which the admitted keys are read again."""

# A question takes a transaction of its own: documents do not wait for many.
_QUESTION_COST = 20

_Answer = TypeVar("_Answer")

_log = logging.getLogger(__name__)


class Unavailable(Exception):  # noqa: N818 - not an error of the program
    """The ledger cannot accept documents now. Their sender must send them again."""


class _Batch(NamedTuple):
    submissions: Sequence[Submission]
    answer: asyncio.Future[list[Decision]]


class _Question(NamedTuple):
    key: str
    answer: asyncio.Future[KeyStatus]


_Job = _Batch | _Question


class Committer:
    """The ledger, as an event loop uses it. Everything but the thread's own work runs on the loop.

    Attributes:
        admitted: the keys that are admitted, as of a few seconds ago.
    """

    def __init__(self, url: str, metrics: CollectorMetrics, clock: Callable[[], float] = time.time) -> None:
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
        self._waiting: deque[_Job] = deque()
        self._waiting_size = 0
        self._is_failing = False
        self._is_hanging = False
        self._group: list[_Job] = []
        self._timeout: asyncio.TimerHandle | None = None
        self._groups: queue.SimpleQueue[list[_Job]] = queue.SimpleQueue()
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
        self._groups.put([])
        self._thread.join(RETRY_SECONDS)

    @property
    def is_healthy(self) -> bool:
        """Whether the ledger answers: its last use succeeded, and none takes more than COMMIT_SECONDS."""
        return not self._is_failing and not self._is_hanging

    async def commit(self, submissions: Sequence[Submission]) -> list[Decision]:
        """Have documents decided, and made durable.

        Raises:
            Unavailable: if the ledger fails, or does not answer; some may be durable nevertheless.
        """
        answer: asyncio.Future[list[Decision]] = asyncio.get_running_loop().create_future()
        return await self._wait(_Batch(submissions, answer), answer, len(submissions))

    async def status_of(self, key: str) -> KeyStatus:
        """Ask what the ledger has of a key.

        Raises:
            Unavailable: if it fails, or does not answer.
        """
        answer: asyncio.Future[KeyStatus] = asyncio.get_running_loop().create_future()
        return await self._wait(_Question(key, answer), answer, 1)

    async def _wait(self, job: _Job, answer: asyncio.Future[_Answer], size: int) -> _Answer:
        if not self.is_healthy or self._waiting_size + size > MAX_WAITING:
            raise Unavailable
        self._waiting_size += size
        try:
            self._waiting.append(job)
            if not self._group:
                self._hand_over()
            return await answer
        finally:
            self._waiting_size -= size

    def _hand_over(self) -> None:
        """Give the thread what waits, up to MAX_BATCH documents. What comes meanwhile is the next group."""
        jobs: list[_Job] = []
        size = 0
        while self._waiting and size < MAX_BATCH:
            job = self._waiting.popleft()
            if not job.answer.done():
                jobs.append(job)
                size += len(job.submissions) if isinstance(job, _Batch) else _QUESTION_COST
        if jobs and self._loop is not None:
            self._group = jobs
            self._timeout = self._loop.call_later(COMMIT_SECONDS, self._on_timeout)
            self._groups.put(jobs)

    def _on_timeout(self) -> None:
        """Answer all that waits with Unavailable; the thread still has its group, and the ledger may accept it."""
        self._is_hanging = True
        self._refuse_waiting(self._group)

    def _refuse_waiting(self, jobs: list[_Job]) -> None:
        for job in (*jobs, *self._waiting):
            if not job.answer.done():
                job.answer.set_exception(Unavailable())
        self._waiting.clear()

    def _end_group(self) -> None:
        """Note that the thread has nothing to do."""
        if self._timeout is not None:
            self._timeout.cancel()
        self._group = []
        self._is_hanging = False

    def _finish(self, jobs: list[_Job], answers: list[Any]) -> None:
        """Pass the thread's answers on, and give it what came meanwhile."""
        for job, answer in zip(jobs, answers, strict=True):
            if not job.answer.done():
                job.answer.set_result(answer)
        self._end_group()
        self._hand_over()

    def _fail(self, jobs: list[_Job], reason: str) -> None:
        """Answer all that waits with Unavailable."""
        if not self._is_failing:
            _log.error("documents are refused, the ledger failed: %s", reason)
        self._is_failing = True
        self._end_group()
        self._refuse_waiting(jobs)

    def _recover(self) -> None:
        if self._is_failing:
            _log.warning("the ledger works again")
        self._is_failing = False

    # The thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            jobs: list[_Job] = []
            try:
                with contextlib.closing(open_database(self._url)) as database:
                    ledger = Ledger(database)
                    refresh_time = 0.0
                    while not self._stopping.is_set():
                        if time.monotonic() >= refresh_time:
                            self._refresh(ledger)
                            refresh_time = time.monotonic() + REFRESH_SECONDS
                        with contextlib.suppress(queue.Empty):
                            jobs = self._groups.get(timeout=REFRESH_SECONDS)
                            self._call_on_loop(self._finish, jobs, self._answer(ledger, jobs))
                            jobs = []
            except Exception as error:  # noqa: BLE001 - the thread must go on, and each waiting request be answered
                self._metrics.ledger_errors.inc()
                with contextlib.suppress(queue.Empty):
                    while True:
                        jobs += self._groups.get_nowait()
                reason = str(error) if isinstance(error, DatabaseError) else describe_error(error)
                self._call_on_loop(self._fail, jobs, reason)
                self._stopping.wait(RETRY_SECONDS)

    def _refresh(self, ledger: Ledger) -> None:
        self.admitted = ledger.admitted_keys()
        self._metrics.quarantined.set(ledger.count_quarantined())
        self._call_on_loop(self._recover)

    def _answer(self, ledger: Ledger, jobs: list[_Job]) -> list[Any]:
        """Commit the documents of all jobs in one transaction; then answer the questions."""
        submissions = [each for job in jobs if isinstance(job, _Batch) for each in job.submissions]
        decisions: Iterator[Decision] = iter(())
        if submissions:
            started = time.monotonic()
            decisions = iter(ledger.accept(submissions, int(self._clock())))
            self._metrics.commit_seconds.observe(time.monotonic() - started)
        return [
            list(islice(decisions, len(job.submissions))) if isinstance(job, _Batch) else ledger.status_of(job.key)
            for job in jobs
        ]

    def _call_on_loop(self, function: Callable[..., None], *arguments: object) -> None:
        """Have the loop call something. Once the loop has ended, no request waits."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function, *arguments)
