"""The demonstration's clients: their addresses and countries, how often each connects, and the connections themselves.

Loopback addresses have no country, so a GeoIP file is made here that gives networks of 127.0.0.0/8 one each. The truth
about who connected stays in this process's memory: the bridges' logs and tables are compared with it.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from ipaddress import IPv4Network
from random import SystemRandom
from typing import TYPE_CHECKING

from demo import DemoError
from obfstats.formats.logline import UNKNOWN_COUNTRY
from peers.obfuscated import ObfuscatedClient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from obfstats.wire.handshake import Transport

CLIENTS = {
    "obfs3": {
        "ir": 131, "us": 84, "ru": 47, "cn": 28, "de": 17, "by": 16, "tr": 9, "eg": 8, "br": 3, "tm": 2, "uy": 1,
        UNKNOWN_COUNTRY: 5,
    },
    "obfs2": {"cn": 13, "ir": 5, "us": 2},
}  # fmt: skip
"""How many clients each bridge has in each country: many, exactly eight, one more than that, a single one."""

NETWORKS = {country: IPv4Network(f"127.{16 + 8 * index}.0.0/16") for index, country in enumerate(CLIENTS["obfs3"])}
"""The network of each country. The last one is not in the GeoIP file."""

MARK = os.urandom(16)
"""Everything that clients send begins with this; it must not be found in any file."""

CONCURRENCY = 16
"""Connections at the same time."""

CLIENT_SECONDS = 10.0
"""How long one step of a client may take."""

ALL_SECONDS = 60.0
"""How long all connections together may take."""

_MAX_FAILURES = 10
_NOISE_LENGTH = 600

_random = SystemRandom()


@dataclass(frozen=True, slots=True)
class Client:
    """A client.

    Attributes:
        address: its address.
        country: the country of that network.
    """

    address: str
    country: str


class Clients:
    """The clients of one bridge.

    Attributes:
        single: those that are the only ones of their country, so that the log shows which lines are theirs.
    """

    def __init__(self, transport: str, used: set[str]) -> None:
        """Draw their addresses.

        Args:
            transport: the bridge's.
            used: addresses that other clients have; those drawn here are added.
        """
        numbers = CLIENTS[transport]
        self._all = [
            Client(_draw_address(NETWORKS[country], used), country)
            for country, number in numbers.items()
            for _ in range(number)
        ]
        self.single = [client for client in self._all if numbers[client.country] == 1]
        self._others = [client for client in self._all if client not in self.single]

    def draw_day(self) -> list[Client]:
        """Draw a day's connections, in random order: all connect, single ones twice, some more often."""
        number = len(self._others)
        regulars = _random.sample(self._others, number // 3)
        again = _random.choices(regulars, k=_random.randint(number * 9 // 10, number * 11 // 10))
        day = [*self._all, *self.single, *again]
        _random.shuffle(day)
        return day

    def draw(self, number: int) -> list[Client]:
        """Draw a number of connections of clients that are not single."""
        return _random.choices(self._others, k=number)


def draw_strangers(number: int, used: set[str]) -> list[str]:
    """Draw addresses of those who connect without being clients."""
    networks = list(NETWORKS.values())
    return [_draw_address(_random.choice(networks), used) for _ in range(number)]


def geoip_text() -> str:
    """Write the networks in the form of tor's geoip file."""
    return "# Countries of loopback addresses, for a demonstration only.\n" + "".join(
        f"{int(network[0])},{int(network[-1])},{country.upper()}\n"
        for country, network in NETWORKS.items()
        if country != UNKNOWN_COUNTRY
    )


def _draw_address(network: IPv4Network, used: set[str]) -> str:
    """Draw an unused address; never a network's first or last, which are in the GeoIP file."""
    while True:
        address = str(network[_random.randrange(1, network.num_addresses - 1)])
        if address not in used:
            used.add(address)
            return address


@dataclass(frozen=True)
class Connection:
    """One connection to make.

    Attributes:
        client: which client makes it.
        transport: what it speaks.
        bridge: where the bridge listens.
    """

    client: Client
    transport: Transport
    bridge: tuple[str, int]


def connect_all(connections: Sequence[Connection], progress: Callable[[int], None] = lambda _done: None) -> int:
    """Make connections, many at once, and wait until all have ended.

    Args:
        connections: what to make.
        progress: called now and then with the number that is done.

    Returns:
        The number of bytes that were echoed.

    Raises:
        DemoError: if some failed, or did not end in time.
    """
    deadline = time.monotonic() + ALL_SECONDS
    failures: list[str] = []
    echoed = 0
    pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="client")
    try:
        jobs = [pool.submit(_exchange, connection) for connection in connections]
        for done, job in enumerate(as_completed(jobs, ALL_SECONDS), start=1):
            try:
                echoed += job.result()
            except OSError as error:
                failures.append(f"{type(error).__name__}: {error.strerror or error}")
            progress(done)
            if len(failures) > _MAX_FAILURES or time.monotonic() > deadline:
                break
    except TimeoutError:
        raise DemoError(f"the clients did not finish within {ALL_SECONDS:.0f} s; is the machine very busy?") from None
    finally:
        # Jobs that have not begun are dropped; those that have end within their own time.
        pool.shutdown(wait=False, cancel_futures=True)
    if failures:
        raise DemoError(f"{len(failures)} clients or more did not get through, the first one: {failures[0]}")
    return echoed


def _exchange(connection: Connection) -> int:
    """Shake hands, send something, read the echo, compare."""
    sent = MARK + os.urandom(secrets.choice(range(500, 5_000)))
    address = connection.client.address
    with ObfuscatedClient(connection.transport, connection.bridge, address, CLIENT_SECONDS) as client:
        client.sendall(sent)
        received = bytearray()
        while len(received) < len(sent):
            chunk = client.recv()
            if not chunk:
                raise ConnectionError("the bridge hung up before everything was echoed")
            received += chunk
    if received != sent:
        raise ConnectionError("the echo differs from what was sent")
    return len(sent)


def send_noise(address: str, bridge: tuple[str, int]) -> None:
    """Do what a scanner does: connect, send noise, leave.

    Raises:
        DemoError: if the bridge does not accept the connection.
    """
    try:
        with socket.create_connection(bridge, CLIENT_SECONDS, (address, 0)) as connection:
            connection.sendall(os.urandom(_NOISE_LENGTH))
    except OSError as error:
        raise DemoError(f"cannot connect to the bridge: {error.strerror or error}") from None
