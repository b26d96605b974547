"""Logs as an operator has them: rotated, compressed, named in any order, twice, or read from a pipe."""

from __future__ import annotations

import gzip
import lzma
import os
import threading
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from obfstats.publish.logfiles import LogFileError, find
from obfstats.publish.oldlogs.log2stats import count_old_logs
from tests.publish.oldlogs import DAY, FIRST, NOW, RecordingContext, c, connected, go, text, v4

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from obfstats.formats.counts import Counts
    from obfstats.publish.oldlogs.log2stats import OldLogCounts

DAYS = [
    "".join(connected(FIRST + day * DAY + second * 60, f"192.0.2.{day}:{second + 1}") for second in range(1, 100))
    for day in range(4)
]
START = c(FIRST, "Starting.", "notice")
END = c(FIRST + 4 * DAY, "Exiting.", "notice")


def count(*names: Path | str, advance: Callable[[int], None] = lambda _size: None) -> OldLogCounts:
    """Count logs, given their names."""
    logs = find([str(name) for name in names])
    return count_old_logs(logs, RecordingContext().context(), advance=advance, now=NOW)


def days(found: OldLogCounts) -> list[int]:
    """Give the number of connections of each interval."""

    def number(counts: Counts) -> int:
        return sum(counts.requests.values())

    return [number(one) for one in found.intervals]


@pytest.fixture
def rotated(tmp_path: Path) -> list[Path]:
    """The four days as logrotate leaves them, the newest first, as a pattern of the shell lists them."""
    newest, second, third, oldest = (tmp_path / f"obfsproxy.log{end}" for end in ("", ".1", ".2.gz", ".3.xz"))
    newest.write_text(DAYS[3] + END)
    second.write_text(DAYS[2])
    third.write_bytes(gzip.compress(DAYS[1].encode()))
    oldest.write_bytes(lzma.compress((START + DAYS[0]).encode()))
    return [newest, second, third, oldest]


def test_rotated_logs_are_put_in_order(rotated: list[Path]) -> None:
    """In whatever order they are named, compressed or not; an interval continues in the next log."""
    for names in (rotated, rotated[::-1], [rotated[2], rotated[0], rotated[3], rotated[1]]):
        found = count(*names)
        assert days(found) == [99] * 4
        assert found.notes == []


def test_progress_adds_up_to_the_sizes_of_the_files(rotated: list[Path]) -> None:
    """Also for compressed logs."""
    done: list[int] = []
    count(*rotated, advance=done.append)
    assert sum(done) == sum(path.stat().st_size for path in rotated)


def test_a_missing_log_between_two_makes_no_difference_to_the_others(rotated: list[Path]) -> None:
    """The other days are counted; the missing one is an interval without a client."""
    assert days(count(*rotated[:2], rotated[3])) == [99] * 3


def test_logs_of_two_programs_side_by_side_are_merged_by_time(tmp_path: Path) -> None:
    """A note gives their names; the start of one begins a new interval for both."""
    one, other = tmp_path / "obfsproxy.log", tmp_path / "obfs4proxy.log"
    one.write_text(START + "".join(DAYS) + END)
    other.write_text("".join(go(FIRST + 60 + day * DAY, "obfs4(192.0.2.9:5) - new connection") for day in range(4)))
    found = count(other, one)
    assert days(found) == [100] * 4
    assert [dict(counts.transports or {}) for counts in found.intervals] == [{"obfs2": 1, "obfs4": 1}] * 4
    (warning,) = found.notes
    assert warning == (
        f"{other} and {one} overlap: their lines are put in order by time and counted together, "
        "as if one program had written them"
    )


@pytest.mark.parametrize("way", ["same name", "hard link", "symbolic link"])
def test_the_same_file_is_read_once(tmp_path: Path, way: str) -> None:
    """A pattern and a name beside it may name it twice; its clients are counted once."""
    log, again = tmp_path / "obfsproxy.log", tmp_path / "again.log"
    log.write_text(START + "".join(DAYS) + END)
    if way == "hard link":
        again.hardlink_to(log)
    elif way == "symbolic link":
        again.symlink_to(log)
    else:
        again = log
    found = count(log, again)
    assert days(found) == [99] * 4
    assert found.notes == [f"{again} is the same file as one before it and is read once"]


def test_a_copy_is_another_log_and_gets_a_note(tmp_path: Path) -> None:
    """It cannot be told from the log of a second program."""
    for name in ("0.log", "1.log"):
        (tmp_path / name).write_text(START + "".join(DAYS) + END)
    found = count(tmp_path / "0.log", tmp_path / "1.log")
    assert days(found) == [198] * 4
    assert "overlap" in found.notes[0]


def test_a_pipe_is_read_once_and_put_in_order(tmp_path: Path) -> None:
    """Its beginning cannot be read a second time; a rotated log beside it is ordered as well."""
    pipe, newest = tmp_path / "pipe", tmp_path / "obfsproxy.log"
    os.mkfifo(pipe)
    newest.write_text(DAYS[2] + DAYS[3] + END)
    writer = threading.Thread(target=pipe.write_text, args=("\n" * 3 + START + DAYS[0] + DAYS[1],))
    writer.start()
    found = count(newest, pipe)
    writer.join()
    assert days(found) == [99] * 4


def test_a_damaged_archive_is_an_error(tmp_path: Path) -> None:
    """It is not known what half of a compressed log lacks."""
    log = tmp_path / "obfsproxy.log.2.gz"
    log.write_bytes(gzip.compress((START + "".join(DAYS)).encode())[:-20])
    with pytest.raises(LogFileError, match="corrupt or truncated"):
        count(log)


def test_a_log_that_disappears_is_an_error(tmp_path: Path) -> None:
    """It was rotated between the search for it and reading it."""
    log = tmp_path / "obfsproxy.log"
    log.write_text(START)
    found = find([str(log)])
    log.unlink()
    with pytest.raises(LogFileError, match="cannot read"):
        count_old_logs(found, RecordingContext().context())


def test_a_line_of_any_length_needs_no_memory(tmp_path: Path) -> None:
    """Three hundred megabytes without a newline, followed by a good log."""
    log = tmp_path / "obfsproxy.log"
    length = 300_000_000
    with log.open("wb") as file:
        file.truncate(length)
        file.seek(length)
        file.write(("\n" + START + DAYS[0] + END).encode())
    tracemalloc.start()
    try:
        found = count(log)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        # All files that a run leaves are searched for addresses; here that would take minutes.
        log.unlink()
    assert days(found) == [99]
    assert peak < 30_000_000


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """Three times as long, and no more memory: lines are not kept once they are counted."""
    date = text(FIRST)[:10]
    day = "".join(connected(FIRST, f"{v4(number)}:{number + 1}") for number in range(20_000))
    peaks = []
    for size in (3, 9):
        log = tmp_path / f"{size}.log"
        with log.open("w") as file:
            file.writelines(day.replace(date, text(FIRST + number * DAY)[:10]) for number in range(size))
        tracemalloc.start()
        try:
            assert len(count(log).intervals) == size - 1
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        log.unlink()
    assert peaks[1] < 1.2 * peaks[0]


def test_a_log_of_many_years_is_counted_day_by_day(tmp_path: Path) -> None:
    """Small days, many of which are in one block."""
    log = tmp_path / "obfsproxy.log"
    log.write_text(START + "".join(connected(FIRST + hour * 3_600) for hour in range(24 * 1_000)))
    found = count(log)
    assert len(found.intervals) == 999
    assert set(days(found)) == {24}
    assert found.intervals[-1].interval.label == text(FIRST + 998 * DAY)
