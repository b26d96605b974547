"""A program may be killed at any of its steps: the next one finishes what it has started, once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from peers.clocks import DAY, TICKETS_START, MovedClock
from tests.bridge.published import FIRST, SECOND, Bridge

ROOT = Path(__file__).parents[2]

LATER = "2012-02-13-14-01-04-obfsproxy-stats"
"""What the next program publishes of its own intervals."""


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of bridges that were killed, one for each step."""
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        (sys.executable, "-m", "tests.bridge.killing", folder), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    homes = sorted(folder.iterdir())
    assert len(homes) > 100
    return homes


def test_whatever_is_known_to_be_over_is_published_once(left_behind: list[Path]) -> None:
    """With all its clients; a published document stays unchanged, and a later day is published."""
    for home in left_behind:
        out = documents(home)
        ledger = (home / ".clients.log.ledger").read_text()
        go_on(home)
        for name, day, requests in ((FIRST, "2012-02-07", 16), (SECOND, "2012-02-08", 8)):
            is_over = f"{day} 14:01:04 (86400 s) over (files: 1)\n" in ledger
            wanted = f"obfsproxy-reqs DE={requests}\n".encode()
            assert (name in documents(home)) == is_over, home.name
            assert documents(home).get(name, wanted).count(wanted) == 1, home.name
            released = (home / ".clients.log.ledger").read_text().count(f"{day} 14:01:04 (86400 s) released")
            assert released == is_over, home.name
        assert out.items() <= documents(home).items()
        assert LATER in documents(home)


def test_nothing_is_left_of_what_was_begun(left_behind: list[Path]) -> None:
    """No hidden file, and with `--forget-after 0` no line of a past day."""
    for home in left_behind:
        go_on(home)
        assert [path.name for path in home.rglob(".*.new")] == [], home.name
        assert b"2012-02-0" not in (home / "clients.log").read_bytes(), home.name


def go_on(home: Path) -> None:
    """Start the bridge again days later and let it run for a day, unless that was done already."""
    if LATER in documents(home):
        return
    bridge = Bridge(home, MovedClock(TICKETS_START + 5 * DAY), forget_after=0.0)
    bridge.tick(31)
    bridge.tick(31)
    bridge.visit(3)
    bridge.end_day()
    bridge.stop()


def documents(home: Path) -> dict[str, bytes]:
    """Read the published documents."""
    return {path.name: path.read_bytes() for path in (home / "public").glob("2*")}
