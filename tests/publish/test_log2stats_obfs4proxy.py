"""A log that Debian's obfs4proxy writes during the test: clients, probes, its start and its stop."""

from __future__ import annotations

import re
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from obfstats.publish.logfiles import find
from obfstats.publish.oldlogs.log2stats import count_old_logs
from peers import extended, managed, obfs4proxy, socks
from peers.missing import need
from tests import canary
from tests.proxy.visiting import HELLO, wait_until
from tests.publish.oldlogs import DAY, RecordingContext

if TYPE_CHECKING:
    from pathlib import Path

CLIENTS = 3
PROBES = 2
START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

_TIME = re.compile(rb"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d")


def record(folder: Path, *options: str) -> Path:
    """Run obfs4proxy with clients and probes, and give its log.

    Args:
        folder: for its state.
        options: for its logging.
    """
    argv = [obfs4proxy.PROGRAM, "-enableLogging", "-logLevel", "INFO", *options]
    state = folder / "server"
    with (
        extended.orport(folder) as tor,
        managed.server(state, tor, argv=argv, transports=["obfs4", "obfs3"]) as bridge,
        managed.client(folder / "client", argv=[obfs4proxy.PROGRAM], transports=["obfs4"]) as client,
    ):
        (method,) = (line for line in bridge.said() if line.startswith("SMETHOD obfs4 "))
        arguments = method.partition(" ARGS:")[2].replace(",", ";")
        for _ in range(CLIENTS):
            with socks.connect(client.methods["obfs4"], bridge.methods["obfs4"], arguments) as connection:
                connection.sendall(HELLO)
                assert connection.recv(1 << 10) == HELLO
        for _ in range(PROBES):
            # obfs3 fails as soon as a client hangs up; obfs4 would wait for up to a minute and a half.
            with socket.socket() as probe:
                probe.bind((canary.address(), 0))
                probe.connect(bridge.methods["obfs3"])
        log = state / "obfs4proxy.log"
        wait_until(lambda: log.read_bytes().count(b"handshake failed") == PROBES)
        bridge.child.stop()
    return log


def shift(log: bytes, start: datetime) -> bytes:
    """Replace the times of a log: the program stops a day after everything else.

    The time of a Go program cannot be set from outside.
    """
    *lines, last = log.splitlines(keepends=True)
    moved = [_TIME.sub(f"{start:%Y/%m/%d %H:%M:%S}".encode(), line) for line in lines]
    moved.append(_TIME.sub(f"{start + timedelta(days=1):%Y/%m/%d %H:%M:%S}".encode(), last))
    return b"".join(moved)


@pytest.mark.parametrize("options", [(), ("-unsafeLogging",)], ids=["scrubbed", "unsafe"])
def test_a_real_log_is_counted(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Clients are counted, probes are not; without -unsafeLogging their countries are unknown."""
    need(obfs4proxy.PACKAGE, obfs4proxy.PROGRAM)
    log = record(tmp_path, *options)
    log.write_bytes(shift(log.read_bytes(), START))
    logs = find([str(log)])
    assert log.read_bytes().count(b" - new connection") == CLIENTS + PROBES
    found = count_old_logs(logs, RecordingContext().context(), now=START + timedelta(days=9))
    # It has the addresses of the probes.
    log.unlink()
    (counts,) = found.intervals
    assert (counts.interval.label, counts.interval.seconds) == ("2026-03-01 12:00:00", DAY)
    if options:
        # The last number of 127.0.0.1, the address of the client, means this country.
        assert (counts.requests, counts.addresses) == ({"dk": CLIENTS}, {"dk": 1})
        assert (counts.transports, counts.families) == ({"obfs4": 1}, {"v4": 1})
    else:
        assert (counts.requests, counts.addresses, counts.transports) == ({"??": CLIENTS}, None, None)
        assert "no heartbeat" in found.notes[0]
