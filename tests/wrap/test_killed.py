"""The wrap or its program is killed: neither outlives the other, and the next start cleans up."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from obfstats.formats.logline import is_line
from peers import extended, managed, wrapped
from peers.processes import Held, family
from tests import canary
from tests.proxy.honest import AT_ONCE, Visitors, crowd, is_open
from tests.proxy.visiting import HELLO, visit, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from peers.wrapped import Wrapped

NAME = wrapped.NAME
KILLS = 2
VISITS = 4


def kill_under_load(bridge: Wrapped) -> int:
    """Kill the wrap under load; return how many clients were served."""
    visitors = Visitors(bridge.methods[NAME], "dummy")
    with visitors.connect() as staying, Held(family(bridge.child.pid)) as processes:
        with crowd(visitors):
            assert wait_until(lambda: len(visitors.served) > 5 * VISITS)
            bridge.child.send_signal(signal.SIGKILL)
            assert bridge.child.wait() == -signal.SIGKILL
            assert processes.left(5) == []
        assert not is_open(staying.socket)
    return len(visitors.served)


def test_what_starts_after_a_kill_takes_the_log_up_and_serves(tmp_path: Path) -> None:
    """Each kill loses at most a buffer of lines; the program dies with it, and the next start cleans up."""
    log = tmp_path / "log"
    options = managed.counting(log)
    served = 0
    left: list[Path] = []
    with extended.orport(tmp_path) as tor:
        for _ in range(KILLS):
            with wrapped.server(tmp_path, tor, *options) as bridge:
                assert not set(left) & set(bridge.folders())
                served += kill_under_load(bridge)
                left = bridge.folders()
                assert len(left) == 1
        with wrapped.server(tmp_path, tor, *options) as bridge:
            assert bridge.folders() == [bridge.entrance.cookie_file.parent]
            Visitors(bridge.methods[NAME], "dummy").visit(VISITS + 1)
            served += VISITS
    content = log.read_bytes()
    whole = sum(line.endswith(b"\n") and is_line(line) for line in content.splitlines(keepends=True))
    assert len(content.splitlines()) - whole <= KILLS
    assert content.endswith(b"\n")
    assert served - KILLS <= whole <= served + KILLS * AT_ONCE


def test_when_its_program_is_killed_it_ends_and_clears_up(tmp_path: Path) -> None:
    """Tor gets status 137, and no line is flushed."""
    log = tmp_path / "log"
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *managed.counting(log, buffer=100)) as bridge,
        bridge.entrance.enter(f"{canary.address()}:5678") as connection,
    ):
        os.kill(bridge.program.pid, signal.SIGKILL)
        assert bridge.child.wait() == 128 + signal.SIGKILL
        assert bridge.folders() == []
        assert not is_open(connection)
    assert log.read_bytes() == b""


def test_only_what_is_left_over_is_removed(tmp_path: Path) -> None:
    """Not the folder of a running wrap, nor other programs' files, nor the target of a link."""
    state, elsewhere = tmp_path / "pt_state", tmp_path / "elsewhere"
    state.mkdir()
    elsewhere.mkdir()
    for path in (elsewhere / "cookie", state / "wrap-notes.txt"):
        path.write_text("precious")
    (state / "wrap-11111111").symlink_to(elsewhere)
    left = state / "wrap-22222222"
    left.mkdir(mode=0o700)
    (left / "cookie").write_bytes(bytes(64))
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, "--no-stats", transports=["first"]) as first,
    ):
        assert not left.exists()
        with wrapped.server(tmp_path, tor, "--no-stats", transports=["second"]) as second:
            assert first.entrance.cookie_file.exists()
            assert visit(first.methods["first"], "dummy") == visit(second.methods["second"], "dummy") == HELLO
    assert (elsewhere / "cookie").read_text() == (state / "wrap-notes.txt").read_text() == "precious"
