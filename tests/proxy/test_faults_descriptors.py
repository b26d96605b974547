"""Without file descriptors, clients wait in the kernel's queue, and are served when others disconnect."""

from __future__ import annotations

import contextlib
import resource
import threading
from typing import TYPE_CHECKING

from peers import extended, managed
from peers.destinations import TIMEOUT
from tests.proxy.honest import EXACT, Visitors, countries, is_served, warnings
from tests.proxy.moved import Time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from peers.managed import Managed

LIMIT, CONNECTIONS = 80, 8
"""A limit on descriptors, and the connections that it allows: two descriptors each, beside 64 for everything else."""

UNDER_THE_LIMIT = ("sh", "-c", f'ulimit -n {LIMIT}; exec "$@"', "sh")

A_MOMENT = 0.3
"""Seconds in which a client would certainly be served."""


@contextlib.contextmanager
def waiting(visitors: Visitors, number: int) -> Iterator[list[threading.Thread]]:
    """Let that many visitors connect at once, none of which is served for a moment; yield their threads."""
    before = len(visitors.served)
    threads = [threading.Thread(target=visitors.visit, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    threads[0].join(A_MOMENT)
    assert len(visitors.served) == before
    yield threads
    for thread in threads:
        thread.join(TIMEOUT)
    assert len(visitors.served) == before + number


@contextlib.contextmanager
def running(folder: Path, time: Time, *under: str) -> Iterator[Managed]:
    """Run a bridge without a cap for one network."""
    ours = managed.ours(EXACT, "--max-per-network", "1000", *managed.counting(folder / "log"))
    # Not for `sh`, which executes the program: libfaketime does not clean up before exec.
    clock = [f"{name}={value}" for name, value in time.environment.items()]
    argv = (*under, "env", *clock, *ours)
    with extended.orport(folder) as tor, managed.server(folder / "state", tor, argv=argv) as bridge:
        yield bridge


def test_under_a_low_limit_clients_wait_until_others_disconnect(tmp_path: Path) -> None:
    """Eight are served all the time; ten more are served when others disconnect; it is reported once."""
    time = Time(tmp_path)
    with running(tmp_path, time, *UNDER_THE_LIMIT) as bridge, contextlib.ExitStack() as stack:
        visitors = Visitors(bridge.methods["obfs3"])
        first, *staying = (stack.enter_context(visitors.connect()) for _ in range(CONNECTIONS))
        with waiting(visitors, CONNECTIONS + 2):
            assert all(is_served(client) for client in (first, *staying))
            first.close()
        assert all(is_served(client) for client in staying)
        for client in staying:
            client.close()
        for _ in range(3):
            time.minute(visitors.visit)
        bridge.child.stop()
    assert countries(tmp_path / "log") == visitors.expected_lines()
    assert warnings(bridge) == ["connection limit (8) reached; new clients waited"]


def test_when_descriptors_run_out_accepting_pauses(tmp_path: Path) -> None:
    """Connected clients stay; new ones wait and are served after the shortage; it is reported once."""
    time = Time(tmp_path)
    with running(tmp_path, time) as bridge, contextlib.ExitStack() as stack:
        visitors = Visitors(bridge.methods["obfs3"])
        staying = [stack.enter_context(visitors.connect()) for _ in range(3)]
        allowed = resource.prlimit(bridge.child.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(bridge.child.pid, resource.RLIMIT_NOFILE, (3, allowed[1]))
        with waiting(visitors, 5):
            assert all(is_served(client) for client in staying)
            resource.prlimit(bridge.child.pid, resource.RLIMIT_NOFILE, allowed)
            # The next try is half a second away.
            time.clock.move(1)
            assert all(is_served(client) for client in staying)
        for _ in range(3):
            time.minute(visitors.visit)
        bridge.child.stop()
    assert countries(tmp_path / "log") == visitors.expected_lines()
    assert warnings(bridge) == ["accepting paused: Too many open files; raise ulimit -n"]
