"""Old logs are counted the same in three ways: by the plainest reader, line by line, and many lines at once."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.publish.log2stats import NoTimestampsError
from obfstats.publish.logfiles import find
from obfstats.publish.oldlogs.blocks import EARLIEST, Found, Window, plain_blocks
from obfstats.publish.oldlogs.columns import column_blocks
from obfstats.publish.oldlogs.counting import Counting
from obfstats.publish.oldlogs.endpoints import BEFORE, WIDTH, read_endpoints
from obfstats.publish.oldlogs.lineup import LineUp
from obfstats.publish.oldlogs.notes import Notes
from obfstats.publish.oldlogs.pieces import read_pieces
from obfstats.publish.oldlogs.shapes import Shapes
from tests.formats.test_oldlog import KNOWN
from tests.publish.naive_oldlogs import naive
from tests.publish.numbers import numbers_of
from tests.publish.oldlogs import DAY, FIRST, Outside, beat, c, come, go, lines, python, read, text, v4

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from obfstats.formats.counts import Counts
    from obfstats.publish.oldlogs.blocks import Block
    from obfstats.publish.oldlogs.pieces import Piece

WINDOW = Window(EARLIEST, 1 << 31)
WILD = [line.decode("latin-1").partition("39")[2] for line, _ in KNOWN]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all examples."""
    return tmp_path_factory.mktemp("logs")


@st.composite
def wild_logs(draw: st.DrawFn) -> bytes:
    """Give logs with every known line, at any time and in any order, and with everything that may happen to lines."""
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
            written.append(beat(seconds, draw(st.integers(0, 25)), draw(st.integers(1, 9))).encode())
    if draw(st.booleans()):
        order = draw(st.integers(0, 9))
        random.Random(order).shuffle(written)
    log = b"".join(written)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(log)))
        put = draw(st.sampled_from((b"", b"\n", b"\r\n", b"\0", b"\xff", b"\x1b[1m", b"0", b"9", b".", b"x" * 5_000)))
        log = log[:place] + put + log[place + draw(st.sampled_from((0, 1, 19, 60))) :]
    return log.replace(b"\n", b"\r\n") if draw(st.booleans()) else log


@settings(max_examples=50)
@given(lines().map("".join))
def test_the_numbers_are_those_of_the_plainest_reader(folder: Path, log: str) -> None:
    """Intervals, restarts, addresses, transports and what is taken back, whichever way it is read."""
    expected = naive(log)
    for fast in (False, True):
        found = [numbers_of(one) for one in _read_or_nothing(folder, log, fast=fast)]
        assert [replace(one, lines={}) for one in found] == expected


def _read_or_nothing(folder: Path, log: str, *, fast: bool) -> list[Counts]:
    """Count a log; one without a single time has no intervals."""
    try:
        return list(read(folder, log, fast=fast).counts)
    except NoTimestampsError:
        return []


@settings(max_examples=50)
@given(wild_logs(), st.booleans())
def test_many_lines_at_once_are_the_same_as_line_by_line(folder: Path, log: bytes, empty: bool) -> None:  # noqa: FBT001
    """Numbers, reports and notes, whatever is in the log."""
    results = []
    for fast in (False, True):
        try:
            results.append(repr(read(folder, log, fast=fast, empty=empty)))
        except NoTimestampsError as error:
            results.append(str(error))
    assert results[0] == results[1]


@settings(max_examples=50)
@given(wild_logs(), st.integers(1, 3_000))
def test_where_a_log_is_cut_into_pieces_makes_no_difference(folder: Path, log: bytes, size: int) -> None:
    """A piece ends behind any line; what is remembered of one is known in the next."""
    path = folder / "pieces.log"
    path.write_bytes(log)
    results = []
    for blocks in (plain_blocks, column_blocks):
        for cut in (1 << 20, size):
            found, notes = Found(), Notes(timedelta(0))
            pieces: Iterator[Piece] = read_pieces(find([str(path)])[0], cut, lambda _size: None)
            counting = Counting(Outside().surroundings(), notes, empty=False)
            made: Iterator[Block] = blocks(pieces, WINDOW, found)
            for block in made:
                block.feed(counting, 0, len(block))
            results.append((repr(counting.finish()), found, notes.sentences()))
    assert results == [results[0]] * 4


@settings(max_examples=50)
@given(wild_logs(), st.lists(st.integers(0, 3), max_size=30), st.integers(2, 4))
def test_logs_that_overlap_are_merged_in_the_same_way(folder: Path, log: bytes, deal: list[int], hands: int) -> None:
    """Lines of one log, dealt out to several."""
    logs = [b""] * hands
    for number, line in enumerate(log.splitlines(keepends=True)):
        logs[(deal[number % len(deal)] if deal else number) % hands] += line
    results = []
    for fast in (False, True):
        try:
            results.append(repr(read(folder, *logs, fast=fast)))
        except NoTimestampsError as error:
            results.append(str(error))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "line",
    [
        lambda number: come(FIRST, f"{v4(number)}:{number}"),
        lambda number: c(FIRST, f"{v4(number)}:{number}: new connection from nobody"),
        lambda _number: c(FIRST, "[scrubbed] (obfs2): Successful outbound connection to '[scrubbed]'."),
        lambda number: c(FIRST, f"EOF from {v4(number)}:{number}"),
        lambda number: c(FIRST, f"EOF from 127.0.0.1:{number}"),
        lambda number: go(FIRST, f"obfs4({v4(number)}:{number}) - new connection"),
        lambda number: go(FIRST, f"obfs4([scrubbed]:{number}) - new connection"),
        lambda number: go(FIRST, f"obfs4({v4(number)}:{number}) - handshake failed: EOF", "WARN"),
        lambda number: python(FIRST, f"fact_s_0x7f2e: New connection from {v4(number)}:{number}."),
        lambda number: python(FIRST, f"fact_s_0x7f2e: New connection from [scrubbed]:{number}."),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_that_are_many_are_read_at_once(line: object, ending: str, tmp_path: Path) -> None:
    """The fast way is really taken: not one of these lines is left to the other."""
    assert callable(line)
    path = tmp_path / "log"
    path.write_bytes("".join(line(number).replace("\n", ending) for number in range(1_000)).encode())
    (piece,) = read_pieces(find([str(path)])[0], 1 << 20, lambda _size: None)
    assert LineUp(piece, Shapes()).is_read.all()


_NUMBERS = st.integers(0, 70_000).map(str) | st.sampled_from(("00", "01", "255", "256", "65535", "65536", "", "123456"))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.lists(_NUMBERS, min_size=3, max_size=5).map(".".join), _NUMBERS), max_size=20))
def test_addresses_are_read_at_once_where_they_are_written_as_usual(clients: list[tuple[str, str]]) -> None:
    """And only there: a leading zero or a number too large is left to who reads line by line."""
    texts = [f"{address}:{port} (obfs2)".encode() for address, port in clients]
    memory = np.frombuffer(bytes(BEFORE) + b"".join(texts) + bytes(WIDTH), np.uint8)
    places = np.cumsum([BEFORE, *map(len, texts)])[:-1].astype(np.intp)
    read_at_once = read_endpoints(memory, places, is_port_only=False)
    for number, (address, port) in enumerate(clients):
        try:
            packed = int(IPv4Address(address))
        except ValueError:
            packed = -1
        is_usual = packed >= 0 and port.isdigit() and str(int(port)) == port and int(port) <= 0xFFFF
        assert read_at_once.is_good[number] == is_usual
        if is_usual:
            assert read_at_once.addresses[number] == packed
            assert read_at_once.ports[number] == int(port)
            assert read_at_once.lengths[number] == len(f"{address}:{port}")
