"""The command `obfstats collect serve`: the web service, its ledger thread and its publishing thread in one process.

Rules:

- What is wrong at the start ends it with one line and status 2.
- SIGTERM and SIGINT: no new connections; requests that wait for the ledger get their answers; it ends within seconds.
- Standard output says where it listens, its public key, and where the archive is. The log goes to standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import uvicorn

from obfstats.collect.archive.publishing import PUBLIC, Publication, open_collector_key, publish_until
from obfstats.collect.server.committing import Committer
from obfstats.collect.server.connections import BoundedProtocol
from obfstats.collect.server.limits import SubmissionLimits
from obfstats.collect.server.metrics import CollectorMetrics
from obfstats.collect.server.reports import log_problem, log_to_standard_error, report_error, report_from_loop
from obfstats.collect.server.service import CollectorService
from obfstats.collect.signing import SigningError
from obfstats.collect.store.database import DatabaseError, ledger_url, open_database
from obfstats.collect.store.ledger import Ledger
from obfstats.commandline import fail
from obfstats.lockedfile import make_folder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp


_PROGRAM = "obfstats collect serve"
_FOLDER_MODE = 0o755
_BACKLOG = 1024
_MAX_DESCRIPTORS = 4096
_SWITCH_SECONDS = 0.0005
_COLLECT_EVERY = 20_000
_END_SECONDS = 1
_RETRY_SECONDS = 60


class _StartError(Exception):
    """The service cannot start. Its text is one sentence for the operator."""


class _Server(uvicorn.Server):
    """uvicorn's server, which would end the process by the signal that stopped it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the signals by which an operator ends a program."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield


def run_serve(options: argparse.Namespace, limits: SubmissionLimits | None = None) -> int:
    """Run `obfstats collect serve`.

    Args:
        options: as commands.py has them.
        limits: how many documents are taken; the service's own by default.
    """
    log_to_standard_error()
    database = ledger_url(options.dir, options.database)
    try:
        publication = _open_publication(options, database)
        listener = _listen(*options.listen)
    except _StartError as error:
        return fail(_PROGRAM, str(error))
    # The ledger's thread waits for the interpreter after every statement: by default up to 5 ms.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # What is there from the start stays. Requests leave few cycles, and their objects live for some milliseconds.
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY)
    _raise_descriptors()
    print(f"listening at {_format_url(listener)}")
    print(f"the collector's public key is {publication.key.public}")
    print(f"the public archive is in {publication.folder / PUBLIC}", flush=True)
    metrics = CollectorMetrics()
    public = publication.folder / PUBLIC
    metrics.show_last_publication(public / "index.json")
    committer = Committer(database, metrics)
    service = CollectorService(committer, metrics, options.publish_every, limits or SubmissionLimits(time.monotonic))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner, _publishing(publication):
        runner.run(serve(service.make_application(public), committer, listener))
    return 0


async def serve(application: ASGIApp, committer: Committer, listener: socket.socket) -> None:
    """Answer requests until a signal ends that.

    Args:
        application: what answers.
        committer: its ledger, which is started and stopped here.
        listener: a bound socket.
    """
    asyncio.get_running_loop().set_exception_handler(report_from_loop)
    config = uvicorn.Config(
        application,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_END_SECONDS,
    )
    committer.start()
    try:
        await _Server(config).serve(sockets=[listener])
    finally:
        committer.stop()


def _open_publication(options: argparse.Namespace, database: str) -> Publication:
    """Open everything that the service needs, so that what is wrong is said at the start."""
    try:
        make_folder(options.dir / PUBLIC, _FOLDER_MODE)
        key = open_collector_key(options.dir)
        with contextlib.closing(open_database(database)) as opened:
            ledger = Ledger(opened)
            for admitted in options.admit:
                ledger.admit(admitted)
    except OSError as error:
        raise _StartError(f"cannot use the folder {options.dir}: {error.strerror}") from None
    except (SigningError, DatabaseError) as error:
        raise _StartError(str(error)) from None
    return Publication(options.dir, database, key, options.publish_every, options.url)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise _StartError(f"cannot listen at {host} port {port}: {error.strerror}") from None
    return listener


def _format_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _raise_descriptors() -> None:
    """Let a connection have a file of the archive open, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - has no release for every Python
    except ImportError:
        return None
    return uvloop.new_event_loop


@contextlib.contextmanager
def _publishing(publication: Publication) -> Iterator[None]:
    """Publish on a thread meanwhile."""
    stop = threading.Event()

    def publish() -> None:
        while not stop.is_set():
            try:
                publish_until(stop, publication, log_problem)
            except Exception as error:  # noqa: BLE001 - the archive must grow again after an error of ours, too
                report_error(error)
                stop.wait(_RETRY_SECONDS)

    thread = threading.Thread(target=publish, name="publishing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_END_SECONDS)
