"""Floods of handshakes, and what they leave for honest clients.

The program has a core of its own. Attackers are a process, honest clients this one; both are on another core, which
they do not fill. Each honest client comes from a network of its own, at a steady pace, whatever happened to the ones
before. It is served if its first bytes come back within PATIENCE.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from bench.attacks import Row
from bench.process import allow_descriptors, two_cores
from bench.report import progress
from obfstats.wire.transports import make_transport
from peers import program
from peers.destinations import echo, serve
from peers.obfuscated import ObfuscatedClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.sharedctypes import SynchronizedArray

    from bench.load import Address

PATIENCE = 30.0
"""Seconds that an honest client waits. Tor's clients wait about as long for a bridge."""

SETTLING = 5.0
"""Seconds from the flood's beginning to the first honest client."""

_DESCRIPTORS = 8_192
_AT_ONCE = 4_096
_RESET = struct.pack("ii", 1, 0)
_HELLO = b"hello"


class Flood(NamedTuple):
    """What attackers do.

    Attributes:
        name: for the table.
        transport: which one they speak.
        rate: connections a second.
        networks: how many they come from.
        sent: how many random bytes each connection sends.
        holds: whether each waits until it is answered or closed; if not, it resets its connection at once.
        honest: honest clients a second.
    """

    name: str
    transport: str
    rate: float
    networks: int
    sent: int
    holds: bool
    honest: float


_SECRET = "secret"
"""obfs2's, which the attackers do not know."""

FLOODS = (
    Flood("obfs3 keys from 4 networks, each reset at once", "obfs3", 2_400, 4, 192, holds=False, honest=10),
    Flood("obfs3 keys from 8 networks, each held until answered", "obfs3", 2_400, 8, 192, holds=True, honest=10),
    Flood(
        "obfs3 keys from 1,000 networks, each held until answered", "obfs3", 2_400, 1_000, 192, holds=True, honest=10
    ),
    Flood("obfs2 without its secret, from one address", "obfs2", 50, 1, 24, holds=True, honest=1),
)


def measure(*, quick: bool) -> list[Row]:
    """Carry out each flood."""
    allow_descriptors(_DESCRIPTORS)
    server_core, load_core = two_cores()
    os.sched_setaffinity(0, {load_core})
    rows = []
    for flood in FLOODS:
        for attacked in (flood._replace(rate=0), flood) if flood.transport == "obfs2" else (flood,):
            progress(f"{flood.name}, {attacked.rate} a second")
            rows += _measure(attacked, server_core, 8 if quick else 40)
    os.sched_setaffinity(0, {server_core, load_core})
    return rows


def _measure(flood: Flood, core: int, seconds: float) -> list[Row]:
    secret = ["--shared-secret", _SECRET] if flood.transport == "obfs2" else []
    with (
        serve(echo) as destination,
        program.obfsproxy(
            "--no-stats", flood.transport, *secret, "--dest", destination, "server", "127.0.0.1:0", cpu=core
        ) as running,
        _attack(flood, running.address) as attackers,
    ):
        honest = _Honest(flood, running.address)
        if flood.rate:
            time.sleep(SETTLING)
        honest.come(seconds)
        made, answered = attackers[:]
    progress(f"attackers: {made:,} connections, {answered:,} answered")
    attack = f"{flood.name}, {flood.rate:,} a second" if flood.rate else f"none ({flood.transport}, with a secret)"
    times = sorted(honest.times)
    rows = [Row(attack, "honest clients served", f"{len(times) / honest.number:.0%} of {honest.number}")]
    if flood.holds and flood.transport == "obfs3":
        rows.append(Row(attack, "attackers answered", f"{answered / made:.0%}"))
    if times:
        quantiles = " and ".join(f"{times[min(len(times) - 1, int(q * len(times)))]:.2f} s" for q in (0.5, 0.99))
        rows.append(Row(attack, "honest handshake: median and 99 %", quantiles))
    return rows


class _Honest:
    """Honest clients.

    Attributes:
        number: how many have come.
        times: seconds of each that was served, from its connection to the destination's first bytes.
    """

    def __init__(self, flood: Flood, bridge: Address) -> None:
        self.number = 0
        self.times: list[float] = []
        self._flood = flood
        self._bridge = bridge
        self._transport = make_transport(flood.transport, shared_secret=_SECRET if flood.transport == "obfs2" else None)

    def come(self, seconds: float) -> None:
        """Have them come for so many seconds, and wait for the last one."""
        begin = time.monotonic()
        threads = []
        while (due := begin + self.number / self._flood.honest) < begin + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            self.number += 1
            source = f"127.{100 + self.number // 250}.{self.number % 250}.1"
            threads.append(threading.Thread(target=self._visit, args=(source,)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _visit(self, source: str) -> None:
        began = time.monotonic()
        with (
            contextlib.suppress(OSError),
            ObfuscatedClient(self._transport, self._bridge, source, PATIENCE) as client,
        ):
            client.sendall(_HELLO)
            if client.recv() == _HELLO:
                self.times.append(time.monotonic() - began)


@contextlib.contextmanager
def _attack(flood: Flood, bridge: Address) -> Iterator[SynchronizedArray[int]]:
    """Attack in a process of its own until the block ends; yields how many connections were made, and answered."""
    counts = multiprocessing.Array("i", 2)
    if not flood.rate:
        yield counts
        return
    attackers = multiprocessing.Process(target=_make_connections, args=(flood, bridge, counts), daemon=True)
    attackers.start()
    try:
        yield counts
    finally:
        attackers.kill()
        attackers.join()


def _make_connections(flood: Flood, bridge: Address, counts: SynchronizedArray[int]) -> None:
    """Make connections at the flood's rate for ever, but not more than _AT_ONCE at once."""
    connecting: dict[int, socket.socket] = {}
    holding: dict[int, socket.socket] = {}
    begin, begun = time.monotonic(), 0
    data = os.urandom(flood.sent)
    with select.epoll() as poll:
        while True:
            due = int((time.monotonic() - begin) * flood.rate) - begun
            for _ in range(min(due, _AT_ONCE - len(connecting) - len(holding))):
                begun += 1
                connection = socket.socket()
                connection.setblocking(False)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                network = begun % flood.networks
                connection.bind((f"127.{50 + network // 250}.{network % 250}.1", 0))
                if connection.connect_ex(bridge) in {0, errno.EINPROGRESS}:
                    connecting[connection.fileno()] = connection
                    poll.register(connection, select.EPOLLOUT)
            for number, _ in poll.poll(0.002):
                if number in connecting:
                    connection = connecting.pop(number)
                    with contextlib.suppress(OSError):
                        connection.send(data)
                        counts[0] += 1
                    if flood.holds:
                        holding[number] = connection
                        poll.modify(number, select.EPOLLIN)
                    else:
                        connection.close()
                else:
                    connection = holding.pop(number)
                    with contextlib.suppress(OSError):
                        counts[1] += bool(connection.recv(1))
                    connection.close()
