"""Our program's warnings to the operator are in tor's own log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from peers.missing import need
from peers.program import OBFSTATS
from tests import canary
from tests.e2e.visitors import OURS, counting, is_answer, visit, wrapping

if TYPE_CHECKING:
    from collections.abc import Sequence
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


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (counting("--stats-bufer", "8"), r"obfsproxy: unrecognized arguments: --stats-bufer; see obfsproxy --help"),
        (counting("--log-file", "/none/log"), r"obfsproxy: cannot open the log /none/log: No such file or directory"),
        (wrapping("--stats-bufer", "8"), r"obfstats wrap: unrecognized arguments: --stats-bufer; PROGRAM follows"),
        ((OBFSTATS, "wrap", "--", "/none/program"), r"obfstats wrap: cannot start /none/program: No such file"),
    ],
    ids=["option", "log", "wrap's option", "wrap's program"],
)
def test_a_mistake_in_torrc_stands_in_tors_log(network: Network, command: Sequence[str], sentence: str) -> None:
    """The sentence itself, and not only that a program has ended with some status."""
    with network.bridge("mistaken", command, {"obfs3": "127.0.0.1"}) as bridge:
        bridge.wait_for(rf"\[warn\] Managed proxy couldn't understand .*\({sentence}")


@pytest.mark.parametrize("command", [OURS, wrapping()], ids=["obfsproxy", "wrap"])
def test_a_relative_data_directory_is_served(network: Network, command: Sequence[str]) -> None:
    """As by every other program: the statistics are where tor means its folder to be."""
    need("obfs4proxy", "obfs4proxy")
    name = f"relative{command is OURS}"
    more = [f"DataDirectory {os.path.relpath(network.folder / name)}"]
    with network.bridge(name, command, {"obfs3": "127.0.0.1"}, more=more) as bridge:
        bridge.wait_for(r"\[warn\] Path for DataDirectory \(.*\) is relative")
        assert is_answer(visit(bridge, "obfs3", canary.address()))
        assert (bridge.folder / "pt_state" / "clients.log").is_file()
