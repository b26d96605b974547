"""The program runs as long as its tor, and a bridge works again after either way of ending it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from obfstats.formats.logline import parse_line
from peers.processes import command_line, family
from tests import canary
from tests.e2e.visitors import counting, countries_seen, is_answer, visit

if TYPE_CHECKING:
    from pathlib import Path

    from peers.network import Network
    from peers.tors import Bridge

HOSTS = {"obfs3": "127.0.0.1"}


def cookie(bridge: Bridge) -> bytes:
    """The extended ORPort's cookie, which tor makes anew when it starts."""
    return (bridge.folder / "extended_orport_auth_cookie").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_bridge_comes_back_after_its_tor_was_ended(network: Network, geoip: Path, number: signal.Signals) -> None:
    """Nothing is left of the first tor; the second one's cookie is another, and clients are served and counted."""
    command = counting("--geoip", str(geoip), "--stats-buffer", "1")
    name = f"back{number.name.lower()}"
    with network.bridge(name, command, HOSTS, countries=geoip) as bridge:
        assert is_answer(visit(bridge, "obfs3", canary.address("de")))
        assert countries_seen(bridge) == "de=8"
        first = cookie(bridge)
        processes = [command_line(pid) for pid in family(bridge.child.pid)]
        assert len(processes) == 2
        assert "obfstats.bridge.obfsproxy" in processes[1]
        assert bridge.end(number) == []
    with network.bridge(name, command, HOSTS, countries=geoip) as bridge:
        for _ in range(2):
            assert is_answer(visit(bridge, "obfs3", canary.address("tr")))
        assert cookie(bridge) != first
        assert countries_seen(bridge) == "tr=8"
    # What the buffer held at an end is lost, as it must be.
    lines = (bridge.folder / "pt_state" / "clients.log").read_bytes().splitlines()
    assert [parse_line(line).country for line in lines] == ["tr"]
