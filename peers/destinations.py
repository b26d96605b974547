"""Where the program passes connections on to: small servers on loopback, each in a thread."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMEOUT = 30.0


@contextlib.contextmanager
def serve(handle: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[str]:
    """Accept connections and give each to a function in a thread; gives HOST:PORT."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, backlog=512) as listening:

        def handle_one(accepted: socket.socket) -> None:
            accepted.settimeout(TIMEOUT)
            with accepted, contextlib.suppress(OSError):
                handle(accepted)

        def accept() -> None:
            while True:
                try:
                    accepted, _ = listening.accept()
                except OSError as error:
                    if error.errno != errno.EMFILE:
                        return
                    # A test has taken all descriptors for a while.
                    time.sleep(0.01)
                else:
                    threading.Thread(target=handle_one, args=(accepted,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        port = listening.getsockname()[1]
        yield f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
        listening.shutdown(socket.SHUT_RDWR)


def echo(connection: socket.socket) -> None:
    """Send everything back, and end when the other side ends."""
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def digest(connection: socket.socket) -> None:
    """Read to the end, then say the SHA-256 of it all: works only where a half-close is kept."""
    received = hashlib.sha256()
    while data := connection.recv(1 << 16):
        received.update(data)
    connection.sendall(received.digest())


def speak_first(connection: socket.socket) -> None:
    """Greet before anything is asked, then echo."""
    connection.sendall(b"220 welcome\r\n")
    echo(connection)
