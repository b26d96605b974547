"""Unfinished handshakes of a bridge's clients: how many at once, and whose costly step is computed next.

Costly steps (modular exponentiations; 100,000 hashes where obfs2 has a secret) are jobs for other threads:

- Networks (an IPv4 /24, an IPv6 /48) take turns, and one job of each runs at a time. So an honest client waits for one
  job of every other network at most, however many of them wait.
- A client that has reset its connection is skipped. Reading is paused while a job waits, so nothing else notices.

Where there are too many unfinished handshakes, of one network or in all, one is closed before the next is counted. It
is one of the stage that has the most:

- The oldest of those whose clients have to go on: an honest one is done within a second or two.
- A random one of those whose jobs wait: the oldest is the next in line, so a flood that closed the oldest ones would
  keep everybody out.

A client that was answered just now is closed only where most handshakes are such and none is older.

An address is never kept, and a network only as long as it has unfinished handshakes. Nothing here does IO.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING

from obfstats.proxy.limits import NETWORK_DIVISOR, network_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from obfstats.formats.address import ClientAddress
    from obfstats.proxy.driver import Job, OnDone, RunJob
    from obfstats.proxy.limits import Limits
    from obfstats.proxy.privacy import LogFormatter

JOBS_PER_THREAD = 8
"""Jobs that the executor has at once, for each of its threads: enough until the loop can hand over the next ones."""


class _Stage(Enum):
    """What a handshake waits for: its client's first bytes, its turn, its job's end, its client's next bytes."""

    SILENT = auto()
    WAITING = auto()
    RUNNING = auto()
    ANSWERED = auto()


class _Group:
    """The unfinished handshakes of one network, or of all, by their stages; in each the oldest first."""

    __slots__ = ("stages",)

    def __init__(self) -> None:
        self.stages: dict[_Stage, OrderedDict[Handshake, None]] = {stage: OrderedDict() for stage in _Stage}

    def __len__(self) -> int:
        return sum(map(len, self.stages.values()))


@dataclass(slots=True, eq=False)
class Handshake:
    """One unfinished handshake.

    Attributes:
        group: its network's.
        is_closed: tells whether either side has closed the connection for good.
        transport: the connection, once there is one.
        is_over: whether it has ended, or was one too many: then its connection is closed, or has to be.
        is_shed: whether it was one too many.
        stage: what it waits for.
        job: its job, and what to call then.
    """

    group: _Group
    is_closed: Callable[[], bool]
    transport: asyncio.Transport | None = None
    is_over: bool = False
    is_shed: bool = False
    stage: _Stage = _Stage.SILENT
    job: tuple[Job, OnDone] | None = None


class Handshakes:
    """The unfinished handshakes of all listeners of a program together."""

    def __init__(
        self, limits: Limits, start_job: RunJob, threads: int, choose: Callable[[list[Handshake]], Handshake]
    ) -> None:
        """Set up.

        Args:
            limits: how many at once.
            start_job: runs a job on another thread.
            threads: how many threads there are.
            choose: returns a random one of a list.
        """
        self._limits = limits
        self._share = max(1, limits.handshakes // NETWORK_DIVISOR)
        self._start_job = start_job
        self._free_jobs = threads * JOBS_PER_THREAD
        self._choose = choose
        self._all = _Group()
        self._by_network: dict[bytes, _Group] = {}
        # The networks whose jobs wait while none of them runs, the next one first.
        self._turns: OrderedDict[_Group, None] = OrderedDict()
        self._closed = 0

    @contextlib.contextmanager
    def count(self, peer: ClientAddress, is_closed: Callable[[], bool]) -> Iterator[Handshake]:
        """Count a handshake as unfinished, as long as the block lasts; another one may be closed for it.

        Args:
            peer: its client.
            is_closed: tells whether either side has closed the connection for good.
        """
        network = network_of(peer)
        group = self._by_network.setdefault(network, _Group())
        if len(group) >= self._share:
            self._close_one(group)
        elif len(self._all) >= self._limits.handshakes:
            self._close_one(self._all)
        handshake = Handshake(group, is_closed)
        self._put(handshake)
        try:
            yield handshake
        finally:
            self._end(handshake)
            if not len(group) and self._by_network.get(network) is group:
                del self._by_network[network]

    def run_job(self, handshake: Handshake, job: Job, on_done: OnDone) -> None:
        """Run a handshake's job when it is its network's turn.

        Args:
            handshake: whose job it is.
            job: what to run.
            on_done: is passed the job's future, unless the handshake is over before.
        """
        if handshake.is_over:
            return
        handshake.job = job, on_done
        self._put(handshake, _Stage.WAITING)
        self._queue(handshake.group)
        self._start_jobs()

    def pop_refusals(self, formatter: LogFormatter) -> list[str]:
        """Return sentences about what was closed since the last call.

        Args:
            formatter: rounds the numbers, or not.
        """
        closed, self._closed = self._closed, 0
        if not closed:
            return []
        return [f"{formatter.number(closed)} unfinished handshakes closed: over the limit (--max-handshakes)"]

    def _put(self, handshake: Handshake, stage: _Stage = _Stage.SILENT) -> None:
        """Make it the newest of a stage."""
        for group in (handshake.group, self._all):
            group.stages[handshake.stage].pop(handshake, None)
            group.stages[stage][handshake] = None
        handshake.stage = stage

    def _end(self, handshake: Handshake) -> None:
        handshake.is_over = True
        for group in (handshake.group, self._all):
            group.stages[handshake.stage].pop(handshake, None)

    def _close(self, handshake: Handshake) -> None:
        self._end(handshake)
        if handshake.transport is not None:
            handshake.transport.abort()

    def _close_one(self, group: _Group) -> None:
        """Close one that is too many."""
        self._closed += 1
        stage = max(_Stage, key=lambda stage: len(group.stages[stage]))
        candidates = group.stages[stage]
        closed = self._choose(list(candidates)) if stage is _Stage.WAITING else next(iter(candidates))
        closed.is_shed = True
        self._close(closed)

    def _queue(self, group: _Group) -> None:
        """Give a network a turn, if its jobs wait and none of them runs."""
        if group.stages[_Stage.WAITING] and not group.stages[_Stage.RUNNING]:
            self._turns[group] = None

    def _start_jobs(self) -> None:
        while self._free_jobs and self._turns:
            group, _ = self._turns.popitem(last=False)
            handshake = self._next_waiting(group)
            if handshake is not None and handshake.job is not None:
                job, on_done = handshake.job
                self._free_jobs -= 1
                self._put(handshake, _Stage.RUNNING)
                self._start_job(job, partial(self._finish_job, handshake, on_done))

    def _next_waiting(self, group: _Group) -> Handshake | None:
        """Return the oldest one of a network that waits; close those whose clients have reset their connections."""
        while group.stages[_Stage.WAITING]:
            handshake = next(iter(group.stages[_Stage.WAITING]))
            if not handshake.is_closed():
                return handshake
            self._close(handshake)
        return None

    def _finish_job(self, handshake: Handshake, on_done: OnDone, future: asyncio.Future[object]) -> None:
        self._free_jobs += 1
        handshake.job = None
        if not handshake.is_over:
            self._put(handshake, _Stage.ANSWERED)
        self._queue(handshake.group)
        self._start_jobs()
        if not handshake.is_over:
            on_done(future)
