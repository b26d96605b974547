"""Our program's warnings to the operator are in tor's own log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests import canary
from tests.e2e.visitors import OURS, counting, is_answer, visit

if TYPE_CHECKING:
    from pathlib import Path

    from peers.network import Network


def test_an_old_torrc_goes_on_working(network: Network) -> None:
    """A torrc from the days of scramblesuit: the others are served, and tor's log names the one that is not."""
    hosts = {"obfs2": "127.0.0.1", "obfs3": "127.0.0.1"}
    with network.bridge("old", OURS, hosts, named=["obfs2", "obfs3", "scramblesuit"]) as bridge:
        bridge.wait_for(r"\[warn\] .*\(scramblesuit scramblesuit is not offered: .*; use ")
        for name in hosts:
            assert is_answer(visit(bridge, name, canary.address()))


def test_warnings_stand_in_tors_log(network: Network) -> None:
    """More connections wanted than there are descriptors for: the program runs, and tor's log has the sentence."""
    command = counting("--max-connections", "10000000")
    with network.bridge("greedy", command, {"obfs3": "127.0.0.1"}) as bridge:
        bridge.wait_for(r"\[warn\] Managed proxy .*ulimit -n allows [0-9]+ connections at once")
        assert is_answer(visit(bridge, "obfs3", canary.address()))


def test_a_log_that_cannot_be_kept_is_said_and_nothing_is_served(network: Network, tmp_path: Path) -> None:
    """The statistics log is a symbolic link: tor's log has it, and the link's target stays empty."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    state = network.folder / "linked" / "pt_state"
    state.mkdir(mode=0o700, parents=True)
    state.parent.chmod(0o700)
    (state / "clients.log").symlink_to(elsewhere)
    with network.bridge("linked", OURS, {"obfs3": "127.0.0.1"}) as bridge:
        bridge.wait_for(r"\[warn\] .*\(obfs3 .*clients\.log is a symbolic link; name the file itself\)")
        bridge.wait_for("it didn't launch any pluggable transport listeners")
    assert elsewhere.read_bytes() == b""
