"""The ledger: that no interval is released twice, whatever happens to the file."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obfstats.formats.interval import Interval
from obfstats.publish.ledger import (
    GIVEN_UP,
    MAX_LEDGER_SIZE,
    ROUNDED,
    Ledger,
    LedgerError,
    LedgerLine,
    parse_line,
    write_line,
)
from tests.lockedfiles import REFUSED, append_only, file_size_limit, write_private

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
KILLS = 12

START = Interval.parse("2012-02-10 09:22:04")
NEXT = Interval.parse("2012-02-11 09:22:04")
THIRD = Interval.parse("2012-02-12 09:22:04")
DAY = 86_400
NOISY = "discrete-laplace epsilon=0.5"
EXAMPLE = b"""2012-02-10 09:22:04 (86400 s) over (files: 1)
2012-02-10 09:22:04 (86400 s) released rounded
2012-02-11 09:22:04 (86400 s) over (files: 1)
2012-02-12 09:22:04 (86400 s) released discrete-laplace epsilon=0.5
"""
LAST = EXAMPLE.splitlines()[-1]

_LAST_START = datetime(9900, 1, 1)  # noqa: DTZ001 - what is drawn has no zone either
STARTS = st.datetimes(max_value=_LAST_START).map(lambda moment: moment.replace(microsecond=0, tzinfo=UTC))
EPSILONS = st.decimals("0.000001", "20", places=6)
NOISES = EPSILONS.map(lambda epsilon: f"discrete-laplace epsilon={epsilon:f}")
WAYS = st.sampled_from(("rounded", "given up")) | NOISES
INTERVALS = st.builds(Interval, STARTS, st.integers(1, 999_999_999))
LINES = st.builds(LedgerLine, INTERVALS, WAYS) | st.builds(LedgerLine, INTERVALS, st.none(), st.integers(0, 99_999))


# What it remembers.


def test_an_interval_is_released_once(tmp_path: Path) -> None:
    """The second time is refused, in the same program and in the next, however it is to be released."""
    path = tmp_path / "ledger"
    with Ledger.open(path) as ledger:
        assert not ledger.is_released(START)
        ledger.release(START, "rounded")
        assert ledger.is_released(START)
        with pytest.raises(LedgerError, match=f"{START.label} was released before"):
            ledger.release(START, NOISY)
    with Ledger.open(path) as ledger:
        assert ledger.is_released(START)
        with pytest.raises(LedgerError, match="was released before"):
            ledger.release(Interval(START.start, 3600), "rounded")
    assert path.read_bytes() == b"2012-02-10 09:22:04 (86400 s) released rounded\n"


def test_another_start_is_another_interval(tmp_path: Path) -> None:
    """Also one that begins within the 24 hours of the first: a bridge that was started again."""
    with Ledger.open(tmp_path / "ledger") as ledger:
        ledger.release(START, NOISY)
        ledger.release(Interval.parse("2012-02-10 09:22:05"), NOISY)
        assert not ledger.is_released(Interval.parse("2012-02-10 09:22:03"))


def test_what_is_over_waits_until_it_is_released(tmp_path: Path) -> None:
    """In order, across a restart; marked again, it is written once."""
    path = tmp_path / "ledger"
    with Ledger.open(path) as ledger:
        ledger.mark_complete(NEXT, 1)
        ledger.mark_complete(START, 1)
        ledger.mark_complete(NEXT, 1)
        assert ledger.unreleased() == {START: 1, NEXT: 1}
    with Ledger.open(path) as ledger:
        assert ledger.unreleased() == {START: 1, NEXT: 1}
        ledger.mark_complete(START, 1)
        ledger.release(NEXT, NOISY)
        assert ledger.unreleased() == {START: 1}
        assert not ledger.is_released(START)
    assert path.read_text() == (
        "2012-02-11 09:22:04 (86400 s) over (files: 1)\n"
        "2012-02-10 09:22:04 (86400 s) over (files: 1)\n"
        "2012-02-11 09:22:04 (86400 s) released discrete-laplace epsilon=0.5\n"
    )


def test_what_is_released_does_not_wait_any_more(tmp_path: Path) -> None:
    """Marking it then changes nothing."""
    path = tmp_path / "ledger"
    with Ledger.open(path) as ledger:
        ledger.release(START, "rounded")
        before = path.read_bytes()
        ledger.mark_complete(START, 1)
        assert ledger.unreleased() == {}
        assert path.read_bytes() == before


def test_the_example_is_read(tmp_path: Path) -> None:
    """Its four lines, as in the module's docstring; reading changes nothing."""
    path = write_private(tmp_path / "ledger", EXAMPLE)
    with Ledger.open(path) as ledger:
        assert [ledger.is_released(start) for start in (START, NEXT, THIRD)] == [True, False, True]
        assert ledger.unreleased() == {NEXT: 1}
    assert path.read_bytes() == EXAMPLE


@given(
    st.lists(
        st.tuples(st.sampled_from(["mark", "release", "open"]), st.sampled_from([START, NEXT, THIRD])), max_size=20
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_history_is_remembered(tmp_path: Path, history: list[tuple[str, Interval]]) -> None:
    """Marked, released and opened again in any order: each is released once, and known as what it is."""
    path = tmp_path / "ledger"
    path.unlink(missing_ok=True)
    over, released = set[Interval](), set[Interval]()
    ledger = Ledger.open(path)
    for what, start in history:
        if what == "open":
            ledger.close()
            ledger = Ledger.open(path)
        elif what == "mark":
            ledger.mark_complete(start, 1)
            over.add(start)
        elif start in released:
            with pytest.raises(LedgerError, match="was released before"):
                ledger.release(start, NOISY)
        else:
            ledger.release(start, NOISY)
            released.add(start)
        assert list(ledger.unreleased()) == sorted(over - released)
        assert {start for start in (START, NEXT, THIRD) if ledger.is_released(start)} == released
    ledger.close()


# What a line is.


@given(LINES)
def test_a_line_that_is_written_is_read_again(line: LedgerLine) -> None:
    """Any start, any length, any method."""
    assert parse_line(write_line(line).removesuffix(b"\n")) == line


@st.composite
def spoiled_lines(draw: st.DrawFn) -> bytes:
    """A line with damage at one place."""
    line = draw(st.sampled_from(EXAMPLE.splitlines()))
    place = draw(st.integers(0, len(line)))
    put_in = draw(st.binary(max_size=2) | st.sampled_from([b"0", b" ", b"9", b".", b"-"]))
    return line[:place] + put_in + line[place + draw(st.integers(0, 2)) :]


@given(st.binary(max_size=80) | spoiled_lines())
def test_any_bytes_are_a_line_or_refused(text: bytes) -> None:
    """Noise, and lines with a byte changed, removed or inserted: what is parsed is written byte for byte."""
    with contextlib.suppress(ValueError):
        assert write_line(parse_line(text)) == text + b"\n"


DAMAGED = {
    "empty": b"",
    "no length": b"2012-02-10 09:22:04 released rounded",
    "interval that ends in no year": b"9999-12-31 00:00:00 (86400 s) over (files: 1)",
    "length of nought": b"2012-02-10 09:22:04 (0 s) over",
    "over, without a number of files": b"2012-02-10 09:22:04 (86400 s) over",
    "over in so many files as never are": b"2012-02-10 09:22:04 (86400 s) over (files: 100000)",
    "no state": b"2012-02-10 09:22:04 (86400 s)",
    "another state": b"2012-02-10 09:22:04 (86400 s) begun",
    "released, without a method": b"2012-02-10 09:22:04 (86400 s) released",
    "released in an unknown way": b"2012-02-10 09:22:04 (86400 s) released gaussian sigma=2",
    "no epsilon": b"2012-02-10 09:22:04 (86400 s) released discrete-laplace epsilon=",
    "epsilon of nought": b"2012-02-10 09:22:04 (86400 s) released discrete-laplace epsilon=0",
    "no such day": b"2012-02-30 09:22:04 (86400 s) over (files: 1)",
    "no such hour": b"2012-02-10 24:00:00 (86400 s) over (files: 1)",
    "CRLF": b"2012-02-10 09:22:04 (86400 s) over (files: 1)\r",
    "NUL": b"2012-02-10 09:22:04 (86400 s) over (files: 1)\0",
    "two in one": b"2012-02-10 09:22:04 (86400 s) over (files: 1)2012-02-11 09:22:04 (86400 s) over (files: 1)",
    "not ASCII": "2012-02-10 09:22:04 (86400 s) released gerundet\u00e4".encode(),
}


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_one_damaged_line_makes_the_ledger_refuse(tmp_path: Path, kind: str, place: int) -> None:
    """At the beginning, in the middle, at the end; the line is named and not quoted, and nothing is changed."""
    lines = EXAMPLE.splitlines()
    lines.insert(place, DAMAGED[kind])
    path = write_private(tmp_path / "ledger", b"\n".join(lines) + b"\n")
    for _ in range(2):
        with pytest.raises(LedgerError) as refusal:
            Ledger.open(path)
        assert str(refusal.value) == (
            f"line {place + 1} of the ledger {path} is damaged, so it cannot be told what has been released;"
            " correct that line, or remove it if its interval was never published"
        )
        assert path.read_bytes() == b"\n".join(lines) + b"\n"


@pytest.mark.parametrize("kept", range(1, len(LAST)))
def test_a_torn_last_line_is_cut_off(tmp_path: Path, kept: int) -> None:
    """It was never written completely, so its interval was never released: a bridge starts after a power failure."""
    whole = EXAMPLE.removesuffix(LAST + b"\n")
    path = write_private(tmp_path / "ledger", whole + LAST[:kept])
    with Ledger.open(path) as ledger:
        assert not ledger.is_released(THIRD)
        assert path.read_bytes() == whole
        ledger.release(THIRD, "rounded")


@pytest.mark.parametrize("kept", range(len(LAST) + 1))
def test_a_line_that_a_power_failure_has_left_as_nuls_is_cut_off(tmp_path: Path, kept: int) -> None:
    """The file had grown, but its data was not on the disk yet; a line that is there completely counts."""
    whole = EXAMPLE.removesuffix(LAST + b"\n")
    path = write_private(tmp_path / "ledger", whole + LAST[:kept] + bytes(len(LAST) + 1 - kept))
    with Ledger.open(path) as ledger:
        assert ledger.is_released(THIRD) == (kept == len(LAST))
        assert path.read_bytes() == (EXAMPLE if kept == len(LAST) else whole)
        ledger.release(NEXT, "rounded")
    assert path.read_bytes().endswith(b"\n2012-02-11 09:22:04 (86400 s) released rounded\n")


@pytest.mark.parametrize("rest", [b"torn", b"2012-02-1x", b"2012-02-10 09:22:04 (86400 s) \xff", b"0" * 500])
def test_another_files_last_line_is_not_touched(tmp_path: Path, rest: bytes) -> None:
    """What cannot be the beginning of a line is damaged: the wrong file may have been named."""
    path = write_private(tmp_path / "ledger", EXAMPLE + rest)
    with pytest.raises(LedgerError, match=r"line 5 .* is damaged"):
        Ledger.open(path)
    assert path.read_bytes() == EXAMPLE + rest


def test_a_last_line_that_only_lacks_its_newline_counts(tmp_path: Path) -> None:
    """It gets one, so that the next is a line of its own."""
    path = write_private(tmp_path / "ledger", EXAMPLE.removesuffix(b"\n"))
    with Ledger.open(path) as ledger:
        assert ledger.is_released(THIRD)
        assert path.read_bytes() == EXAMPLE
        ledger.release(NEXT, "rounded")
    assert path.read_bytes() == EXAMPLE + b"2012-02-11 09:22:04 (86400 s) released rounded\n"


@given(st.lists(LINES, max_size=8), st.lists(st.binary(max_size=60), max_size=3), st.integers(0, 9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_file_is_read_whole_or_refused(
    tmp_path: Path, lines: list[LedgerLine], others: list[bytes], place: int
) -> None:
    """Valid lines with anything between them: an open ledger knows all releases; otherwise it is refused."""
    texts = [write_line(line) for line in lines]
    texts[place:place] = [other + b"\n" for other in others]
    path = write_private(tmp_path / "ledger", b"".join(texts))
    try:
        ledger = Ledger.open(path)
    except LedgerError as refusal:
        text = str(refusal)
        assert others
        assert "\n" not in text
    else:
        with ledger:
            assert {line.interval.start for line in lines if line.method not in (None, "given up")} == {
                line.interval.start for line in lines if ledger.is_released(line.interval)
            }


@pytest.mark.parametrize(
    ("seconds", "method"),
    [
        (0, "rounded"),
        (-1, "rounded"),
        (1_000_000_000, "rounded"),
        (DAY, ""),
        (DAY, "over"),
        (DAY, "rounded\n"),
        (DAY, "rounded\ud800"),
        (DAY, "discrete-laplace epsilon=1e-3"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, seconds: int, method: str) -> None:
    """A mistake in the program never becomes a line."""
    path = tmp_path / "ledger"
    with Ledger.open(path) as ledger, pytest.raises(ValueError):
        ledger.release(Interval(START.start, seconds), method)
    assert path.read_bytes() == b""


# Whose file it is.


def _too_long(path: Path, content: bytes) -> None:
    write_private(path, content)
    os.truncate(path, MAX_LEDGER_SIZE + 1)


def _no_folder(path: Path, _content: bytes) -> None:
    path.parent.rmdir()


def test_access_is_taken_from_others_at_the_start_and_before_each_line(tmp_path: Path) -> None:
    """A ledger that logrotate or an operator has opened to others keeps no bridge down."""
    path = write_private(tmp_path / "ledger", EXAMPLE)
    path.chmod(0o640)
    with Ledger.open(path) as ledger:
        assert path.stat().st_mode & 0o7777 == 0o600
        path.chmod(0o644)
        ledger.check()
        assert path.stat().st_mode & 0o7777 == 0o600


def test_a_torn_line_that_cannot_be_cut_off_is_refused_with_the_cause(tmp_path: Path) -> None:
    """An append-only ledger on a full disk: once the file is not append-only any more the line is written once."""
    path = write_private(tmp_path / "ledger", b"")
    with Ledger.open(path) as ledger:
        with append_only(path):
            with file_size_limit(30), pytest.raises(LedgerError, match="No space left on device"):
                ledger.release(START, ROUNDED)
            with pytest.raises(LedgerError, match=rf"cannot be removed: Operation not permitted; .* chattr -a {path}"):
                ledger.check()
        ledger.release(START, ROUNDED)
    assert path.read_bytes() == write_line(LedgerLine(START, ROUNDED))


def test_a_line_that_reached_the_disk_after_all_is_not_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk reports an error, and the line can neither be synced nor cut off."""
    path = write_private(tmp_path / "ledger", b"")

    def fail(*_arguments: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Ledger.open(path) as ledger:
        with monkeypatch.context() as failing:
            failing.setattr(os, "fsync", fail)
            failing.setattr(os, "ftruncate", fail)
            with pytest.raises(LedgerError, match="Input/output error"):
                ledger.give_up(START)
        ledger.give_up(START)
    assert path.read_bytes() == write_line(LedgerLine(START, GIVEN_UP))


@pytest.mark.parametrize(("make", "sentence"), [*REFUSED, (_too_long, "too long"), (_no_folder, "No such file")])
def test_a_file_that_is_not_the_owners_alone_is_refused(
    tmp_path: Path, make: Callable[[Path, bytes], object], sentence: str
) -> None:
    """Another user who can write there could have any interval released again."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "ledger"
    make(path, EXAMPLE)
    with pytest.raises(LedgerError, match=sentence) as refusal:
        Ledger.open(path)
    assert "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_two_programs_cannot_have_one_ledger(tmp_path: Path) -> None:
    """The second is refused until the first has closed it."""
    path = tmp_path / "ledger"
    with Ledger.open(path), pytest.raises(LedgerError, match="in use by another program"):
        Ledger.open(path)
    Ledger.open(path).close()


def test_a_closed_ledger_accepts_nothing(tmp_path: Path) -> None:
    """It may be closed twice."""
    ledger = Ledger.open(tmp_path / "ledger")
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.release(START, "rounded")


@pytest.mark.parametrize("replace", [False, True])
def test_a_ledger_that_was_moved_away_accepts_nothing(tmp_path: Path, *, replace: bool) -> None:
    """A line written there would be lost, and another file in its place knows nothing."""
    path = tmp_path / "ledger"
    with Ledger.open(path) as ledger:
        path.rename(tmp_path / "elsewhere")
        if replace:
            write_private(path, EXAMPLE)
        with pytest.raises(LedgerError, match="moved or deleted"):
            ledger.release(START, "rounded")
        with pytest.raises(LedgerError, match="moved or deleted"):
            ledger.mark_complete(START, 1)
    assert (tmp_path / "elsewhere").read_bytes() == b""


# What a disk may do.


@pytest.mark.parametrize("free_bytes", [0, 1, 40])
def test_a_full_disk_releases_nothing_and_tears_no_line(tmp_path: Path, free_bytes: int) -> None:
    """Whether it accepts a part or nothing; once there is space the same interval can be released."""
    path = write_private(tmp_path / "ledger", EXAMPLE)
    with Ledger.open(path) as ledger:
        with file_size_limit(len(EXAMPLE) + free_bytes), pytest.raises(LedgerError, match="cannot write the ledger"):
            ledger.release(NEXT, "rounded")
        assert not ledger.is_released(NEXT)
        assert path.read_bytes() == EXAMPLE
        ledger.release(NEXT, "rounded")
    assert path.read_bytes() == EXAMPLE + b"2012-02-11 09:22:04 (86400 s) released rounded\n"


def test_after_a_failed_write_the_file_decides(tmp_path: Path) -> None:
    """A disk that reports an error may have the line all the same: then its interval is released."""
    path = write_private(tmp_path / "ledger", EXAMPLE)
    with Ledger.open(path) as ledger:
        with file_size_limit(len(EXAMPLE)), pytest.raises(LedgerError):
            ledger.mark_complete(Interval.parse("2012-02-13 09:22:04"), 1)
        with path.open("ab") as file:
            file.write(b"2012-02-11 09:22:04 (86400 s) released rounded\n")
        with pytest.raises(LedgerError, match="was released before"):
            ledger.release(NEXT, NOISY)


def test_after_a_failed_write_what_is_left_of_the_line_is_cut_off(tmp_path: Path) -> None:
    """A part that could not be cut off then is cut off before the next line."""
    path = write_private(tmp_path / "ledger", EXAMPLE)
    with Ledger.open(path) as ledger:
        with file_size_limit(len(EXAMPLE)), pytest.raises(LedgerError):
            ledger.release(NEXT, NOISY)
        with path.open("ab") as file:
            file.write(b"2012-02-11 09:2")
        ledger.release(NEXT, NOISY)
    assert path.read_bytes() == EXAMPLE + f"{NEXT.label} (86400 s) released {NOISY}\n".encode()


# Releases as fast as it can, and tells each release when it is allowed to be made.
RELEASING_PROCESS = """
import sys
from datetime import timedelta
from pathlib import Path
from obfstats.formats.interval import Interval, parse_time
from obfstats.publish.ledger import Ledger
first = parse_time(sys.argv[2])
with Ledger.open(Path(sys.argv[1])) as ledger:
    for day in range(100_000):
        interval = Interval(first + timedelta(days=day))
        if not ledger.is_released(interval):
            ledger.release(interval, "discrete-laplace epsilon=0.5")
            sys.stdout.write(f"{interval.label}\\n")
            sys.stdout.flush()
"""


def test_a_killed_process_never_releases_twice(tmp_path: Path) -> None:
    """A dozen kills in a row on one ledger: no release is printed twice, and each printed one is known afterwards."""
    path = tmp_path / "ledger"
    draw = random.Random(5047)
    told: list[str] = []
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", RELEASING_PROCESS, str(path), START.label],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        with process:
            assert process.stdout is not None
            # The moment is a number of releases, not a time: the process itself races towards it.
            told += [process.stdout.readline().rstrip() for _ in range(draw.randrange(1, 30))]
            process.kill()
            told += process.stdout.read().split("\n")[:-1]
            assert process.wait() == -signal.SIGKILL
        with Ledger.open(path) as ledger:
            assert all(ledger.is_released(Interval.parse(start)) for start in told)
    lines = path.read_text("ascii").splitlines()
    assert len(told) == len(set(told)) >= KILLS
    assert len({line[:19] for line in lines}) == len(lines)
    # What was being released when it was killed is on the disk and was never printed: one at most for each kill.
    assert len(told) <= len(lines) <= len(told) + KILLS


def test_what_was_given_up_stays_given_up(tmp_path: Path) -> None:
    """Neither this program nor the next one has to release it."""
    path = tmp_path / "ledger"
    with Ledger.open(path) as ledger:
        ledger.mark_complete(START, 1)
        ledger.give_up(START)
        ledger.mark_complete(START, 1)
        assert ledger.unreleased() == {}
    with Ledger.open(path) as ledger:
        assert ledger.unreleased() == {}
        assert not ledger.is_released(START)
    assert path.read_text() == f"{START.label} (86400 s) over (files: 1)\n{START.label} (86400 s) given up\n"
