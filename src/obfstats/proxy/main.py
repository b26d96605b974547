"""The program `obfsproxy`, in external mode: one listener, one destination, until a signal ends it.

On SIGTERM and SIGINT nothing is flushed, S is wiped first of all, and the process is gone within a second (ticket
5047, step 6).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

from obfstats.proxy import privacy
from obfstats.proxy.listener import Listener, listen
from obfstats.proxy.options import MOST_CONNECTIONS, Options, one_line, parse_options
from obfstats.proxy.service import Client, Server, Service, Surroundings
from obfstats.record import Recorder, RecordError
from obfstats.wire.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obfstats.record.clock import Clock

TICK = 30.0
"""Seconds between looks at the interval's end."""

SWITCH_INTERVAL = 0.0005
"""Seconds a thread may keep the interpreter: obfs2's 100,000 hashes must not hold up the relay."""

_SPARE_DESCRIPTORS = 64

_log = logging.getLogger("obfstats.proxy")


def main(arguments: Sequence[str] | None = None, clock: Clock | None = None) -> int:
    """Run the program.

    Args:
        arguments: the command line; this process's own if None.
        clock: what tells the recorder the time; the machine's own if None.

    Returns:
        its exit status: 0 after a signal, 2 where it could not start.
    """
    # Until the loop runs, ^C ends the program like any other signal: there is nothing yet to take back.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _fill_standard_descriptors()
    options = parse_options(arguments)
    logging.basicConfig(format="obfsproxy: %(message)s", stream=sys.stderr, level=logging.INFO)
    privacy.forbid_core_dumps()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        addresses = _resolve(options.destination)
    except (OSError, UnicodeError) as error:
        return _refuse(f"no such host as {options.destination.host}: {_reason(error)}; give --dest another")
    try:
        listening = listen(options.listen)
    except (OSError, UnicodeError) as error:
        return _refuse(f"cannot listen on {options.listen}: {_reason(error)}; choose another LISTEN:PORT")
    recorder = None
    with contextlib.closing(listening):
        try:
            if options.is_server and options.statistics:
                recorder = _open_recorder(options, clock)
        except RecordError as error:
            return _refuse(str(error))
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(_serve(options, addresses, listening, recorder))
    return 0


def _refuse(reason: str) -> int:
    if sys.stderr is not None:
        sys.stderr.write(f"obfsproxy: {one_line(reason)}\n")
    return 2


def _reason(error: OSError | UnicodeError) -> str:
    """Say why an address is of no use; a name that cannot even be looked up fails as text."""
    return str(error.strerror) if isinstance(error, OSError) else "not a host's name"


def _fill_standard_descriptors() -> None:
    """Where standard streams are closed, put something in their place: no socket may become number 2."""
    while (descriptor := os.open("/dev/null", os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _resolve(destination: Endpoint) -> tuple[Endpoint, ...]:
    """Look a host's addresses up, once: at each connection it would take time, and at the end hold the program up.

    Raises:
        OSError: if there is no such host.
        UnicodeError: if it cannot be a host's name.
    """
    found = socket.getaddrinfo(*destination, type=socket.SOCK_STREAM)
    return tuple(Endpoint(str(sockaddr[0]), destination.port) for *_, sockaddr in found)


def _state_folder() -> Path:
    """Give the default place for what must survive a restart (XDG base directory specification).

    Raises:
        RecordError: if there is no home.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        return (Path(state) if state.startswith("/") else Path.home() / ".local" / "state") / "obfsproxy"
    except RuntimeError:
        raise RecordError("there is no home directory to keep the log in; name a folder with --data-dir") from None


def _open_recorder(options: Options, clock: Clock | None) -> Recorder:
    """Open the statistics, and say where they go."""
    log = options.log or (options.data or _state_folder()) / "clients.log"
    recorder = Recorder.open(
        log,
        geoip=options.geoip,
        geoip6=options.geoip6,
        buffer=options.buffer,
        columns=options.columns,
        make_folder=options.log is None,
        clock=clock,
    )
    _log.info("statistics go to %s, %d connections at a time", log, options.buffer)
    _log.info("countries come from %s and %s", *recorder.countries.sources)
    return recorder


def _new_loop() -> asyncio.AbstractEventLoop:
    """Give uvloop's loop where there is one."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve(
    options: Options, addresses: tuple[Endpoint, ...], listening: socket.socket, recorder: Recorder | None
) -> None:
    """Serve until a signal comes."""
    loop = asyncio.get_running_loop()
    privacy.scrub_reports(loop)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    # A rotated log is followed without being told; the default would end the program.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    executor = ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0)), thread_name_prefix="handshake")
    surroundings = Surroundings(
        transport=options.transport,
        destination=options.destination,
        addresses=addresses,
        executor=executor,
        random=os.urandom,
        draw=SystemRandom().uniform,
    )
    service: Service = Server(surroundings, recorder) if options.is_server else Client(surroundings)
    listener = Listener(listening, _cap(options.connections), service.handle)
    ticking = loop.create_task(_tick(listener, service, recorder))
    bound = Endpoint(*listening.getsockname()[:2])
    _log.info("listening on %s for %s, passing on to %s", bound, options.transport.name, options.destination)
    try:
        await stopped.wait()
    finally:
        if recorder is not None:
            recorder.close()
        listener.close()
        ticking.cancel()
        await service.close()
        executor.shutdown(wait=False, cancel_futures=True)


async def _tick(listener: Listener, service: Service, recorder: Recorder | None) -> None:
    """Let the interval end on a quiet day too, and say what went wrong, at moments that are no client's."""
    while True:
        await asyncio.sleep(TICK)
        if recorder is not None:
            recorder.tick()
        listener.report()
        service.report()


def _cap(wanted: int | None) -> int:
    """Give the connections that there are descriptors for, two each, after raising the limit as far as it goes."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return wanted or MOST_CONNECTIONS
    possible = max(1, (hard - _SPARE_DESCRIPTORS) // 2)
    if wanted is not None and possible < wanted:
        _log.warning("ulimit -n allows %d connections at once, not %d", possible, wanted)
    return min(wanted or MOST_CONNECTIONS, possible)


if __name__ == "__main__":
    sys.exit(main())
