"""The ORPort has ended, or does not answer: clients are closed and not counted, and are served once it is back."""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed
from peers.destinations import TIMEOUT, echo
from peers.extended import OrPortConduct
from tests.proxy.honest import EXACT, Visitors, countries, is_refused, is_served, is_waiting, warnings
from tests.proxy.moved import Time
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    from peers.extended import ExtendedOrPort
    from peers.managed import Managed

    BeOrPort: TypeAlias = Callable[[Path, int], AbstractContextManager[tuple[str, int] | ExtendedOrPort]]

HOST = "127.0.0.1"
_SYN_SENT = "02"
_REPORT = re.compile(r"obfs3: ([0-9]+) connection\(s\) could not be passed on \((.*)\)")


class PlainOrPort(socketserver.ThreadingTCPServer):
    """An ORPort that sends everything back."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def finish_request(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Serve one connection."""
        assert isinstance(request, socket.socket)
        echo(request)


@contextlib.contextmanager
def plain(_: Path, port: int) -> Iterator[tuple[str, int]]:
    """Run an ORPort until the block ends."""
    with PlainOrPort((HOST, port), socketserver.BaseRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield HOST, port
        finally:
            server.shutdown()
            thread.join(TIMEOUT)


@contextlib.contextmanager
def with_cookie(folder: Path, port: int) -> Iterator[ExtendedOrPort]:
    """Run an extended ORPort until the block ends; the next one has another cookie."""
    with extended.orport(folder, port=port) as stub:
        yield stub


@pytest.fixture
def port() -> Iterator[int]:
    """A port that no other program takes: it is bound all the time."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, 0))
        yield bound.getsockname()[1]


def reports(bridge: Managed) -> list[tuple[int, str]]:
    """Return what the program has reported about connections that could not be passed on: how many, and why."""
    matches = (_REPORT.fullmatch(warning) for warning in warnings(bridge))
    return [(int(match[1]), match[2]) for match in matches if match]


def wait_for_reports(bridge: Managed, number: int) -> None:
    """Wait until there are that many reports, and check that there are no more."""
    assert wait_until(lambda: len(reports(bridge)) >= number)
    assert len(reports(bridge)) == number


def being_dialed(port: int) -> int:
    """Count the connections to a port that the kernel has not answered yet."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(row[3] == _SYN_SENT and row[2].endswith(f":{port:04X}") for row in rows)


@pytest.mark.parametrize("be_orport", [plain, with_cookie])
def test_while_it_is_gone_clients_are_closed_and_not_counted(tmp_path: Path, port: int, be_orport: BeOrPort) -> None:
    """Three are served, five are refused, three are served again: the log has the six."""
    log = tmp_path / "log"
    with contextlib.ExitStack() as until_it_ends:
        orport = until_it_ends.enter_context(be_orport(tmp_path, port))
        with managed.server(tmp_path / "state", orport, argv=managed.ours(EXACT, *managed.counting(log))) as bridge:
            visitors = Visitors(bridge.methods["obfs3"])
            visitors.visit(3)
            until_it_ends.close()
            visitors.expect_refused(5)
            with be_orport(tmp_path, port):
                visitors.visit(3, "tr")
    assert countries(log) == visitors.expected_lines()


def test_it_is_reported_once_a_minute_with_a_number_and_no_address(tmp_path: Path, port: int) -> None:
    """Each minute's report counts that minute's clients; a minute without clients has no report."""
    time = Time(tmp_path)
    with contextlib.ExitStack() as until_it_ends:
        orport = until_it_ends.enter_context(with_cookie(tmp_path, port))
        argv = managed.ours(EXACT, *managed.counting(tmp_path / "log"))
        with managed.server(tmp_path / "state", orport, argv=argv, environment=time.environment) as bridge:
            visitors = Visitors(bridge.methods["obfs3"])
            visitors.visit(1)
            until_it_ends.close()
            visitors.expect_refused(3)
            assert reports(bridge) == []
            for minutes in (1, 2):
                time.minute(visitors.expect_refused)
                wait_for_reports(bridge, minutes)
            with with_cookie(tmp_path, port):
                for _ in range(3):
                    time.minute(visitors.visit)
            bridge.child.stop()
    numbers, reasons = zip(*reports(bridge), strict=True)
    assert len(numbers) == 3
    assert sum(numbers) == 3 + 2 * 2
    assert set(reasons) == {"ECONNREFUSED"}


def test_a_hanging_orport_has_five_seconds(tmp_path: Path) -> None:
    """Two clients get no answer, two no verdict: others are served meanwhile, and only the others are counted."""
    time, log = Time(tmp_path), tmp_path / "log"
    argv = managed.ours(EXACT, *managed.counting(log))
    with (
        extended.orport(tmp_path, *[OrPortConduct.SILENCE] * 2, *[OrPortConduct.LATE] * 2) as tor,
        managed.server(tmp_path / "state", tor, argv=argv, environment=time.environment) as bridge,
        contextlib.ExitStack() as stack,
    ):
        visitors = Visitors(bridge.methods["obfs3"])
        hanging = [stack.enter_context(visitors.send_hello("ir")) for _ in range(4)]
        tor.wait_for(2)
        visitors.visit(3)
        time.clock.move(4)
        visitors.visit(3)
        assert all(is_waiting(client) for client in hanging)
        time.clock.move(2)
        visitors.visit(3)
        assert all(is_refused(client) for client in hanging)
        time.minute(visitors.visit)
        assert wait_until(lambda: reports(bridge) == [(4, "the extended ORPort took too long")])
    assert countries(log) == visitors.expected_lines()


@contextlib.contextmanager
def with_a_short_queue() -> Iterator[tuple[tuple[str, int], threading.Event]]:
    """Run a plain ORPort that accepts one connection, and further ones when an event is set; yield both."""
    has_space = threading.Event()

    def handle(accepted: socket.socket) -> None:
        with accepted, contextlib.suppress(OSError):
            echo(accepted)

    with socket.create_server((HOST, 0), backlog=0) as listening:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=handle, args=(listening.accept()[0],), daemon=True).start()
                    has_space.wait(TIMEOUT)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listening.getsockname(), has_space
        finally:
            has_space.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(TIMEOUT)


def test_an_orport_that_accepts_no_connection_has_ten_seconds(tmp_path: Path) -> None:
    """A plain one whose queue is full: old connections stay, new ones are closed, and later ones are served."""
    time, log = Time(tmp_path), tmp_path / "log"
    argv = managed.ours(EXACT, *managed.counting(log))
    with (
        with_a_short_queue() as (orport, has_space),
        managed.server(tmp_path / "state", orport, argv=argv, environment=time.environment) as bridge,
        contextlib.ExitStack() as stack,
    ):
        visitors = Visitors(bridge.methods["obfs3"])
        staying = stack.enter_context(visitors.connect())
        # The queue holds one connection.
        stack.enter_context(socket.create_connection(orport, TIMEOUT))
        hanging = [stack.enter_context(visitors.send_hello("ir")) for _ in range(3)]
        assert wait_until(lambda: being_dialed(orport[1]) == 3)
        time.clock.move(11)
        assert is_served(staying)
        assert all(is_refused(client) for client in hanging)
        has_space.set()
        visitors.visit(3, "tr")
    assert countries(log) == visitors.expected_lines()
