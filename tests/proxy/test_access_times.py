"""What the bridge reads while it serves a client keeps its access time, which would be a client's moment."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from obfstats.wire.extorport import COOKIE_LENGTH, write_cookie
from peers import extended, managed, wrapped
from tests.proxy.honest import Visitors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Introduces a client under another user than the cookie's.
INTRODUCING_PROCESS = """
import os, sys
from pathlib import Path
from obfstats.proxy.orport import OrPortTarget
os.setresuid(65534, 65534, 65534)
print(OrPortTarget([], Path(sys.argv[1]), os.urandom).introduce("obfs3", b"192.0.2.7:5678") is not None)
"""


def _access_times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_atime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["obfsproxy", "wrap"])
def bridge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[managed.Managed | wrapped.Wrapped]:
    """Give a bridge whose files were never read."""
    counting = managed.counting(tmp_path / "log", buffer=100)
    with extended.orport(tmp_path) as tor:
        if request.param == "wrap":
            with wrapped.server(tmp_path, tor, *counting) as wrap:
                yield wrap
        else:
            with managed.server(tmp_path / "state", tor, argv=managed.ours(*counting), transports=["dummy"]) as server:
                yield server


def test_a_client_changes_no_access_time(tmp_path: Path, bridge: managed.Managed | wrapped.Wrapped) -> None:
    """Tor's cookie, which we read; the wrap's, which the transport reads; GeoIP files and the log."""
    before = _access_times(tmp_path)
    assert tmp_path / "extended_orport_auth_cookie" in before
    (address,) = bridge.methods.values()
    Visitors(address, "dummy").visit(2)
    assert _access_times(tmp_path) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_users_cookie_is_read_all_the_same(tmp_path: Path) -> None:
    """The kernel lets only its owner keep the access time."""
    cookie = tmp_path / "cookie"
    cookie.write_bytes(write_cookie(bytes(COOKIE_LENGTH)))
    # The folders that pytest makes are closed to other users.
    with cookie.open("rb") as opened:
        result = subprocess.run(
            [sys.executable, "-c", INTRODUCING_PROCESS, f"/proc/self/fd/{opened.fileno()}"],
            pass_fds=[opened.fileno()], capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert (result.stdout, result.stderr) == ("True\n", "")
