"""A daemon while it runs: listeners, signals, ticks, and its end.

- On SIGTERM and SIGINT, and at the end of standard input if tor asks for that, nothing is flushed, S is wiped first,
  and the process is gone within a second (ticket 5047, step 6).
- SIGHUP reopens the logs and reads the GeoIP files again; S and TS stay.
- Twice a minute, at moments that do not depend on any client, a tick ends intervals, publishes, logs heartbeat and
  reports, and renews the metrics.
- A daemon with a child, the transport's process of `obfstats wrap`, passes signals on to it, and ends when it has
  ended. The child decides what SIGINT and the end of standard input mean; after SIGTERM it has some seconds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING

from obfstats import __version__
from obfstats.bridge import logs, process
from obfstats.bridge.heartbeat import Heartbeat
from obfstats.bridge.resources import count_processors
from obfstats.bridge.scrapes import ScrapeServer
from obfstats.bridge.threads import start_workers
from obfstats.proxy import privacy
from obfstats.proxy.driver import run_on
from obfstats.proxy.handshakes import Handshakes
from obfstats.proxy.limits import Gate, Limits
from obfstats.proxy.listener import Listener
from obfstats.proxy.service import Context
from obfstats.proxy.shares import KEY_LENGTH, NetworkShares

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Sequence

    from obfstats.bridge.child import TransportProcess
    from obfstats.bridge.metrics import Metrics
    from obfstats.bridge.statistics import Statistics
    from obfstats.proxy.service import Service
    from obfstats.proxy.wrap.service import WrapService
    from obfstats.record.clock import Clock

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The signals with handlers. A program may block them until the loop runs, which unblocks them."""

TICK_SECONDS = 30.0
"""Between two ticks. There is no timer for the end of an interval, because timers do not count while suspended."""

REPORT_SECONDS = (60.0, 600.0)
"""Between two reports of what was refused or has failed: drawn anew each time, or a report would reveal the minute in
which a client connected. With safe logging off it is always the first."""

DISK_SECONDS = 0.3
"""How long the end of the program waits for a disk that is busy with lines of the log."""

_STDIN = 0
_CHUNK = 1 << 12

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ListeningService:
    """A service and the socket that it listens on."""

    listening: socket.socket
    service: Service | WrapService


@dataclass(frozen=True, slots=True)
class Daemon:
    """The settings of a running daemon.

    Attributes:
        name: the program's name.
        context: what every service shares.
        clock: the clocks.
        statistics: what counts, or None.
        has_heartbeat: whether there is one: on a bridge's side, as in the old programs.
        ends_with_stdin: whether the end of standard input ends the program.
        child: the transport's process, or None.
        metrics: the socket that metrics are served at, or None.
    """

    name: str
    context: Context
    clock: Clock
    statistics: Statistics | None
    has_heartbeat: bool
    ends_with_stdin: bool = False
    child: TransportProcess | None = None
    metrics: socket.socket | None = None

    def run(self, listening_services: Sequence[ListeningService]) -> None:
        """Serve until something ends the program."""
        process.log_refusals()
        if self.has_heartbeat:
            process.warn_of_tcp_metrics()
        _log.log(logs.NOTICE, "Starting (%s version: %s).", self.name, __version__)
        self._start_threads()
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(_serve(self, listening_services))
        if self.statistics is not None:
            self.statistics.wait_for_disk(DISK_SECONDS)

    def _start_threads(self) -> None:
        """Start all threads that clients need: one that cannot be started later would date a client."""
        try:
            logs.start_threads()
            if self.statistics is not None:
                self.statistics.start_thread()
            if self.child is None:
                start_workers(self.context.executor, count_processors())
        except OSError as error:
            _log.warning("%s: raise the limit on them (ulimit -u, TasksMax=)", error.strerror)


def make_context(limits: Limits, formatter: privacy.LogFormatter) -> Context:
    """Make what every service shares: randomness from the kernel, and a thread for each core."""
    threads = count_processors()
    executor = ThreadPoolExecutor(threads, thread_name_prefix="handshake")
    return Context(
        gate=Gate(limits),
        shares=NetworkShares(limits.network, os.urandom(KEY_LENGTH), SystemRandom().uniform),
        handshakes=Handshakes(limits, run_on(executor), threads, SystemRandom().choice),
        executor=executor,
        random=os.urandom,
        draw=SystemRandom().uniform,
        formatter=formatter,
    )


def _new_loop() -> asyncio.AbstractEventLoop:
    """Make uvloop's loop if it is installed."""
    try:
        import uvloop  # noqa: PLC0415 - there is none on some platforms
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve(daemon: Daemon, listening_services: Sequence[ListeningService]) -> None:
    loop = asyncio.get_running_loop()
    process.scrub_error_reports(loop)
    stopped: asyncio.Future[str] = loop.create_future()
    statistics, child = daemon.statistics, daemon.child
    tasks: set[asyncio.Task[None]] = set()

    def stop(reason: str) -> None:
        if not stopped.done():
            stopped.set_result(reason)

    def start_task(work: Coroutine[None, None, None]) -> None:
        task = loop.create_task(_report_errors_of(work))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def reload() -> None:
        logs.check_files()
        if statistics is not None:
            start_task(statistics.reload())
        if child is not None:
            child.send_signal(signal.SIGHUP)

    _handle_signals(daemon, stop, reload)
    if daemon.ends_with_stdin:
        _watch_stdin(loop, partial(stop, "Standard input was closed. Terminating."))
    services = [each.service for each in listening_services]
    listeners = [Listener(each.listening, daemon.context.gate, each.service.handle) for each in listening_services]
    if child is not None:
        child.watch(stop)
    if statistics is not None:
        start_task(statistics.read_countries())
    ticker = Ticker(daemon, [*listeners, *services])
    scrapes = None
    if daemon.metrics is not None:
        scrapes = ScrapeServer(ticker.measure())
        await scrapes.start(daemon.metrics)
    start_task(ticker.run(start_task))
    reason = ""
    try:
        reason = await stopped
    finally:
        if statistics is not None:
            statistics.recorder.close()
        for listener in listeners:
            listener.close()
        if scrapes is not None:
            scrapes.close()
        for task in tasks:
            task.cancel()
        for service in services:
            service.close_all()
        await asyncio.sleep(0)
        if child is not None:
            await child.end()
        daemon.context.executor.shutdown(wait=False, cancel_futures=True)
        _log_end(reason)


def _log_end(reason: str) -> None:
    privacy.log_errors()
    _log.log(logs.NOTICE, "%s", reason)
    _log.log(logs.NOTICE, "Exiting.")


def _handle_signals(daemon: Daemon, stop: Callable[[str], None], reload: Callable[[], None]) -> None:
    def interrupt() -> None:
        # A transport may let its clients finish first; until then they are served and counted.
        if daemon.child is None:
            stop("Got SIGINT. Terminating.")
        else:
            daemon.child.send_signal(signal.SIGINT)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop, "Got SIGTERM. Terminating.")
    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGHUP, reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _watch_stdin(loop: asyncio.AbstractEventLoop, on_end: Callable[[], None]) -> None:
    """Call `on_end` at the end of standard input."""

    def read() -> None:
        try:
            more = os.read(_STDIN, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if not more:
            loop.remove_reader(_STDIN)
            on_end()

    try:
        loop.add_reader(_STDIN, read)
    except OSError:
        # A file, or /dev/null, which cannot be watched.
        on_end()


class Ticker:
    """Does what has to be done twice a minute."""

    def __init__(self, daemon: Daemon, reporters: Sequence[Listener | Service | WrapService]) -> None:
        """Plan the first report.

        Args:
            daemon: what runs.
            reporters: log what has failed since the last report.
        """
        self._clock = daemon.clock
        self._context = daemon.context
        self._statistics = daemon.statistics
        self._reporters = reporters
        self._metrics: Metrics | None = None
        self._heartbeat: Heartbeat | None = None
        if daemon.has_heartbeat:
            recorder = None if daemon.statistics is None else daemon.statistics.recorder
            self._heartbeat = Heartbeat(daemon.name, daemon.clock.boot(), recorder, daemon.context.formatter)
        self._report_due = self._clock.boot() + self.draw_report_seconds()

    def measure(self) -> Callable[[], bytes]:
        """Keep metrics from now on; return what reads them."""
        from obfstats.bridge.metrics import Metrics  # noqa: PLC0415 - an extra

        metrics = self._metrics = Metrics(self._context, self._clock, self._statistics, SystemRandom().randrange)
        return lambda: metrics.text

    async def run(self, start_task: Callable[[Coroutine[None, None, None]], None]) -> None:
        """Tick until this is cancelled.

        Args:
            start_task: runs a coroutine beside this one.
        """
        if self._metrics is not None:
            start_task(self._metrics.read_documents())
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self._tick()
            except Exception as error:  # noqa: BLE001 - whatever it is, intervals must go on ending
                privacy.report_error(error)
            if self._statistics is not None:
                # It may wait for a hanging disk; intervals go on ending.
                start_task(self._statistics.update())
            if self._metrics is not None:
                start_task(self._metrics.update())

    def draw_report_seconds(self) -> float:
        """Draw the seconds until the next report."""
        return self._context.draw(*REPORT_SECONDS) if self._context.formatter.safe else REPORT_SECONDS[0]

    def _tick(self) -> None:
        now = self._clock.boot()
        logs.check_files()
        if self._statistics is not None:
            # The interval ends on a day without clients, too.
            self._statistics.recorder.tick()
        if self._heartbeat is not None:
            self._heartbeat.tick(now)
        if now >= self._report_due:
            self._report_due = now + self.draw_report_seconds()
            gate, handshakes = self._context.gate, self._context.handshakes
            for sentence in (*gate.pop_refusals(), *handshakes.pop_refusals(self._context.formatter)):
                _log.warning("%s", sentence)
            for reporter in self._reporters:
                reporter.log_summary()
            privacy.log_errors()


async def _report_errors_of(work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 - the bridge serves on, and the next tick tries again
        privacy.report_error(error)
