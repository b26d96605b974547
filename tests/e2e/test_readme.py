"""The README's lines of torrc, as a newcomer would copy them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from peers import managed
from peers.missing import need
from peers.network import OBFS4PROXY
from peers.program import OBFSTATS
from peers.tors import Bridge, join
from tests import canary
from tests.e2e.visitors import OURS, is_answer, statistics_log, visit, visit_with

if TYPE_CHECKING:
    from peers.network import Network

README = Path(__file__).parents[2] / "README.md"

PRIVATE = (
    "Address 127.0.0.1",
    "AssumeReachable 1",
    "PublishServerDescriptor 0",
    "ContactInfo nobody@example.org",
    "SocksPort 0",
)
"""What keeps a bridge within a private network."""


def bridge(network: Network, name: str, torrc: list[str], transport: str) -> Bridge:
    """Run a bridge by the README's lines, and what keeps it within a private network."""
    folder = network.folder / name
    listener = ("127.0.0.1", network.ports.reserve())
    more = [f"ServerTransportListenAddr {transport} {join(*listener)}", f"ControlSocket {folder / 'control'}", *PRIVATE]
    return Bridge(folder, [*network.common(folder), *torrc, *more], {transport: listener}, None)


def four_lines() -> list[str]:
    """The README's four lines of torrc."""
    found = re.search(r"^    BridgeRelay 1\n(?:    .+\n)+", README.read_text(), re.MULTILINE)
    assert found
    lines = [line.strip().replace(":9001", ":auto") for line in found[0].splitlines()]
    assert len(lines) == 4
    return lines


def test_four_lines_make_a_bridge_that_counts(network: Network) -> None:
    """Only the program's path and the ORPort's number are changed; a client connects, and tor has counted it."""
    *lines, plugin = four_lines()
    command = plugin.replace("/usr/bin/obfsproxy managed", " ".join(OURS))
    assert command != plugin
    with bridge(network, "readme", [*lines, command], "obfs3") as running:
        assert is_answer(visit(running, "obfs3", canary.address()))
        assert "??=8" in running.ask("status/clients-seen")
        assert (running.folder / "pt_state" / "clients.log").stat().st_mode & 0o777 == 0o600


def test_one_line_counts_in_front_of_another_transport(network: Network, tmp_path: Path) -> None:
    """The README's line for another transport; a client of another program connects, and both have counted it."""
    need("obfs4proxy", "obfs4proxy")
    *lines, _ = four_lines()
    found = re.search(r"^    (ServerTransportPlugin obfs4 .+)$", README.read_text(), re.MULTILINE)
    assert found
    plugin = found[1].replace("/usr/bin/obfstats", OBFSTATS).replace("/usr/bin/obfs4proxy", OBFS4PROXY[0])
    with (
        bridge(network, "readmewrap", [*lines, plugin], "obfs4") as running,
        managed.client(tmp_path / "visitor", argv=OBFS4PROXY, transports=["obfs4"]) as visitor,
    ):
        assert is_answer(visit_with(visitor, running, "obfs4", canary.address()))
        assert "??=8" in running.ask("status/clients-seen")
        assert statistics_log(running).stat().st_mode & 0o777 == 0o600
