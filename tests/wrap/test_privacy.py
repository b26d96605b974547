"""No client's address is in a log, in the statistics, or readable in the process by other users; tor alone gets it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from peers import extended, managed, wrapped
from peers.extended import OrPortConduct
from peers.processes import command_line, family
from peers.stand_in import ServerConduct
from tests import canary
from tests.proxy.honest import Visitors
from tests.proxy.visiting import HELLO, visit

NAME = wrapped.NAME


@pytest.mark.parametrize("severity", ["info", "debug"])
def test_no_address_is_logged_or_recorded(tmp_path: Path, severity: str) -> None:
    """Whatever tor and the program do: not in lines to tor, not in a log at level debug, not in the statistics."""
    said = tmp_path / "said"
    options = ["--log-file", str(said), "--log-min-severity", severity, *managed.counting(tmp_path / "log")]
    conducts = [conduct for conduct in OrPortConduct if conduct is not OrPortConduct.SILENCE]
    wrong = [conduct for conduct in ServerConduct if conduct is not ServerConduct.SILENT]
    with extended.orport(tmp_path, *conducts) as tor, wrapped.server(tmp_path, tor, *options) as bridge:
        tor.go.set()
        source = canary.address()
        answers = [visit(bridge.methods[NAME], "dummy", source=source) for _ in conducts]
        assert answers.count(HELLO) == 2
        bridge.program.expect(*wrong)
        for _ in wrong:
            visit(bridge.methods[NAME], "dummy", source=source)
        bridge.child.stop()
    assert "[scrubbed]" in said.read_text()
    everything = b"".join(content for _, content in canary.files_below(tmp_path))
    assert source.encode() not in everything
    assert source not in bridge.child.stdout + bridge.child.stderr


def test_by_default_no_client_is_logged(tmp_path: Path) -> None:
    """A line for each would date its visit."""
    said = tmp_path / "said"
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, "--log-file", str(said), *managed.counting(tmp_path / "log")) as bridge,
    ):
        before = said.read_text().splitlines()
        Visitors(bridge.methods[NAME], "dummy").visit(3)
        bridge.child.stop()
    behind = [line.partition("] ")[2] for line in said.read_text().splitlines()[len(before) :]]
    assert behind == ["Got SIGTERM. Terminating.", "Exiting."]


def test_where_safe_logging_is_off_addresses_are_shown(tmp_path: Path) -> None:
    """Tor gets a warning that it is off, but no address."""
    said = tmp_path / "said"
    options = ["--no-safe-logging", "--log-file", str(said), "--log-min-severity", "info", "--no-stats"]
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, *options) as bridge:
        bridge.entrance.enter("192.0.2.7:5678").close()
        bridge.child.stop()
    assert "192.0.2.7" in said.read_text()
    assert "192.0.2.7" not in bridge.child.stdout + bridge.child.stderr
    assert "safe logging is off" in bridge.child.stdout


def test_every_log_record_is_one_line(tmp_path: Path) -> None:
    """Date, severity, sentence in its file; the specification's form for tor."""
    said = tmp_path / "said"
    options = ["--log-file", str(said), "--log-min-severity", "debug", *managed.counting(tmp_path / "log")]
    with extended.orport(tmp_path, OrPortConduct.DENY) as tor, wrapped.server(tmp_path, tor, *options) as bridge:
        for _ in range(3):
            visit(bridge.methods[NAME], "dummy")
        bridge.child.stop()
    form = r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} \[(error|warn|notice|info|debug)\] .+"
    assert [line for line in said.read_text().splitlines() if not re.fullmatch(form, line)] == []
    own = [line for line in bridge.said() if line.startswith("LOG ")]
    assert own
    form = r'LOG SEVERITY=(error|warning|notice) MESSAGE="[ !#-\[\]-~]*(\\[0-7]{3}[ !#-\[\]-~]*)*"'
    assert [line for line in own if not re.fullmatch(form, line)] == []
    assert bridge.child.stderr == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a process that is not dumpable")
def test_the_wrap_leaves_no_core_and_is_not_dumpable(tmp_path: Path) -> None:
    """It holds S: the kernel makes no core file, and only root may read its memory."""
    options = managed.counting(tmp_path / "log")
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, *options) as bridge:
        limits = Path(f"/proc/{bridge.child.pid}/limits").read_text()
        mapped = Path(f"/proc/{bridge.child.pid}/smaps").read_text()
    (core,) = (line.split() for line in limits.splitlines() if line.startswith("Max core file size"))
    # One byte is less than a core has; with none the kernel would still hand it to a program, where one is set.
    assert core[4:6] in (["0", "0"], ["1", "1"])
    assert any({"lo", "dd", "dc"} <= set(line.split()) for line in mapped.splitlines() if line.startswith("VmFlags"))


def test_the_cookie_is_on_no_command_line_and_in_no_log(tmp_path: Path) -> None:
    """A process that knows it may name any client."""
    said = tmp_path / "said"
    options = ["--log-file", str(said), "--log-min-severity", "debug", "--no-stats"]
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, *options) as bridge:
        cookie = bridge.entrance.cookie_file.read_bytes()[32:]
        commands = [command_line(pid) for pid in family(bridge.child.pid)]
        bridge.entrance.enter("192.0.2.7:5678").close()
        bridge.child.stop()
    kept = b"".join(content for _, content in canary.files_below(tmp_path))
    assert cookie not in kept
    assert cookie.hex() not in "".join([kept.decode(errors="replace"), *commands, bridge.child.stdout])
