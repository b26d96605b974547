"""Programs that begin at the same moment and would all like to make the same log."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from obfstats.record import LogInUseError
from obfstats.record.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

TOGETHER = 4
TIMES = 50


def test_one_has_the_log_and_the_others_are_told_so(tmp_path: Path) -> None:
    """Whoever was a moment too late finds a log in use, not one that is broken: in managed mode it takes another."""
    barrier = threading.Barrier(TOGETHER)

    def begin(path: Path) -> Journal | None:
        barrier.wait()
        try:
            return Journal(path, warn=lambda _: None)
        except LogInUseError:
            return None

    with ThreadPoolExecutor(TOGETHER) as pool:
        for number in range(TIMES):
            journals = list(pool.map(begin, [tmp_path / str(number)] * TOGETHER))
            assert len([journal for journal in journals if journal is not None]) == 1
            for journal in journals:
                if journal is not None:
                    journal.close()
