"""Many clients at once, and the destination that they reach through a bridge."""

from __future__ import annotations

import os
import secrets
import socket
import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from demo.errors import DemoError
from peers.obfuscated import ObfuscatedClient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from demo.visitors import Visitor
    from obfstats.wire.handshake import Transport

AT_ONCE = 16
"""Clients at the same time."""

CLIENT_SECONDS = 10.0
"""How long one step of a client may take."""

CROWD_SECONDS = 60.0
"""How long all of them may take; whoever has not begun by then does not come."""

MARK = os.urandom(16)
"""What everything that is sent begins with: none of it may be left anywhere."""

_MOST_FAILURES = 10
_NOISE = 600


class EchoServer:
    """What stands behind the bridges in the place of tor's ORPort: it sends back what it gets."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Echo)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass(frozen=True)
class Call:
    """One visit to a bridge.

    Attributes:
        visitor: who comes.
        transport: what it speaks.
        bridge: where that is listening.
    """

    visitor: Visitor
    transport: Transport
    bridge: tuple[str, int]


def send(calls: Sequence[Call], progress: Callable[[int], None] = lambda _done: None) -> int:
    """Have the visits made, many at once; gives how many bytes were echoed when all have come to their end.

    Args:
        calls: the visits.
        progress: told now and then how many are done.

    Raises:
        DemoError: some failed, or there was no end in time.
    """
    deadline = time.monotonic() + CROWD_SECONDS
    failures: list[str] = []
    echoed = 0
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="client")
    try:
        visits = [pool.submit(_visit, call) for call in calls]
        for done, visit in enumerate(as_completed(visits, CROWD_SECONDS), start=1):
            try:
                echoed += visit.result()
            except OSError as error:
                failures.append(f"{type(error).__name__}: {error.strerror or error}")
            progress(done)
            if len(failures) > _MOST_FAILURES or time.monotonic() > deadline:
                break
    except TimeoutError:
        raise DemoError(
            f"the clients were not through after {CROWD_SECONDS:.0f} s; is the machine very busy?"
        ) from None
    finally:
        # Nothing that has not begun begins; what has begun ends within its own time.
        pool.shutdown(wait=False, cancel_futures=True)
    if failures:
        raise DemoError(f"{len(failures)} clients or more did not get through, the first one: {failures[0]}")
    return echoed


def _visit(call: Call) -> int:
    """Shake hands, send something, take it back, compare."""
    sent = MARK + os.urandom(secrets.choice(range(500, 5_000)))
    with ObfuscatedClient(call.transport, call.bridge, call.visitor.address, CLIENT_SECONDS) as client:
        client.sendall(sent)
        received = bytearray()
        while len(received) < len(sent):
            chunk = client.recv()
            if not chunk:
                raise ConnectionError("the bridge hung up before all was echoed")
            received += chunk
    if received != sent:
        raise ConnectionError("what came back is not what was sent")
    return len(sent)


def knock(address: str, bridge: tuple[str, int]) -> None:
    """Do what a scanner does: connect, send noise, go away.

    Raises:
        DemoError: if the bridge does not take the connection.
    """
    try:
        with socket.create_connection(bridge, CLIENT_SECONDS, (address, 0)) as connection:
            connection.sendall(os.urandom(_NOISE))
    except OSError as error:
        raise DemoError(f"the bridge is not to be reached: {error.strerror or error}") from None


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        connection: socket.socket = self.request
        connection.settimeout(CROWD_SECONDS)
        try:
            while data := connection.recv(1 << 16):
                connection.sendall(data)
        except OSError:
            # The other end is gone, which is how a connection may end.
            return
