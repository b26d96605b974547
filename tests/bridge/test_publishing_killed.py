"""A program may be killed at any of its steps: the next one finishes what it has begun, once, and leaves no halves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from peers.clocks import DAY, TICKETS_START, MovedClock
from tests.bridge.published import FIRST, SECOND, Bridge

ROOT = Path(__file__).parents[2]

LATER = "2012-02-13-14-01-04-obfsproxy-stats"
"""What the program that comes afterwards publishes of its own."""


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What is left of a bridge that was killed, for every step."""
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        (sys.executable, "-m", "tests.bridge.killing", folder), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    homes = sorted(folder.iterdir())
    assert len(homes) > 100
    return homes


def test_whatever_is_known_to_be_over_is_published_once(left_behind: list[Path]) -> None:
    """With all of its clients. A document that was out stays as it was; a later day is nobody's loss."""
    for home in left_behind:
        out = documents(home)
        ledger = (home / "public" / ".ledger").read_text()
        go_on(home)
        for name, day, requests in ((FIRST, "2012-02-07", 16), (SECOND, "2012-02-08", 8)):
            is_over = f"{day} 14:01:04 (86400 s) over (files: 1)\n" in ledger
            wanted = f"obfsproxy-reqs DE={requests}\n".encode()
            assert (name in documents(home)) == is_over, home.name
            assert documents(home).get(name, wanted).count(wanted) == 1, home.name
            released = (home / "public" / ".ledger").read_text().count(f"{day} 14:01:04 (86400 s) released")
            assert released == is_over, home.name
        assert out.items() <= documents(home).items()
        assert LATER in documents(home)


def test_nothing_is_left_of_what_was_begun(left_behind: list[Path]) -> None:
    """No file under a hidden name, and no line of a day that is past: `--forget-after 0`."""
    for home in left_behind:
        go_on(home)
        assert [path.name for path in home.rglob(".*.new")] == [], home.name
        assert b"2012-02-0" not in (home / "clients.log").read_bytes(), home.name


def go_on(home: Path) -> None:
    """Start the bridge again days later, and let it run for a day; nothing happens where that has been done."""
    if LATER in documents(home):
        return
    bridge = Bridge(home, MovedClock(TICKETS_START + 5 * DAY), forget_after=0.0)
    bridge.tick(31)
    bridge.tick(31)
    bridge.visit(3)
    bridge.end_day()
    bridge.stop()


def documents(home: Path) -> dict[str, bytes]:
    """Read what an outsider sees."""
    return {path.name: path.read_bytes() for path in (home / "public").glob("2*")}
