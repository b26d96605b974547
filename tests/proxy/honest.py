"""Honest clients of a bridge, and the log that must hold every one of them, whatever else goes wrong."""

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
"""With it the program says exact numbers, once a minute; else rounded ones, at moments of its own."""

AT_ONCE = 3
"""Visitors of a crowd that come at once: so many may be counted, and not know yet that they are served."""


class Visitors:
    """Honest clients of one bridge, each from an address that nobody had before.

    Attributes:
        served: the countries of those that were served, in the order of their coming.
    """

    def __init__(self, bridge: tuple[str, int], name: str = "obfs3") -> None:
        """Begin.

        Args:
            bridge: where it listens.
            name: the transport; the ORPort behind it must send everything back.
        """
        self.served: list[str] = []
        self._bridge = bridge
        self._transport = make_transport(name)

    def come(self, number: int = 1, country: str = "de") -> None:
        """Come one after the other, be served, and go.

        Raises:
            OSError: if one is not served.
        """
        for _ in range(number):
            self.stay(country).close()

    def stay(self, country: str = "de") -> ObfuscatedClient:
        """Come and be served; gives the connection.

        Raises:
            OSError: if that takes too long, or the bridge hangs up.
        """
        client = self.ask(country)
        try:
            greet(client)
        except BaseException:
            client.close()
            raise
        self.served.append(country)
        return client

    def ask(self, country: str = "de", source: str | None = None) -> ObfuscatedClient:
        """Come and say everything that a client says first; gives the connection, served or not.

        Args:
            country: where from.
            source: the address, if it is not to be one that nobody had before.
        """
        client = ObfuscatedClient(self._transport, self._bridge, source or canary.address(country), TIMEOUT)
        try:
            client.sendall(HELLO)
        except BaseException:
            client.close()
            raise
        return client

    def be_turned_away(self, number: int = 1, country: str = "ir") -> None:
        """Come one after the other, and be hung up on without a word.

        Raises:
            AssertionError: if one is served.
        """
        for _ in range(number):
            try:
                client = self.ask(country)
            except ConnectionError:
                continue
            with client:
                assert is_hung_up_on(client)

    def counted(self, buffer: int = 1) -> Counter[str]:
        """Give how many lines the log must have by now, by country: of full batches only, and one batch waits.

        Args:
            buffer: how many lines are held back. If it is more than 1, the order of coming must be known.
        """
        return Counter(self.served[: max(0, len(self.served) - 1) // buffer * buffer])


def greet(client: ObfuscatedClient) -> None:
    """Have the destination's answer to a first hello.

    Raises:
        OSError: if it does not come.
    """
    if client.recv() != HELLO:
        raise ConnectionError("the bridge hung up on an honest client")


def is_served(client: ObfuscatedClient) -> bool:
    """Tell whether a connection still goes to the destination and back."""
    client.sendall(HELLO)
    return client.recv() == HELLO


def is_hung_up_on(client: ObfuscatedClient) -> bool:
    """Wait for a connection's end; tell whether nothing came before it."""
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
    """Tell whether the other end of a connection has not hung up yet, whatever it has said."""
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
        AssertionError: if a line is not whole, or stands there twice.
    """
    contents = [log.read_bytes() for log in logs]
    assert all(content.endswith(b"\n") for content in contents if content)
    found = [parse_line(line) for content in contents for line in content.splitlines()]
    # Nobody comes twice.
    assert len({line.hash for line in found}) == len(found)
    return found


def countries(*logs: Path) -> Counter[str]:
    """Give how many lines logs have, by country; each must be whole, and stand there once."""
    return Counter(line.country for line in lines(*logs))


def warnings(bridge: Managed) -> list[str]:
    """Give what the program has told tor as a warning, as the pluggable transports' specification writes it."""
    matches = (_WARNING.fullmatch(line) for line in bridge.said())
    return [match[1] for match in matches if match and EXACT not in match[1]]


def resident(pid: int) -> int:
    """Give the bytes of memory that a process uses (proc(5), VmRSS)."""
    status = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    (line,) = (line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) << 10


@contextlib.contextmanager
def crowd(visitors: Visitors) -> Iterator[None]:
    """Have some visitors at once come again and again, until the block ends and the bridge is gone."""

    def come() -> None:
        with contextlib.suppress(OSError):
            while True:
                visitors.come()

    threads = [threading.Thread(target=come) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(TIMEOUT)
