"""Old logs that hypothesis generates: they are counted as the plainest reader does it, and none is an error."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.publish.oldlogs.log2stats import NoTimestampsError
from obfstats.publish.oldlogs.reading import BLOCK_SIZE
from tests.formats.test_oldlog import KNOWN
from tests.publish.naive_oldlogs import naive
from tests.publish.numbers import numbers_of
from tests.publish.oldlogs import DAY, FIRST, c, connected, counts, heartbeat, lines, read, text, v4

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.formats.counts import Counts

WILD = [line.decode("latin-1").partition("39")[2] for line, _ in KNOWN]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all examples."""
    return tmp_path_factory.mktemp("logs")


@st.composite
def wild_logs(draw: st.DrawFn) -> bytes:
    """Give logs with every known line, at any time and in any order, some of them damaged."""
    written: list[bytes] = []
    seconds = FIRST
    for _ in range(draw(st.integers(0, 12))):
        seconds += draw(
            st.sampled_from((0, 1, 1, 3_600, DAY, -3_600, -30_000, -10 * DAY, 80 * 365 * DAY, -80 * 365 * DAY))
        )
        some = draw(st.lists(st.sampled_from(WILD), min_size=1, max_size=5))
        for line in some * draw(st.sampled_from((1, 2, 30))):
            form = "%Y/%m/%d %H:%M:%S" if "]:" in line else "%Y-%m-%d %H:%M:%S"
            written.append(f"{text(seconds, form)}{line}\n".encode("latin-1"))
        if draw(st.booleans()):
            written.append(heartbeat(seconds, draw(st.integers(0, 25)), draw(st.integers(1, 9))).encode())
    if draw(st.booleans()):
        order = draw(st.integers(0, 9))
        random.Random(order).shuffle(written)
    log = b"".join(written)
    for _ in range(draw(st.integers(0, 3))):
        offset = draw(st.integers(0, len(log)))
        put = draw(st.sampled_from((b"", b"\n", b"\r\n", b"\0", b"\xff", b"\x1b[1m", b"0", b"9", b".", b"x" * 5_000)))
        log = log[:offset] + put + log[offset + draw(st.sampled_from((0, 1, 19, 60))) :]
    return log.replace(b"\n", b"\r\n") if draw(st.booleans()) else log


@settings(max_examples=100)
@given(lines().map("".join))
def test_the_numbers_are_those_of_the_plainest_reader(folder: Path, log: str) -> None:
    """Intervals, restarts, addresses, transports and revoked connections."""
    assert [numbers_of(one) for one in _counts_or_none(folder, log)] == naive(log)


def _counts_or_none(folder: Path, log: str) -> list[Counts]:
    """Count a log; one in which no line has a time has no intervals."""
    try:
        return counts(folder, log)
    except NoTimestampsError:
        return []


@settings(max_examples=100)
@given(wild_logs(), st.booleans())
def test_no_log_is_an_error_or_reveals_an_address(folder: Path, log: bytes, empty: bool) -> None:  # noqa: FBT001
    """At worst no line has a time, which is reported."""
    try:
        shown = repr(read(folder, log, empty=empty))
    except NoTimestampsError as error:
        shown = str(error)
    assert "192.0.2" not in shown
    assert "2001:db8" not in shown


@settings(max_examples=25)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=30))
def test_lines_dealt_out_to_several_logs_are_merged(folder: Path, deal: list[int]) -> None:
    """By their times, as if they were in one log."""
    times = range(FIRST, FIRST + 5 * DAY, 3_601)
    log = [connected(seconds, f"{v4(number % 20)}:{number}") for number, seconds in enumerate(times)]
    log[30:30] = [c(FIRST + 30 * 3_601 - 9, "Exiting."), c(FIRST + 30 * 3_601 - 5, "Starting.")]
    logs = [""] * 3
    for number, line in enumerate(log):
        logs[deal[number % len(deal)]] += line
    assert counts(folder, *logs) == counts(folder, "".join(log))


@pytest.mark.parametrize("before", [-5, 0, 5])
def test_a_block_may_end_within_a_start_of_two_lines(folder: Path, before: int) -> None:
    """The first half, with the time, is in one block of the log, and the second half in the next."""
    start = c(FIRST + DAY // 2, "\nStarting.")
    first_half = len(start.split("\n")[0]) + 1
    log = connected(FIRST)
    log += "x" * (BLOCK_SIZE - len(log) - first_half - 1 + before) + "\n" + start
    (one,) = counts(folder, log + connected(FIRST + DAY) + c(FIRST + 2 * DAY, "Exiting."))
    assert one.interval.label == text(FIRST + DAY // 2)
