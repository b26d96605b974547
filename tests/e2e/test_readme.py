"""The README's lines of torrc, as a newcomer would copy them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests import canary
from tests.e2e.visitors import OURS, is_answer, visit
from tests.peers.tors import Bridge, join

if TYPE_CHECKING:
    from tests.peers.network import Network

README = Path(__file__).parents[2] / "README.md"

PRIVATE = (
    "Address 127.0.0.1",
    "AssumeReachable 1",
    "PublishServerDescriptor 0",
    "ContactInfo nobody@example.org",
    "SocksPort 0",
)
"""What keeps a bridge within a private network."""


def test_four_lines_make_a_bridge_that_counts(network: Network) -> None:
    """Only the program's place and the ORPort's number are others; a client comes, and tor has counted it."""
    found = re.search(r"^    BridgeRelay 1\n(?:    .+\n)+", README.read_text(), re.MULTILINE)
    assert found
    lines = [line.strip() for line in found[0].splitlines()]
    assert len(lines) == 4
    torrc = "\n".join(lines).replace("/opt/obfstats/bin/obfsproxy managed", " ".join(OURS)).replace(":9001", ":auto")
    assert torrc.count("obfstats.proxy.main") == torrc.count(":auto") == 1
    folder = network.folder / "readme"
    listener = ("127.0.0.1", network.ports.take())
    more = [f"ServerTransportListenAddr obfs3 {join(*listener)}", f"ControlSocket {folder / 'control'}", *PRIVATE]
    lines = [*network.common(folder), *torrc.splitlines(), *more]
    with Bridge(folder, lines, {"obfs3": listener}, None) as bridge:
        assert is_answer(visit(bridge, "obfs3", canary.address()))
        assert "??=8" in bridge.ask("status/clients-seen")
        assert (folder / "pt_state" / "clients.log").stat().st_mode & 0o777 == 0o600
