"""The demonstration works with libfaketime and without, and all its claims hold."""

from __future__ import annotations

import subprocess
import sys

import pytest

from peers.missing import need

WITHOUT_FAKETIME = "import peers.clocks; peers.clocks.find_faketime = lambda: None; "


@pytest.mark.parametrize("has_faketime", [True, False], ids=["libfaketime", "own clock"])
def test_every_claim_holds(*, has_faketime: bool) -> None:
    """The real demonstration; each claim is checked by the run itself."""
    if has_faketime:
        need("faketime", "faketime")
    code = f"{'' if has_faketime else WITHOUT_FAKETIME}import demo.__main__; raise SystemExit(demo.__main__.main([]))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, "22 of 22 claims held" in result.stdout) == (0, True), result.stdout + result.stderr
    assert ("libfaketime is not installed" in result.stdout) == (not has_faketime)
