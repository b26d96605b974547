"""The program is killed under load and started again on the same log, as tor does it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from obfstats.formats.logline import is_line
from peers import extended, managed
from tests.proxy.honest import AT_ONCE, Visitors, crowd, is_open
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from peers.managed import Managed

KILLS = 3
VISITS = 4


def kill_under_load(bridge: Managed) -> int:
    """Kill it while clients connect; return how many were served."""
    visitors = Visitors(bridge.methods["obfs3"])
    with visitors.connect() as staying:
        with crowd(visitors):
            assert wait_until(lambda: len(visitors.served) > 5 * VISITS)
            bridge.child.send_signal(signal.SIGKILL)
            assert bridge.child.wait() == -signal.SIGKILL
        assert not is_open(staying.socket)
    return len(visitors.served)


def test_after_a_kill_the_next_program_uses_the_log_and_serves(tmp_path: Path) -> None:
    """Three kills in a row: each loses at most a buffer of lines, and no line before or after it."""
    log = tmp_path / "log"
    argv = managed.ours(*managed.counting(log))
    served = 0
    with extended.orport(tmp_path) as tor:
        for _ in range(KILLS):
            with managed.server(tmp_path / "state", tor, argv=argv) as bridge:
                served += kill_under_load(bridge)
        with managed.server(tmp_path / "state", tor, argv=argv) as bridge:
            Visitors(bridge.methods["obfs3"]).visit(VISITS + 1)
            served += VISITS
    content = log.read_bytes()
    whole = sum(line.endswith(b"\n") and is_line(line) for line in content.splitlines(keepends=True))
    assert len(content.splitlines()) - whole <= KILLS
    assert content.endswith(b"\n")
    assert served - KILLS <= whole <= served + KILLS * AT_ONCE
