"""Sources: a bridge counts its own log in another way than convert does, with the same numbers."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from hashlib import sha1
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.bridge.interval_sources import BLOCK_SIZE, count_in_files
from obfstats.formats.interval import Interval
from obfstats.publish import plain
from obfstats.publish.logfiles import find
from obfstats.record.pages import Pages
from tests.publish.logs import line

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.formats.counts import Counts

START, ANOTHER = "2012-02-07 14:01:04", "2012-02-08 14:01:04"
INTERVAL = Interval.parse(START)
PART_LINES = BLOCK_SIZE // 64
"""Lines that are in memory at once."""
COLUMNS = (
    ("",),
    (" obfs2", " obfs3", " <OR>", " <??>"),
    (" v4", " v6"),
    (" obfs2 v4", " obfs3 v4", " obfs3 v6", " v4 v6"),
)


@st.composite
def logs(draw: st.DrawFn) -> list[bytes]:
    """Lines of two intervals, all with the same columns, some of them damaged; a client has one country and family."""
    further = draw(st.sampled_from(COLUMNS))
    client = st.tuples(st.sampled_from((START, START, ANOTHER)), st.integers(0, 6), st.sampled_from(further))
    lines = []
    for start, number, columns in draw(st.lists(client, max_size=60)):
        family = columns[:-1] + "46"[number % 2] if columns.endswith((" v4", " v6")) else columns
        lines.append(line(start, "dejp"[number % 2 * 2 :][:2], number, family))
    for place in draw(st.lists(st.integers(0, len(lines)), max_size=3)):
        lines.insert(place, draw(st.sampled_from((b"\n", b"\0\n", f"{START} de 12\n".encode(), b"x" * 200 + b"\n"))))
    return lines


def of_convert(paths: list[Path]) -> Counts | None:
    """Return what convert counts of the first interval; None if it has no line."""
    counts, _ = plain.count_logs([log for path in paths for log in find([str(path)])], lambda _: None)
    return next((one for one in counts if one.interval.label == START), None)


@given(logs(), st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_the_numbers_are_those_of_convert(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cut: int
) -> None:
    """Every number of a document, with every set of columns, from two files."""
    log = tmp_path_factory.mktemp("bridge") / "clients.log"
    rotated = log.with_name("clients.log.1")
    rotated.write_bytes(b"".join(lines[:cut]))
    log.write_bytes(b"".join(lines[cut:]))
    found = count_in_files(log, INTERVAL)
    expected = of_convert([rotated, log])
    if expected is None:
        assert (found.counts.requests, found.files) == ({}, 0)
    else:
        assert found.counts == expected
        whole = START.encode()
        assert (
            1 <= found.files <= sum(any(one.startswith(whole) for one in part) for part in (lines[:cut], lines[cut:]))
        )
    assert found.error is None


def test_a_file_counts_among_those_with_lines_if_it_has_any(tmp_path: Path) -> None:
    """In the log itself or in what it was rotated into; lines of another interval do not count."""
    log = tmp_path / "clients.log"
    log.write_bytes(line(START) + line(ANOTHER))
    (tmp_path / "clients.log.1.gz").write_bytes(gzip.compress(line(START, client=2)))
    (tmp_path / "clients.log.2").write_bytes(line(ANOTHER))
    for path in tmp_path.iterdir():
        os.utime(path, (2**32, 2**32))
    assert count_in_files(log, INTERVAL).files == 2


@pytest.mark.parametrize("name", ["-", "clients[1].log", "*.log"])
def test_a_log_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Also a name that means standard input or several files on a command line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(line(START))
    (tmp_path / "other.log").write_bytes(line(START))
    assert count_in_files(type(tmp_path)(name), INTERVAL).counts.requests == {"de": 1}


def test_a_clock_that_went_back_a_little_hides_no_rotated_file(tmp_path: Path) -> None:
    """By less than what counts as set: a file that was rotated soon after the start is older than its label."""
    (tmp_path / "clients.log").write_bytes(b"")
    rotated = tmp_path / "clients.log.1"
    rotated.write_bytes(line(START))
    began = INTERVAL.start.timestamp()
    os.utime(rotated, (began - 590, began - 590))
    assert count_in_files(tmp_path / "clients.log", INTERVAL).counts.requests == {"de": 1}


def test_a_log_may_be_called_like_a_compressed_one(tmp_path: Path) -> None:
    """Also next to a folder with the same name without the suffix."""
    (tmp_path / "stats").mkdir()
    log = tmp_path / "stats.gz"
    log.write_bytes(gzip.compress(line(START)))
    assert count_in_files(log, INTERVAL).counts.requests == {"de": 1}


def test_what_was_counted_is_wiped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hashes are overwritten in memory, also after an error."""
    wiped = list[bool]()
    real = Pages.wipe

    def wipe(pages: Pages) -> None:
        real(pages)
        wiped.append(pages.memory.closed)

    monkeypatch.setattr(Pages, "wipe", wipe)
    log = tmp_path / "clients.log"
    log.write_bytes(line(START))
    count_in_files(log, INTERVAL)
    assert wiped == [True]


def visits(number: int, clients: int) -> bytes:
    """Write lines of so many connections of so many clients."""
    lines = [f"{START} de {sha1(client.to_bytes(4)).hexdigest()}\n" for client in range(clients)]
    return "".join(lines[visit % clients] for visit in range(number)).encode()


def test_wherever_a_part_of_a_large_log_ends_nothing_is_lost(tmp_path: Path) -> None:
    """The log is read in parts; no line is lost between two of them, or counted twice."""
    for number in (PART_LINES - 1, PART_LINES, PART_LINES + 1, 2 * PART_LINES):
        (tmp_path / "clients.log").write_bytes(visits(number, 777))
        counts = count_in_files(tmp_path / "clients.log", INTERVAL).counts
        assert (counts.requests, counts.addresses) == ({"de": number}, {"de": 777})


def test_memory_grows_with_clients_and_not_with_their_visits(tmp_path: Path) -> None:
    """Ten times the connections of a thousand clients take the same memory."""
    peaks = []
    for number in (3 * PART_LINES, 30 * PART_LINES):
        (tmp_path / "clients.log").write_bytes(visits(number, 1000))
        tracemalloc.start()
        try:
            counts = count_in_files(tmp_path / "clients.log", INTERVAL).counts
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert (counts.requests, counts.addresses) == ({"de": number}, {"de": 1000})
    assert peaks[1] < 1.2 * peaks[0]
