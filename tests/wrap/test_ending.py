"""How a wrap ends: when its program ends, with its status, after signals or without, and nothing is flushed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed, stand_in, wrapped
from peers.processes import Held, family, listeners
from tests import canary
from tests.proxy.honest import Visitors, countries, is_open, is_refused, is_served
from tests.proxy.moved import Time
from tests.proxy.visiting import wait_until
from tests.wrap.running import SHELL, environment, run

if TYPE_CHECKING:
    from pathlib import Path

    from peers.wrapped import Wrapped

NAME = wrapped.NAME

KILLED = 128 + signal.SIGKILL

ALL = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -USR1 $$", 138),
        ("kill -KILL $$", 137),
    ],
)
def test_it_ends_as_its_program(tmp_path: Path, script: str, status: int) -> None:
    """With its exit status, or 128 and the signal's number as in a shell; its folder is removed."""
    result = run(tmp_path, SHELL, "-c", script)
    assert (result.returncode, result.stderr) == (status, b"")
    assert list((tmp_path / "pt_state").iterdir()) == []


@pytest.mark.parametrize("signals", ["--block-signal=CHLD", "--ignore-signal=CHLD"])
def test_it_ends_as_its_program_whatever_it_has_inherited(tmp_path: Path, signals: str) -> None:
    """A parent may have blocked or ignored the signal that tells of a program's end."""
    result = run(tmp_path, SHELL, "-c", "sleep 0.1; exit 3", under=("env", signals))
    assert (result.returncode, result.stderr) == (3, b"")


def test_it_ends_when_its_program_does_whoever_holds_the_pipe(tmp_path: Path) -> None:
    """Even if another process still holds the program's standard output."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    try:
        result = run(tmp_path, SHELL, "-c", 'echo first; cat "$0" 2>&- & exit 3', str(fifo))
        assert (result.returncode, result.stdout) == (3, b"first\n")
    finally:
        # A process that still waits for a writer is released.
        os.close(os.open(fifo, os.O_RDWR | os.O_NONBLOCK))


def test_connections_end_with_it(tmp_path: Path) -> None:
    """When the program ends with clients connected, tor's connections are closed, and nothing is flushed."""
    log = tmp_path / "log"
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *managed.counting(log, buffer=100)) as bridge,
        bridge.entrance.enter(f"{canary.address()}:5678") as connection,
    ):
        with Held(list(family(bridge.child.pid))[1:]) as program:
            bridge.program.end(3)
            assert bridge.child.wait() == 3
            assert program.left(1) == []
        assert not is_open(connection)
        assert bridge.folders() == []
    assert log.read_bytes() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_nothing_is_flushed(tmp_path: Path, number: signal.Signals) -> None:
    """With lines in the buffer (ticket 5047, step 6); neither process nor folder is left."""
    log = tmp_path / "log"
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *managed.counting(log, buffer=100)) as bridge,
    ):
        Visitors(bridge.methods[NAME], "dummy").visit(3)
        asked = time.monotonic()
        with Held(family(bridge.child.pid)) as processes:
            bridge.child.send_signal(number)
            assert processes.left(2) == []
        assert bridge.child.wait() == 0
        assert time.monotonic() - asked < 2
        assert bridge.folders() == []
    assert log.read_bytes() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts_is_not_lost(tmp_path: Path, number: signal.Signals) -> None:
    """Sent as soon as there is something to clean up: neither process nor folder is left."""
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        command = wrapped.argv(*managed.counting(folder / "log"), program=["/bin/cat"])
        with managed.start(environment(folder), command) as child:
            while not wrapped.folders(folder / "pt_state"):
                assert child.is_running
            with Held(family(child.pid)) as processes:
                child.send_signal(number)
                assert processes.left(5) == []
            assert child.wait() == 128 + number
        assert wrapped.folders(folder / "pt_state") == []


def said_by_program(bridge: Wrapped) -> list[str]:
    """Return the signals that the program has reported."""
    lines = [f'LOG SEVERITY=notice MESSAGE="{number.name}"' for number in ALL]
    return [line.partition('"')[2].rstrip('"') for line in bridge.said() if line in lines]


def test_a_program_that_does_not_end_is_killed_after_five_seconds(tmp_path: Path) -> None:
    """It gets each signal once; only SIGTERM closes connections and the listener."""
    time = Time(tmp_path)
    log = tmp_path / "log"
    options = managed.counting(log, buffer=100)
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *options, program=["--stays"], environment=time.environment) as bridge,
    ):
        visitors = Visitors(bridge.methods[NAME], "dummy")
        for number in ALL[:2]:
            bridge.child.send_signal(number)
            bridge.child.wait_for_line("stdout", f'"{number.name}"')
            visitors.visit()
        staying = visitors.connect()
        bridge.child.send_signal(signal.SIGTERM)
        bridge.child.wait_for_line("stdout", '"SIGTERM"')
        visitors.expect_refused()
        assert is_refused(staying)
        staying.close()
        # Whatever the program says wakes the wrap.
        time.clock.move(4)
        for line in ("first", "second"):
            bridge.program.write(f"{line}\n".encode())
            bridge.child.wait_for_line("stdout", f"^{line}$")
        assert bridge.child.is_running
        time.clock.move(2)
        with contextlib.suppress(OSError, ValueError):
            bridge.program.write(b"third\n")
        assert bridge.child.wait() == KILLED
        assert said_by_program(bridge) == [number.name for number in ALL]
        assert bridge.folders() == []
    assert log.read_bytes() == b""


def test_after_sigint_who_is_there_is_served_and_counted_to_the_end(tmp_path: Path) -> None:
    """The program accepts no more clients and ends with the last one, as obfs4proxy; pending ones still count."""
    log = tmp_path / "log"
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *managed.counting(log)) as bridge,
    ):
        visitors = Visitors(bridge.methods[NAME], "dummy")
        entrance = bridge.entrance
        with visitors.connect() as staying:
            bridge.child.send_signal(signal.SIGINT)
            assert wait_until(lambda: not listeners([bridge.program.pid]))
            assert is_served(staying)
            for _ in range(2):
                with entrance.enter(f"{canary.address('tr')}:5678") as connection:
                    connection.sendall(b"hello")
                    assert stand_in.read(connection, 5) == b"hello"
            assert is_served(staying)
            assert bridge.child.is_running
        assert bridge.child.wait() == 0
        assert bridge.folders() == []
    assert countries(log) == {"de": 1, "tr": 1}


def test_a_program_without_a_handler_ends_by_sighup(tmp_path: Path) -> None:
    """As obfs4proxy does; tor itself never sends SIGHUP."""
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, "--no-stats") as bridge:
        bridge.child.send_signal(signal.SIGHUP)
        assert bridge.child.wait() == 128 + signal.SIGHUP
        assert bridge.folders() == []
