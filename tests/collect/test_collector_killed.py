"""kill -9 at random moments under load: every document that was answered is in the archive, once.

Here some collectors are killed. OBFSTATS_KILLS=200 kills as many, on each database, in about two minutes.
"""

from __future__ import annotations

import os
import sys
from secrets import randbelow
from typing import TYPE_CHECKING

from tests.publish.programs import run

if TYPE_CHECKING:
    from pathlib import Path

KILLS = int(os.environ.get("OBFSTATS_KILLS", "40"))


def test_killed_collectors_lose_nothing_that_was_answered(tmp_path: Path, database_url: str) -> None:
    """Each is killed at a random moment: while it starts, commits, writes, packs. The archive is whole in the end."""
    folder = tmp_path / "disk" / "collector"
    folder.mkdir(parents=True)
    words = [sys.executable, "-m", "tests.collect.killing", "kill", str(folder), database_url]
    result = run([*words, str(randbelow(2**32)), str(KILLS)], seconds=60 + KILLS)
    print(result.stdout.decode())
    assert result.returncode == 0, result.stderr.decode()
