"""Following a rotated log on request (SIGHUP), instead of at the next tick."""

from __future__ import annotations

import fcntl
import stat
from typing import TYPE_CHECKING

import pytest

from obfstats.record import RecordError
from obfstats.record.backoff import LAST_RETRY
from obfstats.record.journal import Journal
from tests.record.surroundings import Bench, secret_of

if TYPE_CHECKING:
    from pathlib import Path


def is_free(path: Path) -> bool:
    """Tell whether a log is not locked."""
    with path.open("rb") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_the_new_file_is_created_at_once_and_the_old_one_is_released(tmp_path: Path) -> None:
    """Empty, 0600 and locked; the old one is not used any more."""
    bench = Bench(tmp_path / "log", buffer=1)
    bench.fill(3)
    old = tmp_path / "log.1"
    bench.path.rename(old)
    assert not is_free(old)
    bench.recorder.reopen()
    assert (bench.path.read_bytes(), stat.S_IMODE(bench.path.stat().st_mode)) == (b"", 0o600)
    assert (is_free(old), is_free(bench.path)) == (True, False)
    assert len(old.read_text().splitlines()) == 2
    assert bench.warnings == []


def test_buffer_secret_and_interval_are_kept(tmp_path: Path) -> None:
    """Nothing is flushed, and a client keeps its hash."""
    bench = Bench(tmp_path / "log", buffer=1)
    key = secret_of(bench.recorder)
    bench.recorder.record("192.0.2.1")
    bench.path.rename(tmp_path / "log.1")
    bench.recorder.reopen()
    assert bench.lines() == []
    for _ in range(3):
        bench.recorder.record("192.0.2.1")
    assert secret_of(bench.recorder) == key
    assert len(bench.lines()) == 3
    assert len(set(bench.lines())) == 1
    assert (tmp_path / "log.1").read_bytes() == b""


def test_a_log_that_was_not_rotated_stays_as_it_is(tmp_path: Path) -> None:
    """The same file, open as before."""
    bench = Bench(tmp_path / "log", buffer=2)
    bench.fill(3)
    before = bench.path.stat()
    bench.recorder.reopen()
    after = bench.path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert not is_free(bench.path)


def test_a_missing_folder_is_reported_once_and_tried_again(tmp_path: Path) -> None:
    """Never an error; soon after the folder is back there is a log, without a client or another request."""
    folder = tmp_path / "folder"
    folder.mkdir()
    bench = Bench(folder / "log", buffer=2)
    folder.rename(tmp_path / "gone")
    for _ in range(3):
        bench.recorder.reopen()
    assert len(bench.warnings) == 1
    assert "No such file or directory" in bench.warnings[0]
    folder.mkdir()
    bench.clock.pass_time(LAST_RETRY)
    bench.recorder.tick()
    assert bench.path.read_bytes() == b""
    assert [warning.rpartition("/")[2] for warning in bench.warnings[1:]] == [
        "log is written again; lines lost so far: 0"
    ]


def test_lines_that_wait_for_the_disk_are_written(tmp_path: Path) -> None:
    """The operator has repaired the disk, and does not wait for the next try."""
    folder = tmp_path / "folder"
    folder.mkdir()
    bench = Bench(folder / "log", buffer=1)
    folder.rename(tmp_path / "gone")
    bench.fill(7)
    assert bench.journal.held == 6
    folder.mkdir()
    bench.recorder.reopen()
    assert (len(bench.lines()), bench.journal.held) == (6, 0)


def test_a_file_in_its_place_that_is_open_to_others_is_made_private(tmp_path: Path) -> None:
    """One warning, and no line waits."""
    bench = Bench(tmp_path / "log", buffer=1)
    bench.path.rename(tmp_path / "log.1")
    bench.path.touch()
    bench.path.chmod(0o644)
    bench.recorder.reopen()
    assert bench.path.stat().st_mode & 0o777 == 0o600
    bench.fill(5)
    assert len(bench.lines()) == 4
    assert len(bench.warnings) == 1
    assert "create 0600" in bench.warnings[0]


def test_after_closing_it_does_nothing(tmp_path: Path) -> None:
    """No file is created, and nothing is logged."""
    bench = Bench(tmp_path / "log")
    bench.recorder.close()
    bench.path.unlink()
    bench.recorder.reopen()
    assert list(tmp_path.iterdir()) == []
    assert bench.warnings == []


def test_a_second_program_cannot_open_the_new_file(tmp_path: Path) -> None:
    """One log, one writer, through every rotation."""
    bench = Bench(tmp_path / "log")
    bench.path.rename(tmp_path / "log.1")
    bench.recorder.reopen()
    with pytest.raises(RecordError, match="in use by another program"):
        Journal(bench.path, warn=print)
    Journal(tmp_path / "log.1", warn=print).close()
