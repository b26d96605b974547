"""Honest clients of a bridge, and checks that the log has a line of each of them."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.formats.logline import parse_line
from obfstats.wire.transports import make_transport
from peers.destinations import TIMEOUT
from peers.obfuscated import ObfuscatedClient
from tests import canary
from tests.proxy.visiting import HELLO

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from obfstats.formats.logline import LogLine
    from peers.managed import Managed

_WARNING = re.compile('LOG SEVERITY=warning MESSAGE="(.*)"')


EXACT = "--no-safe-logging"
"""With this option the program reports exact numbers, once a minute; else rounded ones, at random moments."""

METRICS = "tcp_no_metrics_save"
"""The setting of the kernel that the program warns of at its start where it is 0."""

AT_ONCE = 3
"""Visitors of a crowd that connect at the same time: so many may be counted without having received an answer."""


class Visitors:
    """Honest clients of one bridge, each from a new address.

    Attributes:
        served: the countries of the served clients, in the order of their connections.
    """

    def __init__(self, bridge: tuple[str, int], name: str = "obfs3") -> None:
        """Begin.

        Args:
            bridge: where it listens.
            name: the transport; its ORPort must echo.
        """
        self.served: list[str] = []
        self._bridge = bridge
        self._transport = make_transport(name)

    def visit(self, number: int = 1, country: str = "de") -> None:
        """Connect one after the other, be served, and disconnect.

        Raises:
            OSError: if one is not served.
        """
        for _ in range(number):
            self.connect(country).close()

    def connect(self, country: str = "de") -> ObfuscatedClient:
        """Connect and be served; return the connection.

        Raises:
            OSError: if that takes too long, or the bridge closes the connection.
        """
        client = self.send_hello(country)
        try:
            receive_hello(client)
        except BaseException:
            client.close()
            raise
        self.served.append(country)
        return client

    def send_hello(self, country: str = "de", source: str | None = None) -> ObfuscatedClient:
        """Connect and send the first bytes of a client; return the connection, served or not.

        Args:
            country: where from.
            source: the address; None for a new one.
        """
        client = ObfuscatedClient(self._transport, self._bridge, source or canary.address(country), TIMEOUT)
        try:
            client.sendall(HELLO)
        except BaseException:
            client.close()
            raise
        return client

    def expect_refused(self, number: int = 1, country: str = "ir") -> None:
        """Connect one after the other, and check that each connection is closed without an answer.

        Raises:
            AssertionError: if one is served.
        """
        for _ in range(number):
            try:
                client = self.send_hello(country)
            except ConnectionError:
                continue
            with client:
                assert is_refused(client)

    def expected_lines(self, buffer: int = 1) -> Counter[str]:
        """Return how many lines the log must have by now, by country: those of full batches, and one batch waits.

        Args:
            buffer: how many lines are held back. If it is more than 1, clients must not connect at the same time.
        """
        return Counter(self.served[: max(0, len(self.served) - 1) // buffer * buffer])


def receive_hello(client: ObfuscatedClient) -> None:
    """Receive the destination's answer to the first bytes.

    Raises:
        OSError: if there is none.
    """
    if client.recv() != HELLO:
        raise ConnectionError("the bridge closed the connection of an honest client")


def is_served(client: ObfuscatedClient) -> bool:
    """Tell whether a connection still goes to the destination and back."""
    client.sendall(HELLO)
    return client.recv() == HELLO


def is_refused(client: ObfuscatedClient) -> bool:
    """Wait for a connection's end; tell whether nothing was received before it."""
    try:
        return client.receive_all() == b""
    except ConnectionError:
        return True


def is_waiting(client: ObfuscatedClient) -> bool:
    """Tell whether a connection is open, with nothing from the destination to read."""
    client.socket.setblocking(False)
    try:
        client.recv()
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    finally:
        client.socket.settimeout(TIMEOUT)
    return False


def is_open(connection: socket.socket) -> bool:
    """Tell whether the other end of a connection has not closed it, whatever it has sent."""
    connection.setblocking(False)
    try:
        while connection.recv(1 << 16):
            pass
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    finally:
        connection.settimeout(TIMEOUT)
    return False


def lines(*logs: Path) -> list[LogLine]:
    """Read logs, line by line.

    Raises:
        AssertionError: if a line is not whole, or is there twice.
    """
    contents = [log.read_bytes() for log in logs]
    assert all(content.endswith(b"\n") for content in contents if content)
    found = [parse_line(line) for content in contents for line in content.splitlines()]
    # No client connects twice.
    assert len({line.hash for line in found}) == len(found)
    return found


def countries(*logs: Path) -> Counter[str]:
    """Count the lines of logs by country; each must be whole, and be there once."""
    return Counter(line.country for line in lines(*logs))


def warnings(bridge: Managed) -> list[str]:
    """Return the messages of the warnings that the program has sent to tor (pt-spec), but those of its start."""
    matches = (_WARNING.fullmatch(line) for line in bridge.said())
    return [match[1] for match in matches if match and EXACT not in match[1] and METRICS not in match[1]]


def resident(pid: int) -> int:
    """Return the bytes of memory that a process uses (proc(5), VmRSS)."""
    status = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    (line,) = (line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) << 10


@contextlib.contextmanager
def crowd(visitors: Visitors) -> Iterator[None]:
    """Have AT_ONCE visitors connect again and again, until the block ends and the bridge has ended."""

    def visit() -> None:
        with contextlib.suppress(OSError):
            while True:
                visitors.visit()

    threads = [threading.Thread(target=visit) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(TIMEOUT)
