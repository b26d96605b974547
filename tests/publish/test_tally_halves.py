"""Long logs are cut where an interval ends, and both halves are counted at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.publish.logfiles import find
from obfstats.publish.tally.halves import halve
from tests.publish.logs import DAMAGE, STARTS, line, logs

if TYPE_CHECKING:
    from collections.abc import Sequence

ALWAYS = 1 << 30
"""Bytes of an interval that none here has."""


def halved(contents: Sequence[bytes], longest: int = ALWAYS) -> list[list[tuple[int, bytes]]] | None:
    """Cut logs in two; give for each half which logs it has lines of, and the lines."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        for place, content in enumerate(contents):
            (Path(folder) / str(place)).write_bytes(content)
        found = find([str(Path(folder) / str(place)) for place in range(len(contents))])
        halves = halve([(place, log, opened.enter_context(log.open())) for place, log in enumerate(found)], longest)
        if halves is None:
            return None
        return [[(place, contents[place][log.begin : log.size]) for place, log in half] for half in halves]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor has nothing to share out")
def test_halves_have_the_numbers_of_the_whole() -> None:
    """Whatever the logs are: where a cut was wrong all is counted again, and no byte is said to be read twice."""
    program = subprocess.run(
        [sys.executable, "-m", "tests.publish.halving"],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert (program.returncode, program.stderr) == (0, "")
    happened = json.loads(program.stdout)
    assert min(happened.values()) > 5, happened


COUNT_FORKS = """
import sys
from obfstats.cli import main
sys.addaudithook(lambda event, _: event == "os.fork" and print(event, file=sys.stderr))
sys.exit(main())
"""


def test_the_program_counts_a_million_lines_in_halves(tmp_path: Path) -> None:
    """Nothing that it has loaded has begun a thread."""
    log = tmp_path / "clients.log"
    log.write_bytes(line(STARTS[0]) * 600_000 + line(STARTS[1], client=1) * 600_000)
    program = subprocess.run(
        [sys.executable, "-c", COUNT_FORKS, "convert", str(log)],
        env={name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert program.stderr.split() == (["os.fork"] * 2 if len(os.sched_getaffinity(0)) > 1 else [])
    assert program.stdout.count("de 600000") == 2


COUNT_ALL = """
import os, resource, signal, sys
from obfstats.publish import plain
from obfstats.publish.logfiles import find
from obfstats.publish.tally import tally
from obfstats.publish.tally.sizes import Sizes
forks = 0
def fail(number):
    def hook(event, _):
        global forks
        forks += event == "os.fork"
        if event == "os.fork" and forks == number:
            raise OSError("no further process")
    sys.addaudithook(hook)
{condition}
before = os.listdir("/proc/self/fd")
found = tally(find(sys.argv[1:]), sizes=Sizes(halved=1))
assert os.listdir("/proc/self/fd") == before
resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE)[1:] * 2)
assert found == plain.count(find(sys.argv[1:]), lambda _: None)
print(forks)
"""
CONDITIONS = {
    "few files may be open": ("fail(0); resource.setrlimit(resource.RLIMIT_NOFILE, (20, 1000))", "0"),
    "the end of processes is ignored": ("fail(0); signal.signal(signal.SIGCHLD, signal.SIG_IGN)", "0"),
    "there is no process": ("fail(1)", "1"),
    "there is only one": ("fail(2)", "2"),
}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor has nothing to share out")
@pytest.mark.parametrize(("condition", "forks"), CONDITIONS.values(), ids=CONDITIONS)
def test_logs_that_cannot_be_halved_are_counted_whole(tmp_path: Path, condition: str, forks: str) -> None:
    """Whatever is lacking, the numbers are the same, and nothing is left open."""
    names = [str(tmp_path / f"clients.log.{number:02}") for number in range(40)]
    for number, name in enumerate(names):
        Path(name).write_bytes(line(STARTS[number // 20]) * 10 + line(STARTS[number // 20 + 1]) * 10)
    program = subprocess.run(
        [sys.executable, "-c", COUNT_ALL.format(condition=condition), *names],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert (program.stdout, program.stderr) == (f"{forks}\n", "")


@given(st.lists(logs() | st.sampled_from(sorted(DAMAGE.values())), min_size=1, max_size=4))
@settings(deadline=None)
def test_nothing_is_lost_or_there_twice(several: list[bytes]) -> None:
    """Both halves behind each other are the logs, and no line is cut."""
    halves = halved(several)
    if halves is None:
        return
    parts = [b""] * len(several)
    for place, lines in [*halves[0], *halves[1]]:
        parts[place] += lines
    assert parts == several
    assert halves[0][-1][1].endswith(b"\n")
    assert all(lines for place, lines in halves[1][:1])


@given(st.lists(st.integers(1, 30), min_size=2, max_size=4), st.integers(0, 40))
@settings(deadline=None)
def test_a_recorders_log_is_cut_between_two_days(lengths: list[int], torn: int) -> None:
    """It is cut beside the day in the middle; of the log's last line a piece may be missing."""
    days = [line(start, client=7) * length for start, length in zip(sorted(STARTS), lengths, strict=False)]
    log = b"".join(days)
    log = log[: len(log) - torn]
    halves = halved([log])
    assert halves is not None
    (((_, first),), ((_, second),)) = halves
    assert len(first) in {len(b"".join(days[:number])) for number in range(1, len(days))}
    assert first + second == log
    assert abs(len(first) - len(second)) <= max(map(len, days)) + 2 * len(line())


def test_an_interval_that_goes_on_in_the_next_log_is_not_cut() -> None:
    """Logs are rotated when they are, and not when an interval ends."""
    first, second = line(STARTS[0]) * 10, line(STARTS[1]) * 10
    assert halved([first + second, second]) == [[(0, first)], [(0, second), (1, second)]]
    assert halved([first, first]) is None


@pytest.mark.parametrize("pieces", [1, 7, 50])
def test_long_intervals_are_left_whole(pieces: int) -> None:
    """Two of them at the same time would be in memory; in however many pieces the log was rotated."""
    log = line(STARTS[0]) * 100 + line(STARTS[1]) * 100
    size = -(-len(log) // len(line()) // pieces) * len(line())
    logs = [log[begin : begin + size] for begin in range(0, len(log), size)]
    assert halved(logs, longest=50 * len(line())) is None
    assert pieces == 50 or halved(logs, longest=100 * len(line())) is not None


def test_a_log_that_is_rotated_meanwhile_is_read_on(tmp_path: Path) -> None:
    """Both halves are of the file that was there at first."""
    path = tmp_path / "clients.log"
    content = line(STARTS[0]) * 10 + line(STARTS[1]) * 10
    path.write_bytes(content)
    (log,) = find([str(path)])
    with log.open() as file:
        halves = halve([(0, log, file)], ALWAYS)
        assert halves is not None
        path.rename(tmp_path / "clients.log.1")
        path.write_bytes(line(STARTS[2]))
        for half in halves:
            with half[0][1].open() as again:
                assert os.pread(again.fileno(), len(content), 0) == content
