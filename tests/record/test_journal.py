"""The log's file: who may read and write it, and what a disk may do."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obfstats.formats.interval import Interval
from obfstats.formats.logline import LineError, is_line, parse_line
from obfstats.record import LogInUseError, RecordError
from obfstats.record import journal as journal_module
from obfstats.record.backoff import LAST_RETRY, Backoff
from obfstats.record.journal import HELD_LINES, Journal
from tests.lockedfiles import REFUSED, append_only, file_size_limit, write_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINE = "2012-02-07 14:01:04 de 1234567890123456789012345678901234567890\n"


def batch(count: int, country: str = "de") -> list[str]:
    """That many lines, all different."""
    return [f"2012-02-07 14:01:04 {country} {number:040x}\n" for number in range(count)]


def append(journal: Journal, lines: list[str], now: float = 0.0) -> None:
    """Have whole lines of one interval written as a batch."""
    journal.append(Interval.parse(LINE[:19]), [line[20:-1] for line in lines], now)


def open_journal(path: Path, warnings: list[str] | None = None) -> Journal:
    """A journal whose warnings are kept."""
    return Journal(path, warn=(warnings if warnings is not None else []).append)


NOT_LOGS = [b"root:x:0:0:root:/root:/bin/bash\n", b"\x7fELF\x02\x01\x01\x00\x00", b"1\n2\n3\n", b"\n", b"x" * 200_000]


@pytest.mark.parametrize(
    ("make", "content", "sentence"),
    [(make, LINE.encode(), sentence) for make, sentence in REFUSED]
    + [(write_private, content, "is not a statistics log") for content in NOT_LOGS],
)
def test_a_file_that_cannot_be_our_log_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path, bytes], object], content: bytes, sentence: str
) -> None:
    """One sentence, and nothing on disk has changed."""
    path = tmp_path / "log"
    make(path, content)

    def state() -> list[tuple[str, int, int, int]]:
        return [
            (p.name, p.lstat().st_mode, p.lstat().st_size, p.lstat().st_mtime_ns) for p in sorted(tmp_path.iterdir())
        ]

    before = state()
    with pytest.raises(RecordError, match=sentence):
        open_journal(path)
    assert state() == before


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The error names it and says what to do."""
    with pytest.raises(RecordError, match=r"No such file or directory; name another"):
        open_journal(tmp_path / "none" / "log")


def test_a_second_program_is_refused(tmp_path: Path) -> None:
    """One log, one writer; once that has closed it the next may."""
    first = open_journal(tmp_path / "log")
    with pytest.raises(RecordError, match="in use by another program"):
        open_journal(tmp_path / "log")
    first.close()
    first.close()
    open_journal(tmp_path / "log").close()


def test_an_existing_log_is_continued(tmp_path: Path) -> None:
    """Lines are appended, never overwritten."""
    path = tmp_path / "log"
    for _ in range(2):
        journal = open_journal(path)
        append(journal, [LINE])
        journal.close()
    assert path.read_text() == LINE * 2


@given(order=st.permutations(batch(30)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_a_batch_is_written_sorted(tmp_path: Path, order: list[str]) -> None:
    """The order of arrival is gone: any permutation gives the same bytes."""
    path = tmp_path / "log"
    path.unlink(missing_ok=True)
    journal = open_journal(path)
    append(journal, order)
    journal.close()
    assert path.read_text() == "".join(batch(30))


def test_rotation_by_rename_is_followed(tmp_path: Path) -> None:
    """At the next tick there is a new file of the old name, 0600 and locked; the old file keeps its lines."""
    path = tmp_path / "log"
    journal = open_journal(path)
    append(journal, [LINE])
    path.rename(tmp_path / "log.1")
    append(journal, batch(2))
    journal.tick(0.0)
    assert (tmp_path / "log.1").read_text() == LINE
    assert path.read_text() == "".join(batch(2))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(RecordError, match="in use"):
        open_journal(path)


def test_a_new_log_is_never_created_in_a_clients_call(tmp_path: Path) -> None:
    """A file keeps the time of its creation, so a batch that a client filled waits for the tick."""
    path = tmp_path / "log"
    journal = open_journal(path)
    path.rename(tmp_path / "log.1")
    for number in (1, 2):
        append(journal, [LINE])
        assert not path.exists()
        assert journal.held == number
    journal.tick(0.0)
    assert (path.read_text(), journal.held) == (LINE * 2, 0)


def test_a_rotated_file_does_not_keep_the_time_of_the_last_client(tmp_path: Path) -> None:
    """It is not written any more: its time is that of the tick at which it was left."""
    path, old = tmp_path / "log", tmp_path / "log.1"
    journal = open_journal(path)
    append(journal, [LINE])
    path.rename(old)
    os.utime(old, (1_000_000_000, 1_000_000_000))
    journal.tick(0.0)
    assert old.stat().st_mtime > 1_000_000_001


def test_a_closed_log_does_not_keep_it_either(tmp_path: Path) -> None:
    """It gets the time of the stop, which is the operator's."""
    path = tmp_path / "log"
    journal = open_journal(path)
    append(journal, [LINE])
    os.utime(path, (1_000_000_000, 1_000_000_000))
    journal.close()
    assert path.stat().st_mtime > 1_000_000_001


def test_many_clients_before_the_next_tick_lose_nothing(tmp_path: Path) -> None:
    """A rotated log is followed at once when more lines wait than are held: the time identifies no client."""
    path = tmp_path / "log"
    journal = open_journal(path)
    path.rename(tmp_path / "log.1")
    for _ in range(HELD_LINES // 1000):
        append(journal, batch(1000))
        assert not path.exists()
    append(journal, batch(1000))
    assert (journal.held, journal.dropped) == (0, 0)
    assert len(path.read_text().splitlines()) == HELD_LINES + 1000


def test_a_missing_folder_is_tried_less_and_less_often(tmp_path: Path) -> None:
    """One warning for many ticks, and most of them do nothing."""
    folder, warnings = tmp_path / "folder", list[str]()
    folder.mkdir()
    journal = open_journal(folder / "log", warnings)
    folder.rename(tmp_path / "away")
    journal.tick(0.0)
    folder.mkdir()
    journal.tick(0.5)
    assert (list(folder.iterdir()), len(warnings)) == ([], 1)
    journal.tick(1.0)
    assert [path.name for path in folder.iterdir()] == ["log"]


def test_rotation_by_copying_and_truncating_is_followed(tmp_path: Path) -> None:
    """Lines are appended at the new end: there is no hole of zeros."""
    path = tmp_path / "log"
    journal = open_journal(path)
    append(journal, batch(50))
    os.truncate(path, 0)
    append(journal, [LINE])
    assert path.read_text() == LINE


def test_a_file_that_logrotate_created_for_others_is_made_private_and_used(tmp_path: Path) -> None:
    """As Debian's `create 0640` makes it, at run time and at the next start: no line is lost, one warning each time."""
    path, warnings = tmp_path / "log", list[str]()
    journal = open_journal(path, warnings)
    path.rename(tmp_path / "log.1")
    path.touch()
    path.chmod(0o640)
    append(journal, [LINE])
    for now in (0.0, 30.0):
        journal.tick(now)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (LINE, 0o600)
    journal.close()
    path.chmod(0o640)
    open_journal(path, warnings).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(warnings) == 2
    assert all("was open to others (0640) and is 0600 now" in warning for warning in warnings)


def test_a_log_that_is_opened_to_others_while_it_is_written_is_private_again(tmp_path: Path) -> None:
    """At the next tick, with a warning, and nothing else happens to it."""
    path, warnings = tmp_path / "log", list[str]()
    journal = open_journal(path, warnings)
    path.chmod(0o666)
    journal.tick(0.0)
    append(journal, [LINE])
    journal.tick(30.0)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (LINE, 0o600)
    assert len(warnings) == 1
    assert "(0666)" in warnings[0]


def test_a_log_with_a_second_name_gets_nothing_more(tmp_path: Path) -> None:
    """What is removed from the log would stay under that name: lines wait, with one warning, until it is gone."""
    path, warnings = tmp_path / "log", list[str]()
    journal = open_journal(path, warnings)
    append(journal, [LINE])
    (tmp_path / "second").hardlink_to(path)
    for now in (0.0, 30.0):
        journal.tick(now)
        append(journal, [LINE], now)
    assert (path.read_text(), journal.held) == (LINE, 2)
    assert len(warnings) == 1
    assert "has a second name (a hard link)" in warnings[0]
    (tmp_path / "second").unlink()
    journal.tick(LAST_RETRY)
    assert (path.read_text(), journal.held) == (LINE * 3, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_log_that_is_given_to_another_user_gets_nothing_more(tmp_path: Path) -> None:
    """That user could read it."""
    path, warnings = tmp_path / "log", list[str]()
    journal = open_journal(path, warnings)
    os.chown(path, 65534, 65534)
    journal.tick(0.0)
    append(journal, [LINE])
    assert (path.read_text(), journal.held, len(warnings)) == ("", 1, 1)
    assert "belongs to another user" in warnings[0]


@pytest.mark.parametrize("cut", [1, 22, 30, 62, 63])
def test_a_torn_last_line_is_sealed(tmp_path: Path, cut: int) -> None:
    """What a killed program left gets a newline; what follows is whole."""
    path = tmp_path / "log"
    write_private(path, (LINE + LINE[:cut]).encode())
    journal = open_journal(path)
    append(journal, [LINE])
    assert path.read_text() == LINE + LINE[:cut] + "\n" + LINE


@pytest.mark.parametrize("columns", [" ob", " obfs3", " obfs3 ", " obfs3 v", " <O"])
def test_a_line_torn_within_its_columns_is_never_read_as_whole(tmp_path: Path, columns: str) -> None:
    """`obfs3` cut to `ob` would be another transport's name: the line is made invalid."""
    path = tmp_path / "log"
    write_private(path, (LINE + LINE[:-1] + columns).encode())
    open_journal(path).close()
    whole, torn = path.read_bytes().splitlines()
    assert parse_line(whole).country == "de"
    with pytest.raises(LineError):
        parse_line(torn)


def test_a_last_line_that_lacks_only_its_newline_is_kept(tmp_path: Path) -> None:
    """A line with its family is complete."""
    path = tmp_path / "log"
    write_private(path, (LINE[:-1] + " obfs3 v4").encode())
    open_journal(path).close()
    assert parse_line(path.read_bytes()).transport == "obfs3"


def test_a_log_that_was_torn_in_its_first_line_is_still_a_log(tmp_path: Path) -> None:
    """A crash in the first minute must not stop the next start, nor the one after it."""
    path = tmp_path / "log"
    for cut in (12, 40):
        write_private(path, LINE[:cut].encode())
        for _ in range(2):
            open_journal(path).close()
        assert path.read_text() == LINE[:cut] + "\n"


@pytest.mark.parametrize("free", [0, 1, 63, 64, 100, 64 * 9])
def test_a_full_disk_never_shows_a_part_of_a_batch(tmp_path: Path, free: int) -> None:
    """A short write is cut off again; once there is space everything is written, once."""
    path, warnings = tmp_path / "log", list[str]()
    journal = open_journal(path, warnings)
    append(journal, [LINE])
    with file_size_limit(64 + free):
        append(journal, batch(10))
        assert path.read_text() == LINE
    journal.tick(1.0)
    assert path.read_text() == LINE + "".join(batch(10))
    assert (journal.held, journal.dropped) == (0, 0)


@pytest.mark.parametrize("columns", ["", " obfs3", " obfs3 v4"])
def test_no_line_is_there_twice_where_a_part_of_a_batch_cannot_be_cut_off(tmp_path: Path, columns: str) -> None:
    """An append-only file on a full disk, cut at every byte of a line: each line is read once, or damaged and again."""
    lines = [line[:-1] + columns + "\n" for line in batch(3)]
    length = len(lines[0])
    for free in range(length, 2 * length + 1):
        path = tmp_path / f"log{free}"
        journal = open_journal(path)
        with append_only(path):
            with file_size_limit(free):
                append(journal, lines)
            assert path.stat().st_size == free
            journal.tick(1.0)
        # What is torn between hash and columns counts without them.
        found = [line.decode()[:63] for line in path.read_bytes().splitlines() if is_line(line)]
        assert sorted(found) == [line[:63] for line in lines]
        assert (journal.held, journal.dropped) == (0, 0)
        journal.close()


def test_a_disk_that_stays_full_is_tried_less_and_less_often(tmp_path: Path) -> None:
    """Retries back off to ten minutes; there is one warning."""
    warnings: list[str] = []
    journal = open_journal(tmp_path / "log", warnings)
    tries = []
    with file_size_limit(0):
        append(journal, [LINE])
        for now in range(3000):
            planned = journal._backoff.at
            journal.tick(float(now))
            if journal._backoff.at != planned:
                tries.append(now)
    assert tries == [1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1623, 2223, 2823]
    assert len(warnings) == 1


def test_what_is_held_is_bounded_and_what_is_dropped_is_counted(tmp_path: Path) -> None:
    """Whole batches are dropped, so that no country is favoured; memory stays under its cap."""
    journal = open_journal(tmp_path / "log")
    with file_size_limit(0):
        for _ in range(HELD_LINES // 1000 + 5):
            append(journal, batch(1000))
    assert (journal.held, journal.dropped) == (HELD_LINES, 5000)
    journal.tick(LAST_RETRY)
    assert len((tmp_path / "log").read_text().splitlines()) == HELD_LINES


def test_a_batch_larger_than_what_is_held_is_still_written(tmp_path: Path) -> None:
    """A buffer of a whole day may be larger than the bound."""
    journal = open_journal(tmp_path / "log")
    append(journal, batch(HELD_LINES + 1))
    assert journal.dropped == 0
    assert (tmp_path / "log").stat().st_size == 64 * (HELD_LINES + 1)


def test_closing_writes_nothing(tmp_path: Path) -> None:
    """Held lines die with the process (ticket, step 6)."""
    journal = open_journal(tmp_path / "log")
    with file_size_limit(0):
        append(journal, batch(5))
    journal.close()
    assert (tmp_path / "log").read_bytes() == b""
    assert journal.held == 0


def test_waiting_times_double_up_to_ten_minutes() -> None:
    """The first is a second; in between, a try is not due."""
    backoff, now, waits = Backoff(), 100.0, list[float]()
    assert backoff.is_due(now)
    for _ in range(12):
        backoff.fail("the disk is full", now)
        assert not backoff.is_due(backoff.at - 0.1)
        waits.append(backoff.at - now)
        now = backoff.at
        assert backoff.is_due(now)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, LAST_RETRY, LAST_RETRY]


def test_what_works_again_is_tried_at_once_and_begins_anew() -> None:
    """Nothing of the failures is remembered."""
    backoff = Backoff()
    for _ in range(5):
        backoff.fail("the disk is full", 100.0)
    assert backoff.reason == "the disk is full"
    backoff.succeed()
    assert (backoff.reason, backoff.is_due(0.0)) == ("", True)
    backoff.fail("again", 100.0)
    assert backoff.at == 101.0


def test_of_programs_that_start_together_one_has_the_log(tmp_path: Path) -> None:
    """A program that was a moment too late finds a log in use, not a broken one: in managed mode it uses another."""
    barrier = threading.Barrier(4)

    def begin(path: Path) -> Journal | None:
        barrier.wait()
        try:
            return Journal(path, warn=lambda _: None)
        except LogInUseError:
            return None

    with ThreadPoolExecutor(4) as pool:
        for number in range(50):
            journals = list(pool.map(begin, [tmp_path / str(number)] * 4))
            assert len([journal for journal in journals if journal is not None]) == 1
            for journal in journals:
                if journal is not None:
                    journal.close()


def test_an_interval_has_a_bounded_number_of_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole batches are dropped beyond it, with one warning; the next interval is written again."""
    monkeypatch.setattr(journal_module, "MAX_INTERVAL_LINES", 25)
    warnings: list[str] = []
    journal = open_journal(tmp_path / "log", warnings)
    for _ in range(5):
        append(journal, batch(10))
    assert (tmp_path / "log").read_text() == "".join(batch(10) * 2)
    assert [warning.partition(": ")[0] for warning in warnings] == [
        "the interval from 2012-02-07 14:01:04 has more than 25 connections"
    ]
    journal.append(Interval.parse("2012-02-08 14:01:04"), ["de " + "0" * 40], 0.0)
    assert (tmp_path / "log").read_text().splitlines()[20:] == ["2012-02-08 14:01:04 de " + "0" * 40]


class SlowDisk:
    """A disk that does what it is told when the test lets it."""

    def __init__(self, journal: Journal) -> None:
        """Take the journal's jobs."""
        self._jobs: list[Callable[[], None]] = []
        journal.run_job = self._jobs.append

    def answer(self) -> None:
        """Do everything, in order."""
        while self._jobs:
            self._jobs.pop(0)()


def test_lines_wait_for_a_disk_that_does_not_answer(tmp_path: Path) -> None:
    """With one warning at the first tick, and one when it answers; each line is written once, in order."""
    warnings: list[str] = []
    journal = open_journal(tmp_path / "log", warnings)
    disk = SlowDisk(journal)
    for number, country in enumerate(("de", "ir", "tr")):
        append(journal, batch(10, country), float(number))
    assert (journal.held, warnings) == (30, [])
    for now in range(30, 900, 30):
        journal.tick(float(now))
    assert len(warnings) == 1
    assert "(the disk does not answer)" in warnings[0]
    disk.answer()
    assert (tmp_path / "log").read_text() == "".join(batch(10))
    journal.tick(LAST_RETRY * 3)
    disk.answer()
    journal.tick(LAST_RETRY * 3 + 30)
    assert (tmp_path / "log").read_text() == "".join(batch(10) + batch(10, "ir") + batch(10, "tr"))
    assert (journal.held, journal.dropped) == (0, 0)
    assert [warning.partition("; ")[2] for warning in warnings[1:]] == ["lines lost so far: 0"]


def test_what_waits_for_a_disk_that_does_not_answer_is_bounded(tmp_path: Path) -> None:
    """As for a full one: whole batches are dropped and counted."""
    journal = open_journal(tmp_path / "log")
    disk = SlowDisk(journal)
    for _ in range(HELD_LINES // 1000 + 5):
        append(journal, batch(1000))
    assert (journal.held, journal.dropped) == (HELD_LINES, 5000)
    for now in (30.0, LAST_RETRY, LAST_RETRY * 3):
        disk.answer()
        journal.tick(now)
    disk.answer()
    assert len((tmp_path / "log").read_text().splitlines()) == HELD_LINES


def test_a_log_is_closed_while_the_disk_does_not_answer(tmp_path: Path) -> None:
    """What the disk was given before is written; what was held is not."""
    journal = open_journal(tmp_path / "log")
    disk = SlowDisk(journal)
    append(journal, batch(10))
    append(journal, batch(10, "ir"))
    journal.close()
    assert journal.held == 0
    disk.answer()
    assert (tmp_path / "log").read_text() == "".join(batch(10))
    open_journal(tmp_path / "log").close()
