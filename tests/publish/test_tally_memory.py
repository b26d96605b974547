"""Memory is a matter of how many clients come in an interval, and not of how long or how odd the log is."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from obfstats.publish import plain
from obfstats.publish.logfiles import find
from obfstats.publish.tally import tally
from obfstats.publish.tally.general_lines import Run
from obfstats.publish.tally.interval_rows import IntervalRows
from obfstats.publish.tally.memory import Memory
from peers.program import OBFSTATS
from tests.publish.logs import line
from tests.publish.test_tally_repeats import both, packed

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.publish.tally.fixed_lines import Rows, Words

START = b"2012-02-07 14:01:04"
LIMIT, RUN = 10_000, 1_000


class Watched(Memory):
    """Memory that remembers how much was wanted at once."""

    most = 0
    most_keys = 0

    def keys(self, count: int) -> Words:
        """Give room for keys, as ever."""
        self.most_keys = max(self.most_keys, count)
        return super().keys(count)

    def take(self, count: int) -> Rows:
        """Give room, as ever."""
        self.most = max(self.most, count)
        return super().take(count)


def most_rows(heavy: int, runs: int) -> int:
    """Count one client with most of the lines among some that come once; give how many rows were kept at once.

    Args:
        heavy: the last eight digits of its hash, which decide whether it is in the sample.
        runs: how many thousand lines there are.
    """
    memory = Watched(0)
    rows = IntervalRows(START, memory, LIMIT, both)
    random = np.random.default_rng(5047)
    for _ in range(runs):
        table = np.zeros((RUN, 5), np.uint64)
        table[:, 2] = heavy
        table[:10, :2] = random.integers(0, 2**63, (10, 2), np.uint64)
        table[:10, 2] = random.integers(0, 2**32, 10, np.uint64)
        rows.add(Run(START, packed(table), frozenset((0,))))
    counts = rows.counts([b""])
    assert counts.requests == {"??": RUN * runs}
    assert counts.addresses == {"??": 10 * runs + 1}
    return memory.most


@pytest.mark.parametrize("heavy", [0, 0xFFFFFFFF])
def test_one_client_with_most_of_the_lines_is_kept_once(heavy: int) -> None:
    """Whether or not it is one of those that are looked at to find out whether rows repeat each other."""
    assert most_rows(heavy, 200) <= 2 * LIMIT


def test_clients_that_come_once_are_all_kept() -> None:
    """The bound above is none that always holds."""
    memory = Watched(0)
    rows = IntervalRows(START, memory, LIMIT, both)
    table = np.zeros((50 * RUN, 5), np.uint64)
    table[:, 2] = np.arange(50 * RUN)
    for first in range(0, 50 * RUN, RUN):
        rows.add(Run(START, packed(table[first : first + RUN]), frozenset((0,))))
    assert rows.counts([b""]).addresses == {"??": 50 * RUN}
    assert memory.most > 2 * LIMIT


@pytest.mark.parametrize(("end", "keys"), [(b"", 0), (b" obfs3", RUN)], ids=["plain", "with a column"])
def test_plain_rows_are_sorted_where_they_stand(end: bytes, keys: int) -> None:
    """Only of columns more is asked after rows have been sorted."""
    memory = Watched(0)
    rows = IntervalRows(START, memory, LIMIT, both)
    table = np.zeros((RUN, 5), np.uint64)
    table[:, 2] = np.arange(RUN)
    table[:, 4] = bool(end)
    rows.add(Run(START, packed(table), frozenset((int(bool(end)),))))
    assert rows.counts([b"", end]).addresses == {"??": RUN}
    assert memory.most_keys == keys


def scattered(count: int) -> bytes:
    """Lines that each are of an interval of their own."""
    first = datetime.fromisoformat("2012-02-07 14:01:04")
    return b"".join(line(f"{first + timedelta(minutes=number)}") for number in range(count))


def test_a_new_interval_with_every_line_is_counted_as_well(tmp_path: Path) -> None:
    """No bridge writes such a log; it takes neither long nor much."""
    log = tmp_path / "clients.log"
    log.write_bytes(scattered(50_000))
    done = 0

    def advance(size: int) -> None:
        nonlocal done
        done += size

    assert tally(find([str(log)]), advance) == plain.count(find([str(log)]), lambda _: None)
    assert done == log.stat().st_size


def test_many_intervals_in_a_pipe_are_not_much_in_memory() -> None:
    """What can be read only once keeps all its intervals until the end, each as large as it is."""
    program = (
        f"import resource, subprocess, sys; subprocess.run({[OBFSTATS, 'convert', '-']!r}, check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], input=scattered(8_000), capture_output=True, check=True)
    assert result.stdout.count(b"\n") == 2 * 8_000 + 2
    assert int(result.stderr) < 200_000
