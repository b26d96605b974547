"""The collector's disk is full: what was answered is published when there is room again."""

from __future__ import annotations

import re
import sys
from secrets import randbelow
from typing import TYPE_CHECKING

from peers.disk import mount
from tests.publish.programs import run

if TYPE_CHECKING:
    from pathlib import Path

    from peers.postgresql import Server

SIZE = 24 << 20
"""Bytes of the disk."""


def fill(tmp_path: Path, database: str) -> str:
    """Fill a collector's disk several times, and check its archive in the end; give what the run printed."""
    with mount(tmp_path / "disk", SIZE) as disk:
        (disk.folder / "collector").mkdir()
        words = [sys.executable, "-m", "tests.collect.killing", "fill", str(disk.folder / "collector"), database]
        result = run([*words, str(randbelow(2**32)), "4"], seconds=90)
    print(result.stdout.decode())
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def test_a_full_disk_below_ledger_and_files_loses_nothing(tmp_path: Path) -> None:
    """Documents are refused with 503 as long as the ledger cannot have them, and no longer."""
    printed = fill(tmp_path, str(tmp_path / "disk" / "collector" / "ledger.sqlite"))
    assert re.search("^[1-9][0-9]* requests were refused for want of space$", printed, re.MULTILINE)


def test_a_full_disk_below_the_files_alone_refuses_nothing(tmp_path: Path, postgresql_server: Server) -> None:
    """The ledger has the documents; they are published when there is room."""
    printed = fill(tmp_path, postgresql_server.create_database())
    assert "\n0 requests were refused for want of space\n" in printed
