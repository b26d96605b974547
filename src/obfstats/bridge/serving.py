"""The program while it runs: listeners, signals, and its end.

On SIGTERM and SIGINT, and at the end of standard input where tor asks for that, nothing is flushed, S is wiped first
of all, and the process is gone within a second (ticket 5047, step 6). SIGHUP opens the logs anew and reads the GeoIP
files again; S and TS stay.

Where there is a companion, signals are passed on to it, and this program ends when it has ended: SIGINT and the end of
standard input are its own affair, and after SIGTERM it has some seconds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING, Protocol

from obfstats import __version__
from obfstats.bridge import logs, process
from obfstats.bridge.heartbeat import Heartbeat
from obfstats.bridge.ticking import Ticker
from obfstats.proxy.limits import MOST_CONNECTIONS, MOST_HANDSHAKES, NETWORKS_SHARE, Gate, Limits
from obfstats.proxy.listener import Listener
from obfstats.proxy.service import Context

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Sequence

    from obfstats.bridge.commands import LimitOptions
    from obfstats.bridge.statistics import Statistics
    from obfstats.formats.address import ClientAddress
    from obfstats.proxy.privacy import Show
    from obfstats.record.clock import Clock

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What is listened to. A program may block them until the loop runs, which unblocks them."""

_SPARE_DESCRIPTORS = 64
_STDIN = 0
_CHUNK = 1 << 12

_log = logging.getLogger(__name__)


class Service(Protocol):
    """Serves connections."""

    def handle(self, accepted: socket.socket, peer: ClientAddress, on_closed: Callable[[], None], /) -> None:
        """Serve one, whose socket does not block; `on_closed` is called once, when it is closed."""

    def report(self) -> None:
        """Log what has failed since the last report."""

    def cut_off(self) -> None:
        """Close every connection at once."""


class Companion(Protocol):
    """Another program beside this one, which lasts as long as that one does."""

    def begin(self, ended: Callable[[str], None]) -> None:
        """Attend to it on the running loop; call `ended` when it ends, with a sentence that says so."""

    def tell(self, number: signal.Signals) -> None:
        """Pass a signal on."""

    async def end(self) -> None:
        """End it, if it has not ended, and wait for that."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where connections come in, and who takes them."""

    listening: socket.socket
    service: Service


@dataclass(frozen=True, slots=True)
class Program:
    """What runs.

    Attributes:
        name: what it calls itself.
        context: what every service shares.
        clock: what tells the time.
        statistics: who counts, or None.
        beats: whether there is a heartbeat: on a bridge's side, as in the old programs.
        ends_with_stdin: whether the end of standard input ends the program.
        companion: the program beside it, or None.
    """

    name: str
    context: Context
    clock: Clock
    statistics: Statistics | None
    beats: bool
    ends_with_stdin: bool
    companion: Companion | None = None


def make_context(limits: Limits, show: Show) -> Context:
    """Take randomness from the kernel, and a thread for each core."""
    return Context(
        gate=Gate(limits),
        executor=ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0)), thread_name_prefix="handshake"),
        random=os.urandom,
        draw=SystemRandom().uniform,
        show=show,
    )


def find_limits(options: LimitOptions, *, networks: bool, descriptors: int = 2) -> Limits:
    """Work out how much at once, after raising the limit on file descriptors as far as it goes.

    Args:
        options: what the operator wants.
        networks: whether each network has a share of its own: clients of a bridge do, programs of this machine do not.
        descriptors: that a connection takes.
    """
    connections = options.connections or MOST_CONNECTIONS
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY:
        possible = max(1, (hard - _SPARE_DESCRIPTORS) // descriptors)
        if options.connections is not None and possible < options.connections:
            _log.warning("ulimit -n allows %d connections at once, not %d", possible, options.connections)
        connections = min(connections, possible)
    return Limits(
        connections=connections,
        # Or unfinished ones could take all places.
        handshakes=min(options.handshakes or MOST_HANDSHAKES, max(1, connections // 2)),
        network=(options.per_network or max(1, connections // NETWORKS_SHARE)) if networks else None,
    )


def descriptors_left(limits: Limits) -> int:
    """Tell how many descriptors there are beside two for each connection."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return max(0, (1 << 20 if hard == resource.RLIM_INFINITY else hard) - _SPARE_DESCRIPTORS - 2 * limits.connections)


def run(program: Program, entrances: Sequence[Entrance]) -> None:
    """Serve until something ends it."""
    _log.log(logs.NOTICE, "Starting (%s version: %s).", program.name, __version__)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(_serve(program, entrances))


def _new_loop() -> asyncio.AbstractEventLoop:
    """Give uvloop's loop where there is one."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve(program: Program, entrances: Sequence[Entrance]) -> None:
    loop = asyncio.get_running_loop()
    process.scrub_error_reports(loop)
    stopped: asyncio.Future[str] = loop.create_future()

    def stop(reason: str) -> None:
        if not stopped.done():
            stopped.set_result(reason)

    statistics, executor, companion = program.statistics, program.context.executor, program.companion
    jobs: set[asyncio.Task[None]] = set()

    def begin(job: Coroutine[None, None, None]) -> None:
        task = loop.create_task(job)
        jobs.add(task)
        task.add_done_callback(jobs.discard)

    def renew() -> None:
        logs.reopen()
        if statistics is not None:
            begin(statistics.renew())
        if companion is not None:
            companion.tell(signal.SIGHUP)

    _obey_signals(program, stop, renew)
    if program.ends_with_stdin:
        _watch_stdin(loop, partial(stop, "Standard input was closed. Terminating."))
    listeners = [Listener(entrance.listening, program.context.gate, entrance.service.handle) for entrance in entrances]
    services = [entrance.service for entrance in entrances]
    if companion is not None:
        companion.begin(stop)
    recorder = None if statistics is None else statistics.recorder
    heartbeat = Heartbeat(program.clock.boot(), recorder, program.context.show, program.name) if program.beats else None
    ticker = Ticker(program.clock, program.context, statistics, heartbeat, [*listeners, *services])
    begin(ticker.run(begin))
    reason = ""
    try:
        reason = await stopped
    finally:
        if statistics is not None:
            statistics.recorder.close()
        for listener in listeners:
            listener.close()
        for job in jobs:
            job.cancel()
        for service in services:
            service.cut_off()
        await asyncio.sleep(0)
        if companion is not None:
            await companion.end()
        executor.shutdown(wait=False, cancel_futures=True)
        _log.log(logs.NOTICE, "%s", reason)
        _log.log(logs.NOTICE, "Exiting.")


def _obey_signals(program: Program, stop: Callable[[str], None], renew: Callable[[], None]) -> None:
    """Have signals do what they are for."""

    def interrupt() -> None:
        # A transport may let its clients finish first; until then they are served and counted.
        if program.companion is None:
            stop("Got SIGINT. Terminating.")
        else:
            program.companion.tell(signal.SIGINT)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop, "Got SIGTERM. Terminating.")
    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGHUP, renew)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _watch_stdin(loop: asyncio.AbstractEventLoop, ended: partial[None]) -> None:
    """Call `ended` when there is nothing more to come from standard input."""

    def read() -> None:
        try:
            more = os.read(_STDIN, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if not more:
            loop.remove_reader(_STDIN)
            ended()

    try:
        loop.add_reader(_STDIN, read)
    except OSError:
        # A file, or /dev/null: there is nothing to wait for.
        ended()
