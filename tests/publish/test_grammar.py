"""The simple script has a grammar of its own, to stand alone; here it is held against the package's."""

from __future__ import annotations

import io
import runpy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.formats.logline import MAX_LINE_LENGTH, LineError, parse_line
from obfstats.publish import simple
from tests.formats.lines import hit_lines, written_lines
from tests.publish.logs import DAMAGE

# fuzz/ holds scripts and is no package.
SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "fuzz" / "fuzz_log.py"), run_name="fuzz_log")
check, good_log = SCRIPT["check"], SCRIPT["GOOD_LOG"]


def is_good(line: bytes) -> bool:
    """Whether the simple script counts it."""
    return simple.read_log(io.BytesIO(line), {})[1] == 0


@given(written_lines())
def test_whatever_is_written_is_counted(line: bytes) -> None:
    """No good line is lost, with or without its newline."""
    assert is_good(line)
    assert is_good(line.removesuffix(b"\n"))


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_refused_by_both(kind: str) -> None:
    """The kinds of damage that the other tests use are damage to both readers."""
    assert not is_good(DAMAGE[kind])
    with pytest.raises(LineError):
        parse_line(DAMAGE[kind])


@given(st.lists(hit_lines() | written_lines(), max_size=5).map(b"".join))
@settings(max_examples=300)
def test_both_readers_take_the_same_lines(log: bytes) -> None:
    """Of a log with damage anywhere, the fuzz target's invariant: the same lines count, with the same meaning."""
    check(log)


@given(st.binary(max_size=30))
def test_both_readers_agree_on_noise(data: bytes) -> None:
    """And on noise, by itself and in the middle of a good log."""
    check(data)


def test_the_fuzz_targets_good_log_is_good() -> None:
    """What the fuzz target spoils was good before."""
    assert simple.read_log(io.BytesIO(good_log), {}) == (3, 0, "")


def test_the_longest_line_is_the_same() -> None:
    """The simple script reads whole lines, and no further."""
    assert simple.MAX_LINE_LENGTH == MAX_LINE_LENGTH
