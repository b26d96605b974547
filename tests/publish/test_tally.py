"""tally gives exact numbers for every log: those of sets, of simple.py and of the ticket's pipeline."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import tempfile
import threading
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.publish import plain, simple, tally
from obfstats.publish.logfiles import LogFileError, find
from obfstats.publish.tally import BLOCK_SIZE, QUIET_LINES
from obfstats.publish.tally.packing import MAX_SUFFIXES
from tests.formats.lines import hit_lines, written_lines
from tests.publish.logs import COUNTRIES, DAMAGE, ENDS, STARTS, line, logs
from tests.publish.numbers import by_hand, numbers_of
from tests.publish.programs import run_pipeline
from tests.publish.test_tables import batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from obfstats.formats.counts import Counts
    from obfstats.publish.logfiles import LogFile
    from obfstats.publish.plain import Report

    Count = Callable[[Sequence[LogFile], Callable[[int], None]], tuple[list[Counts], list[Report]]]


class Sizes(TypedDict):
    """Arguments of `count_logs` that must not change any number."""

    block_size: int
    quiet_lines: int


TINY = Sizes(block_size=101, quiet_lines=3)
"""Blocks of one line or two, and intervals that are counted at once."""

USUAL = Sizes(block_size=BLOCK_SIZE, quiet_lines=QUIET_LINES)

sizes = st.builds(
    Sizes,
    block_size=st.integers(101, 400) | st.just(BLOCK_SIZE),
    quiet_lines=st.integers(0, 20) | st.just(QUIET_LINES),
)


def counted(*logs: bytes, sizes: Sizes = TINY) -> tuple[list[Counts], list[Report]]:
    """Write logs to files, and count them."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"clients.log.{number}" for number in range(len(logs))]
        for path, log in zip(paths, logs, strict=True):
            path.write_bytes(log)
        counts, reports = tally.count_logs(find([str(path) for path in paths]), **sizes)
        assert [report.name for report in reports] == [str(path) for path in paths]
        return counts, reports


def same_as_simple(log: bytes, counts: Sequence[Counts], report: Report) -> None:
    """Check that simple.py gives the same report and the same numbers."""
    table: simple.Table = {}
    assert (report.lines, report.damaged, report.first) == simple.read_log(io.BytesIO(log), table)
    assert {begin.decode(): (len(clients), len(set(clients))) for begin, clients in table.items()} == {
        f"{one.interval.label} {country} ": (number, one.distinct_lines[country])
        for one in counts
        for country, number in one.requests.items()
    }


# Any log


@given(logs(), sizes)
@settings(deadline=None, max_examples=200)
def test_good_logs(log: bytes, sizes: Sizes) -> None:
    """All numbers are those of sets, for any size of blocks, and whenever intervals are counted."""
    counts, (report,) = counted(log, sizes=sizes)
    assert [numbers_of(one) for one in counts] == by_hand(log)
    same_as_simple(log, counts, report)


@given(st.lists(hit_lines() | written_lines() | st.sampled_from(sorted(DAMAGE.values())), max_size=12), sizes)
@settings(deadline=None, max_examples=300)
def test_damaged_logs(lines: list[bytes], sizes: Sizes) -> None:
    """The same lines are left out as by simple.py, for the same reason."""
    log = b"".join(lines)
    counts, (report,) = counted(log, sizes=sizes)
    assert [numbers_of(one) for one in counts] == by_hand(log)
    same_as_simple(log, counts, report)


@given(st.binary(max_size=300), sizes)
@settings(deadline=None)
def test_noise(noise: bytes, sizes: Sizes) -> None:
    """Random bytes are damaged lines. The newline keeps them from being taken for compressed data."""
    log = b"\n" + noise
    counts, (report,) = counted(log, sizes=sizes)
    same_as_simple(log, counts, report)


@given(st.integers(0, 62), st.integers(0, 255), st.integers(0, 99))
@settings(deadline=None, max_examples=300)
def test_every_byte_of_a_line_counts(place: int, byte: int, number: int) -> None:
    """One byte is changed anywhere in one line of an otherwise good block."""
    lines = [line(client=client) for client in range(100)]
    lines[number] = lines[number][:place] + bytes((byte,)) + lines[number][place + 1 :]
    log = b"".join(lines)
    counts, (report,) = counted(log, sizes=USUAL)
    assert [numbers_of(one) for one in counts] == by_hand(log)
    same_as_simple(log, counts, report)


@given(st.lists(logs(), min_size=25, max_size=25, unique=True))
@settings(batches, max_examples=10)
def test_the_tickets_pipeline_agrees(batch: list[bytes]) -> None:
    """The tables are the pipeline's, byte for byte."""
    with tempfile.TemporaryDirectory() as folder:
        for log, tables in zip(batch, run_pipeline(batch, Path(folder)), strict=True):
            assert tables_of(counted(log)[0]) == tables


def tables_of(counts: Sequence[Counts]) -> bytes:
    """Write the ticket's two tables."""
    tables: dict[str, list[Mapping[str, int]]] = {
        "Daily rounded total requests by country": [one.requests for one in counts],
        "Daily rounded unique IPs by country": [one.distinct_lines for one in counts],
    }
    rows = []
    for heading, numbers in tables.items():
        rows.append(heading)
        for one, of_interval in zip(counts, numbers, strict=True):
            rows += [f"{one.interval.label} {code} {-(-of_interval[code] // 8) * 8}" for code in sorted(of_interval)]
    return "\n".join([*rows, ""]).encode()


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_line_in_the_middle(kind: str) -> None:
    """Lines after the damage have other offsets in their block, and are counted."""
    good = [line(client=client % 50) for client in range(1000)]
    log = b"".join([*good[:500], DAMAGE[kind], *good[500:]])
    counts, (report,) = counted(log, sizes=Sizes(block_size=6400, quiet_lines=QUIET_LINES))
    assert (report.lines, report.damaged) == (1001, 1)
    assert report.first.startswith("line 501: ")
    assert [numbers_of(one) for one in counts] == by_hand(b"".join(good))


def test_a_giant_line_is_never_held() -> None:
    """A line that is longer than many blocks is one damaged line, in a plain and in a compressed file."""
    log = line(client=1) + line()[:-1] + b"x" * 10_000 + b"\n" + line(client=2) + b"y" * 5_000
    for packed in (log, gzip.compress(log)):
        counts, (report,) = counted(packed)
        assert [numbers_of(one) for one in counts] == by_hand(log)
        same_as_simple(log, counts, report)


# Exactness


def digits(number: int, offsets: Iterable[int]) -> str:
    """Write a hash with a number's hex digits at some offsets, and zeros elsewhere."""
    written = ["0"] * 40
    for offset in offsets:
        written[offset] = f"{number & 15:x}"
        number >>= 4
    return "".join(written)


# The digits of a hash that rows are sorted by, those that choose the bucket, and the others.
DIGITS = {
    "sorted digits": range(8),
    "few sorted digits": range(3),
    "the first word's other digits": range(8, 16),
    "the second word": range(16, 32),
    "the third word": range(32, 38),
    "the bucket's digits": range(37, 40),
}


@pytest.mark.parametrize("offsets", DIGITS.values(), ids=DIGITS)
def test_similar_hashes_are_different_clients(offsets: Sequence[int]) -> None:
    """Hundreds of hashes that differ in a few digits are counted exactly."""
    hashes = [digits(number, offsets) for number in range(512)]
    log = "".join(f"{STARTS[0]} {country} {one}\n" for country in ("de", "??") for one in hashes * 2).encode()
    (counts,), _ = counted(log, sizes=USUAL)
    assert counts.requests == {"de": 1024, "??": 1024}
    assert counts.distinct_lines == counts.addresses == {"de": 512, "??": 512}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(COUNTRIES),
            st.integers(0, 2),
            st.integers(0, 2),
            st.integers(0, 2),
            st.sampled_from(ENDS),
        ),
        max_size=60,
    ),
    sizes,
)
@settings(deadline=None, max_examples=200)
def test_rows_alike_in_some_words(rows: list[tuple[str, int, int, int, str]], sizes: Sizes) -> None:
    """Lines of the same hash are one client; lines whose hashes have one or two equal words are not."""
    log = b"".join(
        f"{STARTS[0]} {country} {hexadecimal(first, second, third)}{end}\n".encode()
        for country, first, second, third, end in rows
    )
    assert [numbers_of(one) for one in counted(log, sizes=sizes)[0]] == by_hand(log)


def hexadecimal(first: int, second: int, third: int) -> str:
    """Make a hash of three words."""
    return f"{first:016x}{second:016x}{third:08x}"


# Several logs


@given(st.lists(logs(), min_size=1, max_size=4), sizes)
@settings(deadline=None, max_examples=100)
def test_several_logs_are_counted_as_one(several: list[bytes], sizes: Sizes) -> None:
    """Their order does not matter, nor whether they have lines of the same interval."""
    whole = b"".join(log if log.endswith(b"\n") or not log else log + b"\n" for log in several)
    counts, reports = counted(*several, sizes=sizes)
    assert [numbers_of(one) for one in counts] == by_hand(whole)
    for log, report in zip(several, reports, strict=True):
        assert report.lines == log.count(b"\n") + (not log.endswith(b"\n") and bool(log))


def test_an_interval_that_was_counted_too_early_is_counted_again() -> None:
    """Two bridges' logs with the same intervals, concatenated: each client is counted once."""
    days = [b"".join(line(start, client=client) for client in range(20)) for start in STARTS[:3]]
    log = b"".join(days + days)
    assert [numbers_of(one) for one in counted(log)[0]] == by_hand(log)


def test_the_progress_adds_up(tmp_path: Path) -> None:
    """The bytes that `advance` takes add up to the file's size, compressed or not, also if the file is read twice."""
    days = [b"".join(line(start, client=client) for client in range(20)) for start in STARTS[:3]]
    for name, log in {"once": b"".join(days), "again": b"".join(days + days)}.items():
        for path, packed in {name: log, f"{name}.gz": gzip.compress(log), f"{name}.xz": lzma.compress(log)}.items():
            (tmp_path / path).write_bytes(packed)
            read: list[int] = []
            tally.count_logs(find([str(tmp_path / path)]), read.append, **TINY)
            assert sum(read) == len(packed)
            assert (min(read) < 0) == (name == "again")


# Any file


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
def test_compressed_logs(compress: type[bytes]) -> None:
    """A compressed log has the numbers of its content."""
    log = b"".join(line(start, client=client) for start in STARTS[:2] for client in range(200))
    assert [numbers_of(one) for one in counted(compress(log))[0]] == by_hand(log)


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """Intervals are kept to the end, so that one that appears again is counted as one."""
    log = b"".join(line(start, client=client) for start in STARTS[:3] * 2 for client in range(20))
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(log,))
    writer.start()
    counts, (report,) = tally.count_logs(find([str(path)]), **TINY)
    writer.join()
    assert [numbers_of(one) for one in counts] == by_hand(log)
    assert report.lines == 120


def test_a_removed_log_is_an_error(tmp_path: Path) -> None:
    """It was removed after it was found."""
    path = tmp_path / "clients.log"
    path.write_bytes(line())
    logs = find([str(path)])
    path.unlink()
    with pytest.raises(LogFileError, match="No such file or directory"):
        tally.count_logs(logs)


def test_a_truncated_log_is_an_error(tmp_path: Path) -> None:
    """A part of a compressed log is not counted as if it were whole."""
    path = tmp_path / "clients.log.gz"
    path.write_bytes(gzip.compress(b"".join(line(client=client) for client in range(200)))[:-20])
    with pytest.raises(LogFileError, match="corrupt or truncated"):
        tally.count_logs(find([str(path)]))


def test_lines_that_are_appended_are_not_read(tmp_path: Path) -> None:
    """A log is read up to the size that it had when it was found."""
    path = tmp_path / "clients.log"
    path.write_bytes(line())
    logs = find([str(path)])
    path.write_bytes(line() * 2)
    assert tally.count_logs(logs)[1][0].lines == 1


def test_a_log_that_shrinks_is_read_to_its_end(tmp_path: Path) -> None:
    """It was truncated after it was found."""
    path = tmp_path / "clients.log"
    path.write_bytes(line() * 2)
    logs = find([str(path)])
    path.write_bytes(line())
    assert tally.count_logs(logs)[1][0].lines == 1


def test_no_logs_no_lines() -> None:
    """There are no numbers without lines."""
    assert tally.count_logs([]) == ([], [])
    assert counted(b"")[0] == []


def test_logs_with_thousands_of_transports_are_counted_exactly(tmp_path: Path) -> None:
    """Such a log is counted in plain Python, and from a pipe, which cannot be read again, not at all."""
    path = tmp_path / "clients.log"
    path.write_bytes(b"".join(line(client=number % 200, end=f" t{number}") for number in range(MAX_SUFFIXES + 5)))
    advanced: list[int] = []
    (counts,), (report,) = tally.count_logs(find([str(path)]), advanced.append)
    assert counts.transports == {f"t{number}": 1 for number in range(MAX_SUFFIXES + 5)}
    assert report.lines == MAX_SUFFIXES + 5
    assert sum(advanced) == path.stat().st_size
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(path.read_bytes(),))
    writer.start()
    with pytest.raises(LogFileError, match="too many transports"):
        tally.count_logs(find([str(tmp_path / "pipe")]))
    writer.join()


def test_many_intervals_with_many_transports_take_little_time(tmp_path: Path) -> None:
    """An interval costs what its own lines and names cost, and not the names of all intervals."""
    log = tmp_path / "clients.log"
    starts = [f"2012-{1 + day // 28:02}-{1 + day % 28:02} 14:01:04" for day in range(300)]
    log.write_bytes(
        b"".join(
            line(start, client=number % 50, end=f" t{(100 * day + number) % 3000}")
            for day, start in enumerate(starts)
            for number in range(100)
        )
    )
    expected = plain.count_logs(find([str(log)]), lambda _: None)
    before = time.process_time()
    assert tally.count_logs(find([str(log)])) == expected
    assert time.process_time() - before < 3


def test_a_client_with_many_transports_takes_little_memory(tmp_path: Path) -> None:
    """Ten clients with thousands of invented transports each are still ten clients."""
    path = tmp_path / "clients.log"
    path.write_bytes(b"".join(line(client=client, end=f" t{name}") for client in range(10) for name in range(3000)))
    tracemalloc.start()
    try:
        (counts,), _ = plain.count_logs(find([str(path)]), lambda _: None)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()
    assert counts.addresses == {"de": 10}
