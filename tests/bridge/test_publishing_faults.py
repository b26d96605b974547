"""Obstacles to a document: it is published once they are gone, and nothing else is delayed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import mmap
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from obfstats.bridge import threads
from obfstats.bridge.interval_sources import count_in_files
from obfstats.formats.interval import Interval
from peers.clocks import DAY
from tests.bridge.published import FIRST, SECOND, Bridge

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bridge(tmp_path: Path) -> Bridge:
    """A bridge with a log."""
    return Bridge(tmp_path)


@contextlib.contextmanager
def no_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk that refuses to rename files."""

    def fail(_path: Path, _target: Path) -> Path:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as failing:
        failing.setattr(Path, "rename", fail)
        yield


def test_one_interval_that_cannot_be_published_does_not_hold_up_another(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does it keep old lines in the log; each obstacle is logged with its path."""
    bridge.visit(9)
    (bridge.folder / FIRST / "full").mkdir(parents=True)
    bridge.end_day()
    bridge.visit(2)
    bridge.end_day()
    assert bridge.document(SECOND).ips == {"DE": 8}
    assert f"{FIRST}" in caplog.text
    shutil.rmtree(bridge.folder / FIRST)
    bridge.tick(31)
    assert bridge.document().ips == {"DE": 16}


def test_a_folder_that_takes_nothing_is_said_once_and_tried_again(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients never notice; the document is written when the folder is back."""
    bridge.visit(9)
    hidden = bridge.home / "away"
    bridge.folder.rename(hidden)
    bridge.end_day()
    bridge.tick(31)
    assert [record.levelname for record in caplog.records if "cannot publish" in record.message] == ["WARNING"]
    hidden.rename(bridge.folder)
    bridge.tick(31)
    assert bridge.names() == [FIRST]


def test_a_document_that_could_not_be_given_its_name_gets_it_later(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The ledger has its release already, so it is not made again, and the obstacle is reported as gone."""
    caplog.set_level("INFO")
    bridge.visit(9)
    with no_names(monkeypatch):
        bridge.end_day()
    assert not list(bridge.folder.glob("2*"))
    bridge.tick(31)
    assert bridge.document().requests == {"DE": 16}
    assert "accepts documents again" in caplog.text
    assert "is published" in caplog.text


def test_a_document_that_went_before_it_had_its_name_is_written_again(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same document: deleting the hidden file must not cost the day."""
    bridge.visit(9)
    with no_names(monkeypatch):
        bridge.end_day()
    (bridge.folder / f".{FIRST}.new").unlink()
    bridge.tick(31)
    assert bridge.document().requests == {"DE": 16}
    assert bridge.ledger.read_text().count("released") == 1


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_with_a_documents_name_is_replaced(bridge: Bridge, target: str) -> None:
    """Another user of the folder put it there: the document is not lost, and what the link led to is left alone."""
    elsewhere = bridge.home / "elsewhere"
    elsewhere.write_text("private")
    elsewhere.chmod(0o600)
    (bridge.folder / FIRST).symlink_to(bridge.home / target)
    bridge.visit(9)
    bridge.end_day()
    assert not (bridge.folder / FIRST).is_symlink()
    assert bridge.document().requests == {"DE": 16}
    assert (elsewhere.read_text(), elsewhere.stat().st_mode & 0o7777) == ("private", 0o600)
    assert not (bridge.home / "nowhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_another_users_file_with_a_documents_name_is_replaced(bridge: Bridge) -> None:
    """It is no document of ours."""
    (bridge.folder / FIRST).write_text("forged")
    os.chown(bridge.folder / FIRST, 65534, 65534)
    bridge.visit(9)
    bridge.end_day()
    assert bridge.document().requests == {"DE": 16}


def test_a_link_in_place_of_a_document_that_is_being_written_is_not_followed(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document is written anew, and nobody may read what the link led to."""
    elsewhere, hidden = bridge.home / "elsewhere", bridge.folder / f".{FIRST}.new"
    elsewhere.write_text("private")
    elsewhere.chmod(0o600)
    bridge.visit(9)
    with no_names(monkeypatch):
        bridge.end_day()
    hidden.unlink()
    hidden.symlink_to(elsewhere)
    bridge.tick(31)
    assert bridge.document().requests == {"DE": 16}
    assert (elsewhere.read_text(), elsewhere.stat().st_mode & 0o7777) == ("private", 0o600)


def test_a_log_is_counted_once_however_long_the_folder_is_away(bridge: Bridge) -> None:
    """Not again with every tick: once the document is made the log is not needed."""
    bridge.visit(9)
    away = bridge.home / "away"
    bridge.folder.rename(away)
    bridge.end_day()
    bridge.log.unlink()
    bridge.tick(31)
    away.rename(bridge.folder)
    bridge.tick(31)
    assert bridge.document().requests == {"DE": 16}


def test_a_log_that_cannot_be_counted_is_read_ever_more_rarely(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """At first with every tick, later every ten minutes, because a long log takes seconds."""
    bridge.visit(9)
    copied = bridge.home / "clients.log.1"
    shutil.copy(bridge.log, copied)
    opened, real = list[Path](), Path.open

    def watch(path: Path, mode: str = "r") -> object:
        opened.append(path)
        return real(path, mode)

    monkeypatch.setattr(Path, "open", watch)
    bridge.end_day()
    for _ in range(3600 // 30):
        bridge.tick(30)
    assert 5 < opened.count(copied) < 60


def test_old_lines_that_cannot_go_are_copied_ever_more_rarely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the log would be copied in vain with every tick."""
    bridge = Bridge(tmp_path, forget_after=0.0)
    bridge.visit(9)
    real, asked = os.statvfs(tmp_path), list[int]()

    def full(descriptor: int) -> os.statvfs_result:
        asked.append(descriptor)
        return os.statvfs_result([*real[:4], 0, *real[5:]])

    with monkeypatch.context() as disk:
        disk.setattr(os, "fstatvfs", full)
        bridge.tick(DAY)
        bridge.visit(9)
        for _ in range(3600 // 30):
            bridge.tick(30)
    assert 5 < len(asked) < 20
    bridge.tick(601)
    assert "2012-02-07" not in bridge.log.read_text()
    assert "2012-02-08" in bridge.log.read_text()


def test_the_loop_never_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting, releasing and removing sync on threads of their own, never on the loop's."""
    bridge = Bridge(tmp_path, forget_after=0.0)
    bridge.visit(9)
    threads, real = set[str](), os.fsync

    def sync(descriptor: int) -> None:
        threads.add(threading.current_thread().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    bridge.end_day()
    bridge.tick(31)
    assert bridge.names() == [FIRST]
    assert bridge.log.read_text() == ""
    assert threads == {"publish", "remove-lines"}


def test_where_no_thread_can_be_started_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit on processes it is tried again, and the tries leave no file open."""
    bridge = Bridge(tmp_path, forget_after=0.0)
    bridge.visit(9)

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as refusing:
        refusing.setattr(threading.Thread, "start", refuse)
        bridge.end_day()
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(40):
            bridge.tick(31)
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    bridge.tick(601)
    bridge.tick(601)
    assert bridge.names() == [FIRST]
    assert bridge.log.read_text() == ""


def test_where_memory_is_short_the_count_is_tried_again(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One sentence, as for a full disk."""

    def refuse(*_given: object, **_named: object) -> object:
        raise MemoryError

    bridge.visit(9)
    with monkeypatch.context() as short:
        short.setattr(mmap, "mmap", refuse)
        bridge.end_day()
    assert "Cannot allocate memory" in caplog.text
    bridge.tick(31)
    assert bridge.names() == [FIRST]


def test_each_thing_that_is_in_the_way_is_said(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """A second one as well, while the first stays."""
    bridge.visit(9)
    shutil.copy(bridge.log, bridge.home / "clients.log.1")
    bridge.end_day()
    assert "are there twice" in caplog.text
    caplog.clear()
    bridge.folder.rename(bridge.home / "away")
    bridge.end_day()
    bridge.tick(31)
    assert [record.message for record in caplog.records if "No such file" in record.message] != []
    assert "are there twice" not in caplog.text


def test_what_cannot_be_counted_for_a_week_is_given_up_and_its_lines_go(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """The copy was never moved away; the lines must not stay because of that."""
    bridge.visit(9)
    shutil.copy(bridge.log, bridge.home / "clients.log.1")
    bridge.end_day()
    for _ in range(6):
        bridge.tick(DAY)
    assert "2012-02-07" in bridge.log.read_text()
    bridge.tick(DAY + 601)
    bridge.tick(DAY)
    assert "2012-02-07" not in bridge.log.read_text()
    assert "the interval from 2012-02-07 14:01:04 is given up" in caplog.text


def test_an_interval_that_began_like_one_that_is_out_is_said_to_be_lost(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine without a real-time clock starts twice at the same second: one of two days is published."""
    began = bridge.clock.wall()
    bridge.visit(9)
    bridge.end_day()
    bridge.stop()
    bridge.log.unlink()
    bridge.clock.set_wall(began - bridge.clock.wall())
    bridge.start()
    bridge.visit(2)
    bridge.end_day()
    assert bridge.document().requests == {"DE": 16}
    assert "one with the same start has been" in caplog.text


def test_a_damaged_file_beside_a_whole_log_holds_up_nothing(bridge: Bridge) -> None:
    """No line is missing without it; the same for a directory, a dangling link or a pipe with such a name."""
    (bridge.home / "clients.log-20990101.gz").write_bytes(b"\x1f\x8bbroken")
    (bridge.home / "clients.log.1").mkdir()
    (bridge.home / "clients.log.2").symlink_to("nowhere")
    os.mkfifo(bridge.home / "clients.log.3")
    for beside in bridge.home.glob("clients.log[-.]?*"):
        os.utime(beside, (2**32, 2**32), follow_symlinks=False)
    bridge.visit(9)
    bridge.end_day()
    assert bridge.names() == [FIRST]


def test_a_file_that_was_rotated_away_before_an_interval_is_not_opened(tmp_path: Path) -> None:
    """It cannot have any of the lines, so it does not matter whether it can be read."""
    old, interval = tmp_path / "clients.log.7.gz", Interval.parse("2012-02-07 14:01:04")
    old.write_bytes(b"\x1f\x8bbroken")
    assert count_in_files(tmp_path / "clients.log", interval).error is not None
    os.utime(old, (1_000_000_000, 1_000_000_000))
    assert count_in_files(tmp_path / "clients.log", interval).error is None


def test_a_line_of_the_future_does_not_keep_the_old_ones(tmp_path: Path) -> None:
    """The clock was set, and the log's first line is years ahead. Damaged lines stay for the operator to look at."""
    damaged, future = "what is this", f"2038-01-01 00:00:00 de {1:040x}"
    log = tmp_path / "clients.log"
    log.write_text(f"{damaged}\n{future}\n")
    log.chmod(0o600)
    bridge = Bridge(tmp_path, forget_after=0.0)
    bridge.visit(9)
    bridge.end_day()
    assert log.read_text().splitlines() == [damaged, future]


def test_a_folder_that_never_answers_is_asked_once(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network folder that hangs: later ticks do not wait for it, and start nothing."""
    asked = []

    async def hang(name: str, _work: object) -> None:
        asked.append(name)
        await asyncio.Event().wait()

    async def ticks() -> None:
        first = asyncio.create_task(bridge.publisher.publish_due())
        await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.wait_for(bridge.publisher.publish_due(), 10)
        first.cancel()

    bridge.visit(9)
    bridge.clock.pass_time(DAY)
    bridge.recorder.tick()
    bridge.clock.pass_time(301)
    bridge.recorder.tick()
    monkeypatch.setattr(threads, "run_in_thread", hang)
    asyncio.run(ticks())
    assert asked == ["publish"]


def test_a_pipe_in_the_folder_does_not_stop_the_start(bridge: Bridge) -> None:
    """A pipe under the name of a document that is being written is not read."""
    bridge.stop()
    os.mkfifo(bridge.folder / f".{FIRST}.new")
    bridge.start()
    bridge.tick()
    assert bridge.names() == []


@pytest.fixture
def alarm() -> Iterator[None]:
    """Interrupt a call of this thread that has blocked for ten seconds."""

    def ring(_signal: int, _frame: object) -> None:
        raise AssertionError("a call waits for ever")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
def test_a_pipe_in_the_logs_place_stops_nobody(bridge: Bridge) -> None:
    """Another user could put one there: clients are counted, and the log is created again."""
    bridge.visit(9)
    bridge.log.rename(bridge.home / "clients.log.1")
    os.mkfifo(bridge.log)
    bridge.tick(31)
    bridge.tick(31)
    bridge.visit(9)
    assert "not a regular file" in "".join(bridge.said)
    bridge.log.unlink()
    bridge.end_day()
    assert bridge.document().requests == {"DE": 24}


def test_a_killed_program_leaves_nothing_half_done(bridge: Bridge) -> None:
    """Killed between ledger and rename: the next start renames. Before the ledger: it is made again."""
    bridge.visit(9)
    bridge.end_day()
    (bridge.folder / FIRST).rename(bridge.folder / f".{FIRST}.new")
    text = (bridge.folder / f".{FIRST}.new").read_bytes()
    (bridge.folder / f".{SECOND}.new").write_bytes(text.replace(b"02-08", b"02-09"))
    bridge.stop()
    bridge.start()
    assert bridge.names() == [FIRST]
    assert [path.name for path in bridge.folder.iterdir() if path.name.endswith(".new")] == []
    assert (bridge.folder / FIRST).read_bytes() == text
