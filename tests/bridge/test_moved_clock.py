"""The unchanged program with a moved clock (libfaketime): a day passes within seconds."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from obfstats.formats.logline import LogLine, parse_line
from obfstats.wire.transports import make_transport
from peers.clocks import ProgramClock, under
from peers.destinations import echo, serve
from peers.missing import need
from peers.obfuscated import ObfuscatedClient
from peers.processes import wait_until_idle
from peers.program import obfsproxy
from tests import canary

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = 30.0


def lines(log: Path) -> list[LogLine]:
    """The lines of the log."""
    return [parse_line(line) for line in log.read_bytes().splitlines()]


def lines_come(log: Path, count: int, address: tuple[str, int], seconds: float) -> bool:
    """Wait for that many lines; a probe wakes the program's loop now and then, so that it checks its timers."""
    deadline = time.monotonic() + seconds
    while len(log.read_bytes()) < 64 * count and time.monotonic() < deadline:
        with socket.create_connection(address, TIMEOUT) as probe:
            probe.shutdown(socket.SHUT_RDWR)
    return len(log.read_bytes()) >= 64 * count


def test_a_day_ends_by_itself_and_a_returning_client_is_a_stranger(tmp_path: Path, geoip: Path) -> None:
    """Real process, real clients, 24 hours: the closing batch is written without a client, and S is new."""
    need("faketime", "faketime")
    log, clock = tmp_path / "log", ProgramClock(tmp_path / "clock")
    address = canary.address("tr")
    transport = make_transport("obfs3")
    with (
        serve(echo) as destination,
        obfsproxy("--stats-log", str(log), "--stats-buffer", "1", "--geoip", str(geoip), "obfs3", "--dest",
                  destination, "server", "127.0.0.1:0", environment=under(clock)) as server,
    ):  # fmt: skip

        def visit(times: int) -> None:
            for _ in range(times):
                with ObfuscatedClient(transport, server.address, address, TIMEOUT) as client:
                    client.sendall(b"hello")
                    assert client.recv() == b"hello"

        def move(seconds: int) -> None:
            wait_until_idle(server.child.pid)
            clock.move(seconds)

        visit(3)
        assert lines_come(log, 2, server.address, TIMEOUT)
        # Past the interval's end, then further until its closing batch is due: at most ten minutes later.
        steps = iter([86_410, *[601] * 100])
        move(next(steps))
        while not lines_come(log, 3, server.address, 0.3):
            move(next(steps))
        visit(6)
        assert lines_come(log, 8, server.address, TIMEOUT)
    first, second = lines(log)[:3], lines(log)[3:]
    assert {line.country for line in (*first, *second)} == {"tr"}
    assert len({line.hash for line in first}) == len({line.hash for line in second}) == 1
    assert first[0].hash != second[0].hash
    assert (first[0].start[:10] < second[0].start[:10], first[0].start[10:]) == (True, second[0].start[10:])
