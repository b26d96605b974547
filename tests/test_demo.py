"""The demonstration works with libfaketime and without, and all its claims hold; it leaves only the site."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from peers.child import Child
from peers.missing import need
from peers.processes import Held, family
from tests.proxy.visiting import wait_until

WITHOUT_FAKETIME = "import peers.clocks; peers.clocks.find_faketime = lambda: None; "
RUN = "import demo.__main__; raise SystemExit(demo.__main__.main([]))"
SECONDS = 180.0
"""It takes less than a minute on a machine that does nothing else."""


@pytest.mark.parametrize("has_faketime", [True, False], ids=["libfaketime", "own clock"])
def test_every_claim_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_faketime: bool) -> None:
    """The real demonstration; each claim is checked by the run itself. Only the site is left."""
    if has_faketime:
        need("faketime", "faketime")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = f"{'' if has_faketime else WITHOUT_FAKETIME}{RUN}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (result.returncode, "31 of 31 claims held" in result.stdout) == (0, True), result.stdout + result.stderr
    assert ("libfaketime is not installed" in result.stdout) == (not has_faketime)
    page = Path(result.stdout.splitlines()[-1].rpartition(" ")[2])
    assert page.read_text().startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [page.parent]


def test_a_signal_ends_the_collector_too_and_leaves_nothing(tmp_path: Path) -> None:
    """As control-C does; the bridges have ended by then."""
    with Child([sys.executable, "-c", RUN], environment={"TMPDIR": str(tmp_path)}) as running:
        running.wait_for_line("stdout", "^  listening at http://127", SECONDS)
        with Held(family(running.pid)) as held:
            running.send_signal(signal.SIGINT)
            assert held.left(30.0) == []
        assert running.wait() == 128 + signal.SIGINT
        assert "stopped; nothing is left running" in running.stderr
    assert wait_until(lambda: not list(tmp_path.iterdir()))
