"""What both converters do beside counting: leave out, report, and end."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from obfstats.formats.interval import INTERVAL_SECONDS
from obfstats.publish import simple
from obfstats.record.batches import CLOSING_DELAY
from obfstats.record.clock import CLOCK_TOLERANCE
from obfstats.record.recorder import CLOCK_CHECK_SECONDS
from peers.converters import CONVERTERS, SIMPLE
from tests.publish.logs import DAMAGE, SECRET, line
from tests.publish.programs import ENVIRONMENT, convert, run, run_measured, run_pipeline

if TYPE_CHECKING:
    from pathlib import Path

NO_ROWS = b"Daily rounded total requests by country\nDaily rounded unique IPs by country\n"
START = "2012-02-07 14:01:04"

both = pytest.mark.parametrize("converter", CONVERTERS)


def good_lines(count: int) -> list[bytes]:
    """Make good lines of one old interval."""
    return [line(client=number % 50) for number in range(count)]


def convert_at(now: str, log: Path, *, take_all: bool = False) -> tuple[bytes, list[str]]:
    """Convert a log at a given time, UTC; give the tables and the messages."""
    out = io.BytesIO()
    warnings: list[str] = []
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert simple.convert([str(log)], take_all=take_all, now=moment, out=out, warn=warnings.append) == 0
    return out.getvalue(), warnings


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The path of a log."""
    return tmp_path / "clients.log"


# Alone


def test_the_simple_script_runs_alone(log: Path, tmp_path: Path) -> None:
    """A copy of the file and Debian's Python are enough, in an empty folder."""
    log.write_bytes(b"".join(good_lines(100)))
    empty = tmp_path / "empty"
    empty.mkdir()
    result = run(["/usr/bin/python3", "-I", SIMPLE, "../clients.log"], folder=empty)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == run_pipeline([log.read_bytes()], tmp_path)[0]
    assert list(empty.iterdir()) == []


# Intervals that are not over


@pytest.mark.parametrize("now", ["2012-02-07 14:01:04", "2012-02-08 14:01:03", "2012-02-08 14:31:03.999999"])
def test_an_interval_is_left_out_until_its_last_line_is_written(log: Path, now: str) -> None:
    """Left out and reported for 24 hours and the half hour in which the closing batch is written; then published."""
    log.write_bytes(line(START))
    tables, warnings = convert_at(now, log)
    assert tables == NO_ROWS
    assert warnings == [f"the interval from {START} is not over yet and left out; --all includes it"]
    tables, warnings = convert_at("2012-02-08 14:31:04", log)
    assert tables != NO_ROWS
    assert warnings == []


def test_the_closing_batch_of_every_recorder_is_in_before_its_interval_counts_as_over() -> None:
    """The recorder's times and the converter's, which share only files, are compared."""
    assert (
        simple.COMPLETE_AFTER.total_seconds()
        >= INTERVAL_SECONDS + CLOCK_TOLERANCE + CLOSING_DELAY + 2 * CLOCK_CHECK_SECONDS
    )


def test_finished_intervals_are_published_beside_an_unfinished_one(log: Path) -> None:
    """Only the unfinished interval is left out, with all of its countries."""
    finished = line(START) + line(START, "dk")
    log.write_bytes(finished + line("2012-02-08 14:01:04") + line("2012-02-08 14:01:04", "dk"))
    tables, warnings = convert_at("2012-02-09 00:00:00", log)
    assert b"2012-02-08" not in tables
    log.write_bytes(finished)
    assert convert_at("2012-02-09 00:00:00", log) == (tables, [])
    assert warnings == ["the interval from 2012-02-08 14:01:04 is not over yet and left out; --all includes it"]


def test_several_unfinished_intervals_are_reported_in_one_line(log: Path) -> None:
    """Restarts may cause many, and a wrong clock thousands."""
    log.write_bytes(b"".join(line(f"2099-01-{day:02} 00:00:00") for day in range(1, 32)))
    (warning,) = convert_at("2012-02-09 00:00:00", log)[1]
    assert warning == (
        "31 intervals, from 2099-01-01 00:00:00 to 2099-01-31 00:00:00, are not over yet and left out; "
        "--all includes them"
    )


def test_all_includes_unfinished_intervals(log: Path) -> None:
    """They are published and not reported."""
    log.write_bytes(line(START))
    tables, warnings = convert_at("2012-02-07 14:01:05", log, take_all=True)
    assert b"2012-02-07 14:01:04 de 8\n" in tables
    assert warnings == []


@both
def test_the_programs_know_what_time_it_is(converter: str, log: Path) -> None:
    """2012 is over and 2099 is not; with --all it does not matter."""
    log.write_bytes(line(START) + line("2099-01-01 00:00:00"))
    result = convert(converter, log)
    assert result.returncode == 0
    assert (b"2012" in result.stdout, b"2099" in result.stdout) == (True, False)
    assert b"2099-01-01 00:00:00 is not over yet" in result.stderr
    result = convert(converter, "--all", log)
    assert (b"2012" in result.stdout, b"2099" in result.stdout) == (True, True)
    assert result.stderr == b""


# Damage


@both
@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_reported_and_never_published(converter: str, kind: str, log: Path, tmp_path: Path) -> None:
    """The tables are those of the good lines; the operator learns file, line and reason, not the content."""
    good = good_lines(200)
    log.write_bytes(b"".join([*good[:100], DAMAGE[kind], *good[100:]]))
    result = convert(converter, log)
    assert result.returncode == 0
    assert result.stdout == run_pipeline([b"".join(good)], tmp_path)[0]
    warnings = result.stderr.decode("ascii")
    assert re.fullmatch(
        rf"{converter}: {log}: 1 of 201 lines are damaged and left out, the first is line 101: [a-zA-Z0-9 ,]+\n",
        warnings,
    )
    assert SECRET not in result.stderr


def test_a_torn_last_line_is_damage(log: Path) -> None:
    """A program that was killed while it wrote may leave one without a newline."""
    log.write_bytes(b"".join(good_lines(200)) + line()[:50])
    tables, (warning,) = convert_at("2026-01-01 00:00:00", log)
    assert tables.endswith(b"de 56\n")
    assert warning == (
        f"{log}: 1 of 201 lines are damaged and left out, the first is line 201: "
        "it has no hash of 40 hexadecimal digits"
    )


def test_damage_is_reported_once_for_each_log(log: Path) -> None:
    """However many lines are damaged, one sentence counts them."""
    log.write_bytes(b"".join([*good_lines(1000), *[DAMAGE["torn"]] * 7, DAMAGE["NUL"]]))
    warnings = convert_at("2026-01-01 00:00:00", log)[1]
    assert [sentence.partition(" lines ")[0] for sentence in warnings] == [f"{log}: 8 of 1008"]


@both
@pytest.mark.parametrize(("good", "status"), [(99, 0), (98, 1)])
def test_more_than_one_percent_of_damage_is_bad_data(converter: str, good: int, status: int, log: Path) -> None:
    """The tables are written anyway, but the exit status tells."""
    log.write_bytes(b"".join([*good_lines(good), DAMAGE["torn"]]))
    result = convert(converter, log)
    assert result.returncode == status
    assert b"2012-02-07 14:01:04 de 56\n" in result.stdout
    assert (b"more than 1 % is damaged" in result.stderr) == (status == 1)


def test_one_percent_is_of_each_log(tmp_path: Path) -> None:
    """The limit is applied to each log by itself."""
    long, short = tmp_path / "long", tmp_path / "short"
    long.write_bytes(b"".join(good_lines(1000)))
    short.write_bytes(line() + DAMAGE["torn"])
    assert convert("simple.py", long, short).returncode == 1


@both
def test_a_giant_line_does_not_fill_the_memory(converter: str, log: Path) -> None:
    """64 MB without a newline, in a process that holds 60 MB at most."""
    good = b"".join(good_lines(200))
    with log.open("wb") as file:
        file.write(good + line()[:30])
        file.seek(64_000_000, os.SEEK_CUR)
        file.write(b"\n" + good + DAMAGE["torn"])
    result, peak = run_measured([*CONVERTERS[converter], str(log)])
    log.unlink()
    assert result.returncode == 0
    assert peak < 60_000
    assert b"2012-02-07 14:01:04 de 400\n" in result.stdout
    assert b": 2 of 402 lines are damaged and left out, the first is line 201: " in result.stderr


# Bad use


@both
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.log", "No such file or directory"),
        (".", "Is a directory"),
        ("good.log/x", "Not a directory"),
    ],
)
def test_what_cannot_be_read_ends_with_a_sentence(converter: str, name: str, reason: str, tmp_path: Path) -> None:
    """Nothing is published, even if an earlier log is good."""
    good = tmp_path / "good.log"
    good.write_bytes(line())
    result = convert(converter, good, tmp_path / name)
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.decode() == (
        f"{converter}: cannot read {tmp_path / name}: {reason}; "
        "name the statistics log, and run this as a user who may read it\n"
    )


@both
def test_somebody_elses_log_ends_with_a_sentence(converter: str, log: Path) -> None:
    """The bridge's log is 0600: the message says how to read it."""
    log.write_bytes(line())
    log.chmod(0)
    # Root may read everything; without its capabilities it is a user like any other.
    command = [*CONVERTERS[converter], str(log)]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    result = run(command)
    assert (result.returncode, result.stdout) == (2, b"")
    assert f"cannot read {log}: Permission denied; " in result.stderr.decode()


@both
@pytest.mark.parametrize("content", [b"\0" * 5000, b"\x7fELF\x02\x01\x01\n\n\x1b[31m", b"[info] Starting.\n" * 3])
def test_what_is_no_log_at_all_is_refused(converter: str, content: bytes, log: Path) -> None:
    """A file without one good line is the wrong file, and empty tables would hide that."""
    log.write_bytes(content)
    result = convert(converter, log)
    assert (result.returncode, result.stdout) == (2, b"")
    assert f"{log} is not a statistics log" in result.stderr.decode("ascii")
    assert result.stderr.count(b"\n") == 1
    assert b"\x1b" not in result.stderr


def test_a_name_is_shown_escaped(tmp_path: Path) -> None:
    """A file's name cannot send escape codes to the terminal."""
    log = tmp_path / "clients\x1b[31m\n.log"
    log.write_bytes(DAMAGE["torn"])
    result = convert("simple.py", log)
    assert r"clients\x1b[31m\n.log' is not a statistics log" in result.stderr.decode("ascii")
    assert result.stderr.count(b"\n") == 1


@both
def test_the_same_log_twice_is_counted_twice_with_a_warning(converter: str, log: Path, tmp_path: Path) -> None:
    """As the pipeline does, also under another name; it is probably a mistake."""
    log.write_bytes(b"".join(good_lines(8)))
    link = tmp_path / "link.log"
    link.symlink_to(log)
    result = convert(converter, log, link)
    assert result.returncode == 0
    assert result.stdout == run_pipeline([log.read_bytes() * 2], tmp_path)[0]
    assert result.stderr.decode() == (
        f"{converter}: {link} is the same file as one before it: each of its connections is counted again\n"
    )


@both
@pytest.mark.parametrize("arguments", [[], ["--al", "x"], ["--publish"]])
def test_bad_options_end_with_status_2(converter: str, arguments: list[str]) -> None:
    """Options may not be abbreviated: a later option could change the meaning."""
    result = convert(converter, *arguments)
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"Traceback" not in result.stderr


# The other end of the pipe


@both
def test_a_closed_pipe_ends_it_quietly(converter: str, log: Path) -> None:
    """As in `| head`: no traceback, and the status that the shell gives for it."""
    log.write_bytes(line())
    reader, writer = os.pipe()
    os.close(reader)
    command = [*CONVERTERS[converter], str(log)]
    try:
        result = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, check=False, env=ENVIRONMENT, timeout=60
        )
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")


@both
@pytest.mark.parametrize("output", [">/dev/full", ">&-"])
def test_tables_that_cannot_be_written_are_reported(converter: str, output: str, log: Path) -> None:
    """A full disk must not look like an empty log."""
    log.write_bytes(line())
    result = run(["bash", "-c", f'exec "$@" {output}', "full", *CONVERTERS[converter], str(log)])
    assert result.returncode == 2
    assert result.stderr.count(b"\n") == 1
    assert b"Traceback" not in result.stderr


@both
def test_no_message_gets_into_the_tables(converter: str, log: Path, tmp_path: Path) -> None:
    """Also where standard error is closed."""
    log.write_bytes(b"".join([*good_lines(8), DAMAGE["torn"]]))
    result = run(["bash", "-c", 'exec "$@" 2>&-', "closed", *CONVERTERS[converter], str(log)])
    assert result.stdout == run_pipeline([b"".join(good_lines(8))], tmp_path)[0]


@both
def test_an_interrupt_ends_it_quietly(converter: str, tmp_path: Path) -> None:
    """^C while a log is read: status 130, nothing printed, no traceback."""
    pipe = tmp_path / "clients.log"
    os.mkfifo(pipe)
    command = [*CONVERTERS[converter], str(pipe)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process,
        pipe.open("wb"),  # waits for the program to open its end: from then on it is reading
    ):
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)
    assert (process.returncode, *output) == (130, b"", b"")
