"""Taking old intervals out of the log while it is written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from obfstats.formats.interval import Interval
from obfstats.lockedfile import LockedFile
from obfstats.record.errors import LogInUseError
from obfstats.record.journal import Journal
from obfstats.record.rewriting import Rewriting

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = Interval.parse("2012-02-07 14:01:04"), Interval.parse("2012-02-08 14:01:04")


def entry(client: int) -> str:
    """The rest of a line."""
    return f"de {client:040x}"


def lines(path: Path) -> list[str]:
    """What is in the log."""
    return path.read_text("ascii").splitlines()


def is_new(start: str) -> bool:
    """Keep the second day."""
    return start == NEW.label


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A log with two days."""
    opened = Journal(tmp_path / "log", warn=lambda _: None)
    opened.append(OLD, [entry(client) for client in range(5000)], 0.0)
    opened.append(NEW, [entry(client) for client in range(3)], 0.0)
    return opened


def test_old_lines_are_removed_and_the_others_stay(journal: Journal) -> None:
    """In their order, byte for byte; mode and lock are the log's."""
    kept = lines(journal.path)[5000:]
    rewriting = journal.begin_rewriting()
    rewriting.copy(is_new)
    journal.finish_rewriting(rewriting)
    assert lines(journal.path) == kept
    assert rewriting.removed == 5000
    assert journal.path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(LogInUseError):
        Journal(journal.path, warn=lambda _: None)
    assert [one.name for one in journal.path.parent.iterdir()] == ["log"]


def test_what_is_appended_meanwhile_is_kept(journal: Journal) -> None:
    """Lines that are appended between the copy and the change of files, and after it.

    Whatever they are labelled: the clock may have been set back to a day that is being removed.
    """
    rewriting = journal.begin_rewriting()
    rewriting.copy(is_new)
    journal.append(NEW, [entry(7)], 0.0)
    journal.append(OLD, [entry(8)], 0.0)
    journal.finish_rewriting(rewriting)
    journal.append(NEW, [entry(9)], 0.0)
    assert [line[-1] for line in lines(journal.path)] == ["0", "1", "2", "7", "8", "9"]


def test_what_is_appended_during_the_copy_is_kept_whatever_its_label(journal: Journal) -> None:
    """The clock was set back to the day that is being removed: its new lines stay."""
    rewriting = journal.begin_rewriting()
    journal.append(OLD, [entry(7)], 0.0)
    rewriting.copy(is_new)
    journal.finish_rewriting(rewriting)
    assert [line[-1] for line in lines(journal.path)] == ["0", "1", "2", "7"]
    assert rewriting.removed == 5000


def test_the_change_of_files_does_not_wait_for_the_disk(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that appends serves clients; the copy, made on another thread, is on the disk by then."""
    rewriting = journal.begin_rewriting()
    synced = list[int]()
    monkeypatch.setattr(os, "fsync", synced.append)
    rewriting.copy(is_new)
    assert len(synced) == 1
    journal.append(NEW, [entry(7)], 0.0)
    journal.finish_rewriting(rewriting)
    assert len(synced) == 1


def test_a_log_that_was_rotated_away_meanwhile_stays_as_it_is(journal: Journal, tmp_path: Path) -> None:
    """The operator keeps the old one; the new one is created as usual, and no copy is left."""
    rewriting = journal.begin_rewriting()
    rewriting.copy(is_new)
    journal.path.rename(tmp_path / "log.1")
    with pytest.raises(OSError, match="rotated away"):
        journal.finish_rewriting(rewriting)
    journal.append(NEW, [entry(1)], 0.0)
    journal.tick(0.0)
    assert len(lines(tmp_path / "log.1")) == 5003
    assert len(lines(journal.path)) == 1
    assert sorted(one.name for one in tmp_path.iterdir()) == ["log", "log.1"]


def test_a_new_log_under_the_name_is_not_replaced(journal: Journal, tmp_path: Path) -> None:
    """Rotated with `create`: the name leads to another file by now."""
    rewriting = journal.begin_rewriting()
    rewriting.copy(is_new)
    journal.path.rename(tmp_path / "log.1")
    journal.path.touch(0o600)
    with pytest.raises(OSError, match="rotated away"):
        journal.finish_rewriting(rewriting)
    assert lines(journal.path) == []


def test_damaged_lines_stay_and_whole_lines_stay_whole(journal: Journal) -> None:
    """A torn line, NULs, carriage returns and a giant line do not affect their neighbours."""
    with journal.path.open("ab") as log:
        log.write(b"\0\r2012\r\n" + b"x" * 300_000 + b"\n" + NEW.label.encode() + b" torn")
    rewriting = journal.begin_rewriting()
    rewriting.copy(lambda start: not start.startswith("2012-02-07"))
    journal.finish_rewriting(rewriting)
    parts = journal.path.read_bytes().split(b"\n")
    assert len(parts) == 6
    assert parts[3] == b"\0\r2012\r"
    assert parts[4].startswith(b"xxx")
    assert parts[5] == NEW.label.encode() + b" torn"


def test_a_copy_that_a_killed_program_left_is_removed_at_the_next_open(tmp_path: Path) -> None:
    """It contains lines that may have been removed since."""
    (tmp_path / ".log.new").write_text("left behind")
    Journal(tmp_path / "log", warn=lambda _: None).close()
    assert [one.name for one in tmp_path.iterdir()] == ["log"]


def test_a_disk_without_space_for_the_copy_changes_nothing(journal: Journal) -> None:
    """The log is whole under its name, and lines are appended to it."""
    before = journal.path.read_bytes()
    rewriting = journal.begin_rewriting()
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, rewriting._new.descriptor)
    os.close(full)
    with pytest.raises(OSError, match="No space left"):
        rewriting.copy(lambda _: True)
    rewriting.abandon()
    journal.append(NEW, [entry(1)], 0.0)
    assert journal.path.read_bytes() == before + f"{NEW.label} {entry(1)}\n".encode()


def test_the_last_space_of_a_disk_is_left_to_the_next_lines(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy would take it again and again, and no batch would be written."""
    real = os.statvfs(journal.path)
    nearly_full = os.statvfs_result([*real[:4], (1 << 19) // real.f_frsize, *real[5:]])
    rewriting = journal.begin_rewriting()
    with monkeypatch.context() as full:
        full.setattr(os, "fstatvfs", lambda _descriptor: nearly_full)
        with pytest.raises(OSError, match="No space left"):
            rewriting.copy(lambda _: True)
    assert (journal.path.parent / ".log.new").stat().st_size == 0
    rewriting.abandon()


def test_only_its_owner_can_read_the_copy(journal: Journal) -> None:
    """Whatever the umask."""
    before = os.umask(0)
    try:
        rewriting = Rewriting(LockedFile(journal.path, os.open(journal.path, os.O_RDONLY)))
    finally:
        os.umask(before)
    assert (journal.path.parent / ".log.new").stat().st_mode & 0o777 == 0o600
    rewriting.abandon()


def test_a_log_that_was_emptied_meanwhile_is_not_restored(journal: Journal) -> None:
    """After copying and truncating, the new lines must not be lost, nor the old ones written again."""
    rewriting = journal.begin_rewriting()
    rewriting.copy(lambda _start: True)
    os.truncate(journal.path, 0)
    journal.append(NEW, [entry(7)], 0.0)
    with pytest.raises(OSError, match="rotated away"):
        journal.finish_rewriting(rewriting)
    assert [line[-1] for line in lines(journal.path)] == ["7"]
