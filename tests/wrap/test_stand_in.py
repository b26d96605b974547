"""The stand-in for a transport's program, against the stub of tor's extended ORPort, without a wrap."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed, stand_in, wrapped
from peers.destinations import TIMEOUT, digest
from peers.stand_in import ServerConduct
from tests import canary
from tests.proxy.visiting import HELLO, visit, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from peers.extended import ExtendedOrPort
    from peers.managed import Managed


@contextlib.contextmanager
def running(folder: Path, tor: ExtendedOrPort, *arguments: str, host: str = "127.0.0.1") -> Iterator[Managed]:
    """Run it alone until the block ends."""
    argv = [*wrapped.STAND_IN, *arguments]
    bind = {wrapped.NAME: f"[{host}]:0" if ":" in host else f"{host}:0"}
    with managed.server(folder, tor, argv=argv, transports=[wrapped.NAME], binds=bind) as program:
        yield program


def connect(program: Managed, source: str | None = None) -> tuple[bytes, int]:
    """Connect as a client; return the answer and the client's port."""
    place = (source, 0) if source else None
    with socket.create_connection(program.methods[wrapped.NAME], TIMEOUT, place) as client:
        port = client.getsockname()[1]
        client.sendall(HELLO)
        with contextlib.suppress(ConnectionError):
            return client.recv(1 << 10), port
        return b"", port


@pytest.mark.parametrize(
    ("conduct", "port"), [(ServerConduct.HONEST, None), (ServerConduct.WEBTUNNEL, 60000), (ServerConduct.SNOWFLAKE, 1)]
)
def test_tor_is_sent_the_clients_address(tmp_path: Path, conduct: ServerConduct, port: int | None) -> None:
    """With the client's port, or with a made-up one."""
    with extended.orport(tmp_path) as tor, running(tmp_path, tor, conduct.name) as program:
        source = canary.address()
        answer, own = connect(program, source)
        assert answer == HELLO
        assert tor.visits == [extended.Visit(f"{source}:{port or own}", wrapped.NAME)]
        assert tor.refused == []


def test_it_may_leave_messages_out(tmp_path: Path) -> None:
    """No address, no transport, no brackets: all are accepted."""
    conducts = [ServerConduct.NO_ADDRESS.name, ServerConduct.NO_TRANSPORT.name, ServerConduct.BARE.name]
    with extended.orport(tmp_path) as tor, running(tmp_path, tor, *conducts, host="::1") as program:
        answers, ports = zip(*[connect(program) for _ in conducts], strict=True)
        assert answers == (HELLO,) * 3
        addresses, transports = zip(*[(told.address, told.transport) for told in tor.visits], strict=True)
        assert addresses == (None, f"[::1]:{ports[1]}", f"[::1]:{ports[2]}")
        assert transports == (wrapped.NAME, None, wrapped.NAME)


@pytest.mark.parametrize(
    ("conduct", "reason"),
    [
        (ServerConduct.HOST_NAME, "the transport sent an invalid client address"),
        (ServerConduct.WRONG_HASH, "the transport does not know the cookie"),
        (ServerConduct.NONSENSE, "the transport does not want to authenticate by cookie"),
        (ServerConduct.OVERLONG, "the transport sent a message of more than 1,024 bytes"),
        (ServerConduct.EAGER, "the transport sent bytes before it was let in"),
    ],
)
def test_its_faults_are_those_that_tor_closes_on(tmp_path: Path, conduct: ServerConduct, reason: str) -> None:
    """Once; its next client is served."""
    with extended.orport(tmp_path) as tor, running(tmp_path, tor, conduct.name) as program:
        assert [connect(program)[0] for _ in range(2)] == [b"", HELLO]
        assert wait_until(lambda: tor.refused == [reason])


def test_it_may_keep_tor_waiting(tmp_path: Path) -> None:
    """Without DONE nothing happens until it ends."""
    with extended.orport(tmp_path) as tor, running(tmp_path, tor, ServerConduct.SILENT.name) as program:
        with pytest.raises(TimeoutError):
            visit(program.methods[wrapped.NAME], "dummy", timeout=0.2)
        assert connect(program)[0] == HELLO
        assert (tor.connections, len(tor.visits)) == (2, 1)


def test_bytes_pass_whole_and_a_half_close_is_kept(tmp_path: Path) -> None:
    """Also from an IPv6 client; each time with the current cookie."""
    data = os.urandom(3 << 20)
    with extended.orport(tmp_path, handle=digest) as tor, running(tmp_path, tor, host="::1") as program:
        tor.renew_cookie()
        with socket.create_connection(program.methods[wrapped.NAME], TIMEOUT) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            assert len(stand_in.read(client, 32)) == 32
            assert client.recv(1) == b""


def ends(program: Managed, number: signal.Signals) -> int:
    """Send a signal; return the exit status."""
    program.child.send_signal(number)
    return program.child.wait()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGHUP, -signal.SIGHUP)]
)
def test_signals_end_it(tmp_path: Path, number: signal.Signals, status: int) -> None:
    """Like obfs4proxy."""
    with extended.orport(tmp_path) as tor, running(tmp_path, tor) as program:
        assert ends(program, number) == status


def test_at_sigint_it_ends_with_its_last_connection(tmp_path: Path) -> None:
    """Connected clients are served to the end; no new one is accepted."""
    with extended.orport(tmp_path) as tor, running(tmp_path, tor) as program:
        with socket.create_connection(program.methods[wrapped.NAME], TIMEOUT) as client:
            client.sendall(HELLO)
            assert stand_in.read(client, len(HELLO)) == HELLO
            program.child.send_signal(signal.SIGINT)
            assert wait_until(lambda: come_in_vain(program))
            client.sendall(HELLO)
            assert stand_in.read(client, len(HELLO)) == HELLO
            assert program.child.is_running
        assert program.child.wait() == 0


def come_in_vain(program: Managed) -> bool:
    """Tell whether it has stopped listening."""
    try:
        socket.create_connection(program.methods[wrapped.NAME], TIMEOUT).close()
    except ConnectionRefusedError:
        return True
    return False


def test_it_stays_where_it_is_told_to(tmp_path: Path) -> None:
    """It reports each signal, and goes on until its standard input ends."""
    with extended.orport(tmp_path) as tor, running(tmp_path, tor, "--stays") as program:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            program.child.send_signal(number)
            program.child.wait_for_line("stdout", f'^LOG SEVERITY=notice MESSAGE="{number.name}"$')
        assert connect(program)[0] == HELLO
        program.child.close_stdin()
        assert program.child.wait() == 0
