"""Two collectors on one PostgreSQL and one folder, under load: each document once."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from secrets import randbelow
from typing import TYPE_CHECKING

from obfstats.collect.archive.publishing import open_collector_key
from tests.publish.programs import run

if TYPE_CHECKING:
    from pathlib import Path

    from peers.postgresql import Server


def test_collectors_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    """One of them makes it; no other reads a part of it, or makes another."""
    for number in range(10):
        folder = tmp_path / str(number)
        with ThreadPoolExecutor(8) as pool:
            keys = [future.result() for future in [pool.submit(open_collector_key, folder) for _ in range(8)]]
        assert len({key.public for key in keys}) == 1
        assert [path.name for path in folder.iterdir()] == ["collector.key"]


def test_two_collectors_publish_each_document_once(tmp_path: Path, postgresql_server: Server) -> None:
    """Both get the same documents, at the same moments; one or the other publishes; now and then one is killed."""
    folder = tmp_path / "disk" / "collector"
    folder.mkdir(parents=True)
    words = [sys.executable, "-m", "tests.collect.killing", "together", str(folder)]
    result = run([*words, postgresql_server.create_database(), str(randbelow(2**32)), "5"], seconds=90)
    print(result.stdout.decode())
    assert result.returncode == 0, result.stderr.decode()
