"""Two wraps under one tor: neither gets into the other's way, in their common folder least of all."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from obfstats.formats.logline import parse_line
from peers import managed, torrc
from peers.child import STOP_SECONDS
from peers.missing import need
from peers.network import OBFS4PROXY
from peers.processes import Held, command_line, family
from tests import canary
from tests.e2e.visitors import countries_seen, is_answer, visit, visit_with, wait_until_served, wrapping

if TYPE_CHECKING:
    from pathlib import Path

    from peers.network import Network
    from peers.tors import Bridge

HOSTS = {"obfs3": "127.0.0.1", "obfs4": "127.0.0.1"}


def logged(bridge: Bridge) -> list[list[str | None]]:
    """Give each statistics log's transports, a line each, in the order of the logs' first lines."""
    return sorted(
        ([parse_line(line).transport for line in path.read_bytes().splitlines()]
         for path in (bridge.folder / "pt_state").glob("clients*.log")),
        key=str,
    )  # fmt: skip


def folders(bridge: Bridge) -> set[str]:
    """Give the private folders of both wraps."""
    return {path.name for path in (bridge.folder / "pt_state").glob("wrap-*")}


def test_two_wraps_under_one_tor_count_each_for_itself(network: Network, geoip: Path, tmp_path: Path) -> None:
    """Each has its own log and private folder; one that is killed and started again harms the other in neither."""
    need("obfs4proxy", "obfs4proxy")
    options = ("--geoip", str(geoip), "--stats-buffer", "1", "--stats-columns")
    # Tor starts one program for two lines that are alike.
    first, second = wrapping(*options, "transport"), wrapping(*options, "transport,family")
    more = [torrc.server_plugin(["obfs4"], second)]
    with (
        network.bridge("wraps", first, HOSTS, named=["obfs3"], countries=geoip, more=more) as bridge,
        managed.client(tmp_path / "visitor", argv=OBFS4PROXY, transports=["obfs4"]) as visitor,
    ):
        for name in HOSTS:
            bridge.address(name)
        processes = list(family(bridge.child.pid))[1:]
        assert len(processes) == 4
        before = folders(bridge)
        assert len(before) == 2
        for country in ("de", "tr"):
            assert is_answer(visit(bridge, "obfs3", canary.address(country)))
            assert is_answer(visit_with(visitor, bridge, "obfs4", canary.address(country)))
        assert is_answer(visit(bridge, "obfs3", canary.address("de")))
        assert countries_seen(bridge) == "de=8,tr=8"
        assert logged(bridge) == [["obfs3", "obfs3"], ["obfs4"]]

        wrap, program = family(next(pid for pid in processes if command_line(pid).find(",family") >= 0))
        with Held([wrap, program]) as held:
            os.kill(wrap, signal.SIGKILL)
            assert held.left(STOP_SECONDS) == []
        wait_until_served(bridge, "obfs4")
        assert is_answer(visit(bridge, "obfs3", canary.address("ir")))
        for _ in range(2):
            assert is_answer(visit_with(visitor, bridge, "obfs4", canary.address("ir")))
        assert countries_seen(bridge) == "de=8,ir=8,tr=8"
        assert logged(bridge) == [["obfs3", "obfs3", "obfs3"], ["obfs4", "obfs4"]]
        # One has stayed, one was left by a killed wrap and removed, one is new.
        assert len(folders(bridge)) == 2
        assert len(folders(bridge) & before) == 1
    assert folders(bridge) == set()
