"""A flood of unfinished handshakes: honest clients are served quickly, and memory stays bounded."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import socket
import struct
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from obfstats.proxy.shares import OVER_SHARE
from obfstats.wire.transports import make_transport
from peers import extended, managed
from peers.destinations import TIMEOUT
from peers.obfuscated import ObfuscatedClient
from tests import canary
from tests.proxy.honest import (
    EXACT,
    Visitors,
    countries,
    is_open,
    is_refused,
    is_waiting,
    receive_hello,
    resident,
    warnings,
)
from tests.proxy.moved import Time
from tests.proxy.visiting import HELLO, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from peers.managed import Managed

FLOOD = 1000
MANY = 4096
"""Descriptors that this process needs for its ends of the connections, and some to spare."""

PATIENCE = 5.0
"""Seconds within which an honest client must be served, on a busy machine."""

MEMORY = 64 << 20
"""Bytes by which the program may grow: 64 KiB for each of the flood."""

NETWORKS = 48
"""Networks that the flood comes from; each has less than its share of the handshakes."""

# Nothing; half of obfs3's key, which is more than obfs2's seed; obfs3's whole key, which starts a computation; the
# key and padding.
SENT_BYTES = (0, 100, 192, 8000)

JOBS = 250
"""Jobs of obfs2 with a secret that a flood asks for: a little less than the share of one network."""

SEED_AND_HEAD = 24
"""Bytes that start such a job."""

RESET = struct.pack("ii", 1, 0)
"""Makes a socket reset its connection."""


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MANY:
        pytest.skip(f"ulimit -n allows {hard} descriptors, and the flood needs {MANY}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def running(
    folder: Path, moved: Time, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[Managed]:
    """Run a bridge under a moved clock."""
    variables = {**moved.environment, **(environment or {})}
    argv = managed.ours(EXACT, *options, *managed.counting(folder / "log"))
    with (
        extended.orport(folder) as tor,
        managed.server(folder / "state", tor, argv=argv, environment=variables) as bridge,
    ):
        yield bridge


def half_open(bridge: tuple[str, int], source: str, number: int) -> socket.socket:
    """Connect, and send that number of random bytes and nothing more."""
    connection = socket.create_connection(bridge, TIMEOUT, (source, 0))
    connection.sendall(os.urandom(number))
    return connection


def flooding(sent: Sequence[int] = SENT_BYTES) -> Iterator[tuple[str, int]]:
    """Return for each connection of the flood its address, and how many bytes it sends."""
    sources = [f"127.100.{number}.1" for number in range(NETWORKS)]
    return itertools.islice(zip(itertools.cycle(sources), itertools.cycle(sent), strict=False), FLOOD)


def neighbours(number: int) -> list[str]:
    """Return new addresses of one /24."""
    while True:
        addresses = [canary.address() for _ in range(number)]
        if len({address.rpartition(".")[0] for address in addresses}) == 1:
            return addresses


def visit_quickly(visitors: Visitors, number: int, country: str = "de") -> None:
    """Have visitors connect, each of which is served within PATIENCE."""
    for _ in range(number):
        began = time.monotonic()
        visitors.visit(country=country)
        assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize("name", ["obfs2", "obfs3"])
def test_a_thousand_half_open_handshakes_keep_no_client_out(tmp_path: Path, name: str) -> None:
    """They stay until their deadlines, are not counted, and take bounded memory."""
    moved = Time(tmp_path)
    with running(tmp_path, moved) as bridge, contextlib.ExitStack() as stack:
        address = bridge.methods[name]
        visitors = Visitors(address, name)
        visitors.visit(5)
        before = resident(bridge.child.pid)
        flood = []
        for source, number in flooding():
            flood.append(stack.enter_context(half_open(address, source, number)))
            if len(flood) % 100 == 0:
                visit_quickly(visitors, 1)
        visit_quickly(visitors, 10)
        assert all(is_open(connection) for connection in flood)
        assert resident(bridge.child.pid) - before < MEMORY
        moved.clock.move(61)
        visit_quickly(visitors, 5)
        assert wait_until(lambda: not any(is_open(connection) for connection in flood))
        visit_quickly(visitors, 5)
    assert countries(tmp_path / "log") == visitors.expected_lines()
    assert warnings(bridge) == []


def test_a_flood_from_one_network_closes_its_own_handshakes(tmp_path: Path) -> None:
    """Unfinished handshakes of other networks stay, and clients of other networks are served."""
    moved = Time(tmp_path)
    with running(tmp_path, moved, "--max-handshakes", "100") as bridge, contextlib.ExitStack() as stack:
        address = bridge.methods["obfs3"]
        visitors = Visitors(address)
        slow = stack.enter_context(half_open(address, "127.101.0.1", 100))
        flood = [stack.enter_context(half_open(address, f"127.100.0.{1 + n % 200}", 100)) for n in range(300)]
        visit_quickly(visitors, 5)
        assert wait_until(lambda: [is_open(connection) for connection in flood] == [False] * 275 + [True] * 25)
        assert is_open(slow)
        bridge.child.stop()
    assert countries(tmp_path / "log") == visitors.expected_lines()


def test_beyond_the_cap_the_oldest_handshakes_are_closed(tmp_path: Path) -> None:
    """Of a thousand that start no job the newest stay, honest clients are served, and a report has the number."""
    moved = Time(tmp_path)
    with running(tmp_path, moved, "--max-handshakes", "100") as bridge, contextlib.ExitStack() as stack:
        address = bridge.methods["obfs3"]
        visitors = Visitors(address)
        flood = []
        for source, number in flooding((0, 100)):
            flood.append(stack.enter_context(half_open(address, source, number)))
            if len(flood) % 50 == 0:
                visit_quickly(visitors, 1)
        visit_quickly(visitors, 10)
        # The last visitors were one handshake of the hundred.
        assert wait_until(lambda: [is_open(connection) for connection in flood] == [False] * 901 + [True] * 99)
        for _ in range(3):
            moved.minute(visitors.visit)
        bridge.child.stop()
    assert countries(tmp_path / "log") == visitors.expected_lines()
    assert warnings(bridge) == ["901 unfinished handshakes closed: over the limit (--max-handshakes)"]


def test_a_network_that_has_its_share_takes_nothing_from_others(tmp_path: Path) -> None:
    """Ten to twenty of one /24 are served. Further ones see a failed handshake; clients of another /24 are served."""
    moved = Time(tmp_path)
    *sources, last = neighbours(31)
    with running(tmp_path, moved, "--max-per-network", "20") as bridge, contextlib.ExitStack() as stack:
        visitors = Visitors(bridge.methods["obfs3"])
        flood = [stack.enter_context(visitors.send_hello(source=source)) for source in sources]
        served: list[ObfuscatedClient] = []

        def are_answered(number: int) -> bool:
            served.extend(client for client in flood if client not in served and not is_waiting(client))
            return len(served) >= number

        assert wait_until(lambda: are_answered(10))
        visit_quickly(visitors, 10, "tr")
        assert not are_answered(21)
        refused = [client for client in flood if client not in served]
        assert all(is_waiting(client) for client in refused)
        visitors.served += ["de"] * len(served)
        for _ in range(3):
            moved.minute(partial(visitors.visit, 1, "tr"))
        assert all(is_refused(client) for client in refused)
        for client in served:
            client.close()
        visit_quickly(visitors, 3, "tr")
        with visitors.send_hello(source=last) as neighbour:
            assert neighbour.recv()
            visitors.served.append("de")
        visitors.visit(1, "tr")
        bridge.child.stop()
    assert countries(tmp_path / "log") == visitors.expected_lines()
    assert warnings(bridge) == [f"obfs3: {len(refused)} connection(s) could not be passed on ({OVER_SHARE})"]


@pytest.mark.parametrize(
    ("networks", "resets"),
    [(1, False), (3, False), (1, True)],
    ids=["of one network", "of several networks", "of neighbours that reset"],
)
def test_no_client_waits_for_the_jobs_of_a_flood(tmp_path: Path, networks: int, *, resets: bool) -> None:
    """Computing all that a flood asks for takes ten seconds and more, and it cannot prove that it knows the secret.

    Its networks' jobs take turns with an honest client's. Jobs of connections that were reset are not computed, so that
    not even a neighbour waits for them.
    """
    moved = Time(tmp_path)
    transport = make_transport("obfs2", shared_secret="secret")
    options = {"TOR_PT_SERVER_TRANSPORT_OPTIONS": "obfs2:shared-secret=secret"}
    source, *sources = neighbours(2) if resets else (canary.address(), *(f"127.100.{n}.1" for n in range(networks)))
    with running(tmp_path, moved, environment=options) as bridge, contextlib.ExitStack() as stack:
        for number in range(JOBS):
            connection = stack.enter_context(
                half_open(bridge.methods["obfs2"], sources[number % networks], SEED_AND_HEAD)
            )
            if resets:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.close()
        began = time.monotonic()
        with ObfuscatedClient(transport, bridge.methods["obfs2"], source, TIMEOUT) as client:
            client.sendall(HELLO)
            receive_hello(client)
        assert time.monotonic() - began < PATIENCE
    assert warnings(bridge) == []
