"""A day of a bridge with obfs2, obfs3 and obfs4, counted twice: by tor, and by our program before obfs4proxy.

See `test_statistics` for the clock and for the end of the day.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from obfstats.formats.logline import parse_line
from peers import web
from peers.child import ChildError
from peers.network import OBFS4PROXY
from tests import canary
from tests.e2e.test_statistics import DAY, MINUTE, becomes_true, ours, tors
from tests.e2e.visitors import SECONDS, is_answer, statistics_log, visit, visit_with, wrapping

if TYPE_CHECKING:
    from pathlib import Path

    from peers.clocks import ProgramClock
    from peers.managed import Managed
    from peers.network import Network
    from peers.tors import Bridge


def wait_for_tors_day(bridge: Bridge) -> None:
    """Wait until tor's interval has begun: it drops clients of the second or so before it."""
    if not becomes_true(lambda: "1970" not in bridge.ask("status/clients-seen"), SECONDS):
        raise ChildError("tor began no interval")


def end_day(bridge: Bridge, clock: ProgramClock) -> None:
    """Move the clock over the end of both intervals, and on until our closing batch is written."""
    log, published = statistics_log(bridge), bridge.folder / "stats" / "bridge-stats"
    written = log.stat().st_size
    clock.move(DAY + MINUTE)
    if not becomes_true(published.exists, SECONDS):
        raise ChildError("tor wrote no statistics")
    # Only clients wake a wrap. Those of the new day make it read its clock; the buffer holds them back.
    for _ in range(6):
        assert is_answer(visit(bridge, "obfs2", canary.address("de")))
        if becomes_true(lambda: log.stat().st_size > written, 0.3):
            return
        clock.move(10 * MINUTE + 1)
    raise ChildError("the wrap wrote no closing batch")


def test_a_days_statistics_are_tors_by_all_three_transports(
    network: Network, geoip: Path, clock: ProgramClock, visitor: Managed
) -> None:
    """36 addresses and a real tor, one of them IPv6, some by two transports, some twice, next to multiples of eight."""
    command = wrapping("--geoip", str(geoip), "--stats-columns", "transport,family", "--stats-buffer", "8")
    hosts = {"obfs2": "127.0.0.1", "obfs3": "::1", "obfs4": "127.0.0.1"}
    network.wait()
    with network.bridge("wrapped", command, hosts, countries=geoip, clock=clock) as bridge:
        germany, turkey, iran = (
            [canary.address(code) for _ in range(n)] for code, n in {"de": 17, "tr": 8, "ir": 8}.items()
        )
        bridge.address("obfs4")
        wait_for_tors_day(bridge)
        # One from Turkey uses both and counts twice: nine. One from Iran uses the same one twice and counts once.
        for address in (*germany, turkey[0], canary.address("??"), germany[0]):
            assert is_answer(visit_with(visitor, bridge, "obfs4", address))
        for address in (*turkey, *iran, iran[0]):
            assert is_answer(visit(bridge, "obfs2", address))
        for _ in range(2):
            assert is_answer(visit(bridge, "obfs3"))
        with web.serve(b"hello") as destination, network.client("visits", OBFS4PROXY, bridge.line("obfs4")) as client:
            assert web.fetch_digest(client.socks(), destination) == hashlib.sha256(b"hello").hexdigest()
        end_day(bridge, clock)
        published = ours(bridge, clock)
        assert published == tors(bridge)
    assert published == [
        "bridge-ips de=24,tr=16,??=8,ir=8",
        "bridge-ip-versions v4=40,v6=8",
        "bridge-ip-transports obfs2=16,obfs3=8,obfs4=24",
    ]
    lines = statistics_log(bridge).read_bytes().splitlines()
    assert {parse_line(line).transport for line in lines} == set(hosts)
